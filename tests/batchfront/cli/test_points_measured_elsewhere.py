"""`batchfront import points` and what is then said of them: right, or that it can't be told."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup

from batchfront.store.url import Storage
from tests.batchfront.cli.conftest import Result
from tests.batchfront.report.rows import add_study

Run = Callable[..., Result]

FILES = Path(__file__).parent / "points"


@pytest.fixture
def told(database: str, batchfront: Run) -> Callable[..., str]:
    """What a command prints once a file is imported; its first words are the command's."""

    def tell(file: str, *command: str) -> str:
        imported = batchfront("import", "points", str(FILES / f"{file}.csv"), "--storage", database)
        assert imported.code == 0, imported.err
        shown = batchfront(*(command or ("curve",)), "--storage", database)
        assert shown.code == 0, shown.err
        return shown.out.replace("\u00a0", " ")

    return tell


@pytest.fixture
def curve_of(told: Callable[..., str]) -> Callable[[str], dict[str, Any]]:
    """The one curve through a file's points, as JSON."""
    return lambda file: json.loads(told(file, "curve", "--format", "json"))[0]


def within(estimate: dict[str, Any], truth: float) -> bool:
    """Whether what is said of a number is true of it, an end that isn't said being open."""
    return (estimate["low"] or 0) <= truth <= (estimate["high"] or float("inf"))


@pytest.mark.every_storage
def test_one_seed_of_twenty_makes_no_point(curve_of: Callable[[str], dict[str, Any]]) -> None:
    found = curve_of("one_of_20")
    useful = found["estimates"]["useful_until"]
    assert within(useful, 257)
    assert useful["value"] is None
    assert useful["low"] <= 32  # the largest of which most seeds reach the goal
    assert found["answers"][1].endswith("32 at least; batch size 64 has not reached the goal.")
    assert any(
        "not reached at batch sizes 64, 128, 256, 512 and 1,024 (1 of 20 seeds did);" in sentence
        for sentence in found["answers"]
    )
    assert [one["batch_size"] for one in found["not_reached"]] == [64, 128, 256, 512, 1024]
    assert found["not_reached"][0]["outcomes"] == {"exhausted": 19, "reached": 1}


def test_seeds_of_which_few_get_there_leave_too_few_points(told: Callable[..., str]) -> None:
    said = told("not_reached")
    assert "No curve can be drawn" in said
    assert "3 batch sizes reached the goal, and 4 are needed" in said
    assert "The goal was not reached at batch sizes 128 and 512 (1 of 3 seeds did)" in said


def test_batch_sizes_that_failed_are_named_and_end_what_is_useful(
    curve_of: Callable[[str], dict[str, Any]],
) -> None:
    found = curve_of("never_reached_large")
    assert "The goal was not reached at batch sizes 256, 512 and 1,024." in found["answers"]
    assert any("beyond batch size 128" in sentence for sentence in found["answers"])
    useful = found["estimates"]["useful_until"]
    assert (useful["kind"], useful["value"]) == ("at least", None)
    assert useful["low"] <= 128
    assert useful["reason"] == "batch size 256 has not reached the goal"
    assert within(found["estimates"]["half_efficiency"], 64)


def test_the_page_says_what_they_are_and_which_failed(
    told: Callable[..., str], folder: Path
) -> None:
    told("one_of_20", "report", "--output", "page.html")
    page = (folder / "page.html").read_text().replace("\u00a0", " ")
    said = Markup(page[page.index('<p class="question">') : page.index("</section>")]).striptags()
    assert "at each batch size, measured elsewhere?" in said
    assert "The goal was not reached at batch sizes 64, 128, 256, 512 and 1,024 (1 of 20" in said
    mine = page[page.index('<section class="workload"') : page.index("</section>")]
    assert "the median of up to 20 seeds, measured elsewhere" in mine
    assert not re.search("tuned|winner yet|no winner|fastest|more trials", mine)


@pytest.mark.every_storage
def test_the_median_of_two_seeds_lies_between_them(told: Callable[..., str]) -> None:
    (point,) = json.loads(told("two_seeds", "frontier", "me/cnn/sgd", "--format", "json"))["points"]
    assert (point["steps"], point["examples"], point["trial"]) == (150, 1200, None)


@pytest.mark.parametrize("file", ["flat_noise", "ushape"])
def test_nobody_is_told_to_try_more_of_what_was_measured_elsewhere(
    told: Callable[..., str], file: str
) -> None:
    said = told(file)
    assert "more trials" not in said
    assert "standard deviations" not in said


@pytest.mark.every_storage
def test_a_seed_of_32_bits_is_taken(told: Callable[..., str]) -> None:
    shown = json.loads(told("big_seed", "frontier", "resnet", "--format", "json"))
    assert [point["steps"] for point in shown["points"]] == [1000]


def test_compare_and_curve_have_one_answer(told: Callable[..., str]) -> None:
    compared = told("never_reached_large", "analyze", "compare")
    (line,) = [line for line in compared.splitlines() if "near-perfect" in line]
    assert line in told("never_reached_large", "curve")
    assert "Of the points alone, 8 is the largest batch size that took at most 20 %" in compared
    assert "The goal was not reached at batch sizes 256, 512 and 1,024." in compared


def test_of_searches_too_a_batch_size_that_nothing_reached_is_named(
    storage: Storage, database: str, batchfront: Run
) -> None:
    for batch_size in (2, 4, 8, 16, 32):
        steps = round(100 * (1 + 64 / batch_size))
        trial = {"outcome": "reached", "steps": steps, "steps_lower": steps - 1}
        add_study(storage, "a/b/c", batch_size, [trial])
    failed = [{"outcome": "stalled", "steps": 90}] * 2 + [{"outcome": "diverged", "steps": 3}]
    add_study(storage, "a/b/c", 64, failed)
    add_study(storage, "a/b/c", 128, [{"outcome": None}, {"outcome": "stalled"}])
    said = batchfront("curve", "--storage", database).out.replace("\u00a0", " ")
    assert "The goal was not reached at batch size 64 (2 stalled, 1 diverged)." in said
    assert "useful up to batch size 32 at least; batch size 64 has not reached the goal" in said
    assert "128" not in said.split("not reached at")[1].split("\n")[0]  # it isn't done
