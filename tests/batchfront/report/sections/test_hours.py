"""Hours and money on the page: where steps were timed, and the first screen before and after."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from sqlalchemy import update

from batchfront.advice.options import AdviceOptions
from batchfront.advice.timings import Timing, keep_timings
from batchfront.report.data import Subject, load_subjects
from batchfront.report.html import Dashboard, Part
from batchfront.report.options import PageOptions
from batchfront.report.page import section
from batchfront.report.sections.hours import hours_part
from batchfront.report.sections.recommendation import recommended_part
from batchfront.store.schema import timings as stored
from batchfront.store.url import Storage
from tests.batchfront.report.rows import add_study
from tests.step_truth import Truth, elsewhere

NAME = "a/b/c"
SIZES = (8, 16, 32, 64, 128, 256)
OF_THREE = [(size, devices) for size in SIZES for devices in (1, 2, 4)]


def search(
    storage: Storage, sizes: Sequence[int] = SIZES, half: float = 64, **columns: Any
) -> None:
    """A winner at each batch size B, of 100 (1 + half/B) steps."""
    for batch in sizes:
        steps = round(100 * (1 + half / batch))
        trial = {"outcome": "reached", "steps": steps, "steps_lower": steps - 1}
        add_study(storage, NAME, batch, [trial], **columns)


def keep(storage: Storage, found: Iterable[Timing], **changed: Any) -> None:
    keep_timings(storage, [replace(one, workload=NAME, **changed) for one in found])


def subject(storage: Storage, asked: AdviceOptions = AdviceOptions()) -> Subject:
    with storage.read() as moment:
        return load_subjects(moment, (NAME,), Dashboard(), PageOptions(hours=asked))[0]


def words(part: Part) -> str:
    spaced = re.sub(r"<[^>]*>", " ", part.html)
    return unescape(re.sub(r"\s+", " ", spaced))


@pytest.fixture
def timed(storage: Storage) -> Storage:
    """On one, two and four devices, of which two pay and four hardly do."""
    search(storage, half=512)
    truth = Truth(each=0.0002, latency_part=0.004)
    keep(storage, truth.timings(steps=OF_THREE, devices=(2, 4), evaluation=0.02))
    return storage


def test_time_is_drawn_against_devices_with_the_batch_sizes_beside(timed: Storage) -> None:
    one = subject(timed)
    (advice,) = one.hours.advices
    part = hours_part(one)
    assert set(part.figures) == {f"{one.key}/hours/time", f"{one.key}/hours/money"}
    assert set(re.findall(r'data-figure="([^"]+)"', part.html)) == set(part.figures)
    ring, line = part.figures[f"{one.key}/hours/time"]["data"]
    assert line["x"] == [1, 2, 4]
    assert [text.strip() for text in line["text"]] == [
        f"{choice.batch_size:,}" for choice in advice.choices
    ]
    assert advice.knee is not None
    assert ring["x"] == [advice.knee.devices]
    for choice, y, up in zip(advice.choices, line["y"], line["error_y"]["array"], strict=True):
        assert (y + up) / y == pytest.approx(choice.hours.high / choice.hours.median, rel=0.01)


def test_money_is_drawn_against_time_and_what_none_beats_in_both_is_joined(timed: Storage) -> None:
    one = subject(timed, AdviceOptions(price=36.0))
    (advice,) = one.hours.advices
    front, *_, line = hours_part(one).figures[f"{one.key}/hours/money"]["data"]
    assert len(front["x"]) == len(advice.pareto)
    assert front["x"] == sorted(front["x"])
    assert front["y"] == sorted(front["y"], reverse=True)
    costs = [choice.cost.median for choice in advice.choices if choice.cost]
    assert line["y"] == pytest.approx(costs, rel=1e-3)
    assert "Cost against time" in words(hours_part(one))


def test_without_a_price_money_is_device_hours(timed: Storage) -> None:
    said = words(hours_part(subject(timed)))
    assert "Device-hours against time" in said
    assert "Cost" not in said


def test_the_numbers_of_devices_that_are_asked_for_are_compared(timed: Storage) -> None:
    one = subject(timed, AdviceOptions(devices=(1, 8, 64)))
    (advice,) = one.hours.advices
    line = hours_part(one).figures[f"{one.key}/hours/time"]["data"][-1]
    assert line["x"] == [1, 8]
    assert line["marker"]["symbol"] == ["circle", "circle-open"]  # nobody timed eight
    said = words(hours_part(one))
    assert "not all of it measured" in said
    assert advice.left_out[0].reason in said


def test_plotly_accepts_the_figures(timed: Storage) -> None:
    for figure in hours_part(subject(timed, AdviceOptions(price=0.0))).figures.values():
        go.Figure(data=figure["data"], layout=figure["layout"])


def test_the_first_screen_says_what_one_device_takes_and_what_as_many_as_pay(
    timed: Storage,
) -> None:
    one = subject(timed, AdviceOptions(price=36.0))
    (advice,) = one.hours.advices
    first, knee = advice.choices[0], advice.knee
    assert knee is not None
    assert knee.devices > 1
    said = words(recommended_part(one))
    assert f"One NVIDIA H200 batch size {first.batch_size} " in said
    assert f"As many devices as pay: {knee.devices} x NVIDIA H200 batch size" in said
    assert f"batch size {knee.batch_size}, {knee.layout.per_device} on each" in said
    assert "28 % less time for 44 % more money" in said
    assert "batchfront time" not in said


def test_each_kind_of_device_is_told_of_by_itself(timed: Storage) -> None:
    keep(timed, elsewhere([(size, 1, 0.01 + 0.002 * size) for size in SIZES]), device="<b>slow</b>")
    one = subject(timed)
    assert [advice.device for advice in one.hours.advices] == ["<b>slow</b>", "NVIDIA H200"]
    part = hours_part(one)
    names = [trace.get("name") for trace in part.figures[f"{one.key}/hours/time"]["data"]]
    assert {"&lt;b&gt;slow&lt;/b&gt;", "NVIDIA H200"} <= set(names)
    assert "<b>" not in part.html + recommended_part(one).html
    assert "One <b>slow</b> batch size" in words(recommended_part(one))


def test_a_single_choice_is_told_by_the_tables(storage: Storage) -> None:
    search(storage)
    keep(storage, Truth().timings(passes=SIZES))
    part = hours_part(subject(storage))
    assert part.figures == {}
    assert "batch size" in words(part)
    assert words(recommended_part(subject(storage))).startswith(" One NVIDIA H200 batch size")


def test_machines_are_compared_with_their_prices(timed: Storage, tmp_path: Path) -> None:
    file = tmp_path / "machines.toml"
    file.write_text(
        '[[machine]]\nname = "small"\ndevices = 2\nprice = 1\n'
        '[[machine]]\nname = "large"\ndevices = 4\nprice = 9\n'
    )
    one = subject(timed, AdviceOptions(machines=str(file)))
    drawn = hours_part(one).figures[f"{one.key}/hours/time"]["data"]
    lines = {trace["name"]: trace["x"] for trace in drawn}
    assert (lines["small"], lines["large"]) == ([1, 2], [1, 2, 4])


def test_a_machine_must_say_its_device_where_several_were_timed(
    timed: Storage, tmp_path: Path
) -> None:
    keep(timed, elsewhere([(size, 1, 0.1) for size in SIZES]))
    file = tmp_path / "machines.toml"
    file.write_text('[[machine]]\nname = "small"\ndevices = 2\n')
    said = words(hours_part(subject(timed, AdviceOptions(machines=str(file)))))
    assert 'say which in its entry, such as device = "NVIDIA H200".' in said
    file.write_text('[[machine]]\nname = "small"\ndevices = 2\ndevice = "NVIDIA H200"\n')
    assert subject(timed, AdviceOptions(machines=str(file))).hours.advices


def test_where_the_curve_is_refused_the_batch_sizes_measured_stand_for_themselves(
    storage: Storage,
) -> None:
    search(storage, (16, 64, 256))
    keep(storage, Truth().timings(passes=SIZES, devices=(2,)))
    one = subject(storage)
    assert one.fitted.refusal
    (advice,) = one.hours.advices
    assert {choice.batch_size for choice in advice.choices} <= {16, 64, 256}
    assert hours_part(one).figures


def test_timings_of_another_precision_are_named_and_the_examples_told(storage: Storage) -> None:
    search(storage)
    keep(storage, Truth().timings(passes=SIZES), precision="bfloat16")
    one = subject(storage)
    assert "there are of bfloat16" in words(hours_part(one))
    assert "<code>batchfront time a/b/c" in hours_part(one).html
    assert "One device batch size 16" in words(recommended_part(one))


def test_before_anything_was_timed_the_first_screen_counts_examples_and_says_how_to_time(
    storage: Storage,
) -> None:
    search(storage)
    one = subject(storage)
    assert hours_part(one) == Part()
    part = recommended_part(one)
    assert "One device batch size 16 about 500 steps on 8,000 examples" in words(part)
    assert "As many devices as pay batch size 256" in words(part)
    assert f"<code>batchfront time a/b/c --storage {storage.url}</code> has told" in part.html


def test_a_workload_without_its_code_takes_in_what_was_timed_elsewhere(storage: Storage) -> None:
    search(storage, spec="")
    said = words(recommended_part(subject(storage)))
    assert f"once batchfront import timings FILE --storage {storage.url} has told what" in said


def test_before_the_goal_was_reached_there_is_nothing(storage: Storage) -> None:
    add_study(storage, NAME, 8, [{"outcome": "stalled", "steps": 9}])
    keep(storage, Truth().timings(passes=SIZES))
    one = subject(storage)
    assert (hours_part(one), recommended_part(one)) == (Part(), Part())


def test_timings_that_cannot_be_are_named_and_the_page_stands(timed: Storage) -> None:
    with timed.write() as conn:
        conn.execute(update(stored).values(seconds=-1.0))
    one = subject(timed)
    assert hours_part(one) == Part()
    said = words(section(one))
    assert "the timings of a/b/c can't be read" in said
    assert f"batchfront delete a/b/c --timings --storage {timed.url} removes them." in said
