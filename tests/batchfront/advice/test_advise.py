"""An advice from a database: its choices, its answers, and all that it refuses."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from batchfront.advice.advise import Advice, load_advice
from batchfront.advice.choices import Choice
from batchfront.advice.options import AdviceOptions
from batchfront.advice.tables import answers_table
from batchfront.advice.timings import Timing, keep_timings
from batchfront.errors import UsageError
from batchfront.plan.forget import delete_alone
from batchfront.store.schema import slots
from batchfront.store.url import Storage
from batchfront.workload.evaluation_grid import EvaluationGrid
from tests.batchfront.advice.conftest import Imported, falling
from tests.step_truth import NAME, Truth, elsewhere

SIZES = (32, 64, 128, 256, 512)
ALONE_AND_TWO = [(64, 1), (256, 1), (64, 2), (256, 2)]
MACHINE = """\
[[machine]]
name = "8 x H200"
devices = 8
price = 3
bandwidth_between = 50e9
latency_between = 20e-6
"""


def timed(**more: Any) -> list[Timing]:
    return Truth().timings(**{"steps": ALONE_AND_TWO, "devices": (2, 4), **more})


@pytest.fixture
def storage_with_curve(imported: Imported) -> Storage:
    """Steps of batch sizes 32 to 512, and nothing timed."""
    return imported(falling(SIZES))


@pytest.fixture
def advised(storage_with_curve: Storage) -> Storage:
    """With timings of one, two and four devices."""
    keep_timings(storage_with_curve, timed())
    return storage_with_curve


def advice(storage: Storage, **asked: Any) -> Advice:
    return load_advice(storage, NAME, AdviceOptions(**asked))


def refused(storage: Storage, **asked: Any) -> str:
    with pytest.raises(UsageError) as error:
        advice(storage, **asked)
    assert "\n" not in str(error.value)
    return str(error.value)


def by_devices(found: Advice) -> dict[int, Choice]:
    return {one.devices: one for one in found.choices}


def test_the_batch_size_is_the_one_of_least_time_for_each_number_of_devices(
    advised: Storage,
) -> None:
    truth = Truth()
    found = by_devices(advice(advised))
    assert list(found) == [1, 2, 4]
    for devices, choice in found.items():
        sizes = [devices * share for share in (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)]
        allowed = [size for size in sizes if 32 <= size <= 512]
        hours = {s: 100 * (1 + 256 / s) * truth.step(s, devices) / 3600 for s in allowed}
        assert choice.hours.median == pytest.approx(min(hours.values()), rel=0.05)
        assert choice.batch_size % devices == 0
        assert choice.layout.devices * choice.layout.per_device == choice.batch_size
    assert found[1].batch_size < found[4].batch_size


def test_hours_are_steps_times_seconds_and_cost_is_that_of_all_devices(advised: Storage) -> None:
    for choice in advice(advised, price=2.5).choices:
        hours = choice.steps.median * choice.seconds_per_step.median / 3600
        assert choice.hours.median == pytest.approx(hours)
        assert choice.cost is not None
        assert choice.cost.median == pytest.approx(hours * choice.devices * 2.5)
        assert choice.hours.low < hours < choice.hours.high


def test_what_was_measured_is_preferred_to_what_is_hardly_better(advised: Storage) -> None:
    found = by_devices(advice(advised))[1]
    assert found.batch_size in SIZES
    assert all("No trial ran" not in note for note in found.notes)


def test_between_measured_batch_sizes_where_these_do_not_divide(advised: Storage) -> None:
    (found,) = advice(advised, devices=(3,)).choices
    assert found.batch_size % 3 == 0
    assert not found.measured
    assert any("the curve's" in note for note in found.notes)
    assert any("over 3 devices was not timed" in note for note in found.notes)


def test_beyond_what_was_measured_only_where_nothing_else_divides(imported: Imported) -> None:
    storage = imported(falling((2, 4, 8, 16)))
    keep_timings(storage, timed(passes=(1, 2, 4, 8), steps=[(8, 1)], devices=(2, 8, 16)))
    found = by_devices(advice(storage, devices=(1, 32, 64)))
    assert found[1].batch_size <= 16
    assert found[32].batch_size == 32
    assert any("extrapolated by the curve of 2 to 16" in note for note in found[32].notes)
    assert 64 not in found


def test_seconds_are_extrapolated_only_where_nothing_else_was_timed(
    storage_with_curve: Storage,
) -> None:
    truth = Truth(most=1024, each=1e-5)
    steps = [(size, n, truth.step(size, n)) for size in (32, 64, 128) for n in (1, 8)]
    keep_timings(storage_with_curve, elsewhere(steps))
    found = by_devices(advice(storage_with_curve, devices=(1, 2, 16)))
    assert found[1].batch_size == 128
    assert any("Batch size 256 may take" in note for note in found[1].notes)
    assert found[2].layout.per_device <= 128
    assert all(16 <= one.layout.per_device <= 128 for one in found.values())


def test_a_number_of_devices_that_nothing_is_known_of_is_left_out_with_its_reason(
    advised: Storage,
) -> None:
    found = advice(advised, devices=(1, 8, 16))
    assert list(by_devices(found)) == [1, 8]
    (left_out,) = found.left_out
    assert (left_out.devices, left_out.machine) == (16, None)
    assert "4 devices at most were timed together" in left_out.reason
    assert "nothing can be said: 4 devices at most" in refused(advised, devices=(16,))


def test_answers_under_a_deadline_and_a_budget_are_sure(advised: Storage) -> None:
    found = advice(advised, price=1.0)
    slow = by_devices(found)[1]
    kept = advice(advised, price=1.0, deadline=slow.hours.high * 3600 + 1, budget=1e6)
    assert kept.by_deadline is not None
    assert kept.by_deadline.devices == 1
    assert kept.within_budget == kept.fastest
    missed = advice(advised, price=1.0, deadline=1.0, budget=1e-9)
    assert missed.by_deadline is None
    assert missed.within_budget is None
    assert "with 95 % probability" in missed.why_not["by_deadline"]
    assert "with 95 % probability" in missed.why_not["within_budget"]
    assert found.why_not["by_deadline"] == "no deadline was given"


def test_a_budget_needs_a_price(advised: Storage) -> None:
    assert "--budget 500: needs a price, such as --price 2.5" in refused(advised, budget=500.0)


def test_several_machines_are_compared_by_what_is_given(advised: Storage, tmp_path: Path) -> None:
    file = tmp_path / "machines.toml"
    file.write_text(MACHINE + '[[machine]]\nname = "desk"\ndevices = 2\n')
    found = advice(advised, machines=str(file), price=1.0)
    told = [(one.machine, one.devices) for one in found.choices]
    assert told == [("8 x H200", n) for n in (1, 2, 4, 8)] + [("desk", 1), ("desk", 2)]
    costs = [one.cost.median / one.device_hours.median for one in found.choices if one.cost]
    assert costs == pytest.approx([3, 3, 3, 3, 1, 1])
    said = "The price is that of the devices that are used, also where it has more."
    assert [note for note in found.notes if "price" in note] == [
        f"{name}: {said}" for name in ("8 x H200", "desk")
    ]
    alone = advice(advised, machines=str(file), price=1.0, devices=(8,))
    assert not any("price is" in note for note in alone.notes)
    assert found.cheapest is not None
    assert found.cheapest.machine == "desk"
    assert found.knee is not None
    assert found.knee.machine == "desk"


def test_several_nodes_are_computed_from_the_given_network_and_said_to_be(
    searched: Storage, tmp_path: Path
) -> None:
    keep_timings(searched, timed(passes=(2, 4, 8, 16), devices=(2, 4, 8)))
    file = tmp_path / "machines.toml"
    file.write_text(MACHINE)
    found = advice(searched, machines=str(file), devices=(8, 12, 16))
    choice = by_devices(found)[16]
    assert choice.nodes == 2
    assert any("given bandwidth and latency" in note for note in choice.notes)
    assert "no whole number of them" in found.left_out[0].reason


def test_several_nodes_without_a_network_or_a_gradient_are_refused(
    advised: Storage, tmp_path: Path
) -> None:
    file = tmp_path / "machines.toml"
    file.write_text(MACHINE)
    assert "how large the gradient is isn't known" in refused(
        advised, machines=str(file), devices=(16,)
    )
    file.write_text(MACHINE[: MACHINE.index("bandwidth")])
    keep_timings(advised, timed(devices=(2, 4, 8)))
    assert "whose network isn't given" in refused(advised, machines=str(file), devices=(16,))


def test_a_machine_of_another_kind_of_device_is_refused_by_name(
    advised: Storage, tmp_path: Path
) -> None:
    file = tmp_path / "machines.toml"
    file.write_text('[[machine]]\nname = "old"\ndevices = 4\ndevice = "NVIDIA A100"\n')
    said = refused(advised, machines=str(file))
    assert said.startswith("old: its devices are NVIDIA A100, and")
    assert "was timed on NVIDIA H200" in said


def test_a_kind_of_device_is_named_where_several_were_timed(advised: Storage) -> None:
    keep_timings(advised, [replace(one, device="cpu") for one in timed()])
    said = refused(advised)
    assert "was timed on NVIDIA H200 and cpu; say which by --device" in said
    assert advice(advised, device="cpu").device == "cpu"
    assert "--device tpu: " in refused(advised, device="tpu")


def test_without_timings_it_says_how_to_get_some(searched: Storage) -> None:
    said = refused(searched)
    assert "batchfront time" in said
    assert "batchfront import timings" in said


def test_of_an_imported_curve_whose_code_is_nowhere_it_says_what_works(
    storage_with_curve: Storage,
) -> None:
    said = refused(storage_with_curve)
    assert "batchfront time" not in said
    assert "no step was timed; `batchfront import timings" in said


def test_timings_in_another_precision_are_none(searched: Storage) -> None:
    keep_timings(searched, [replace(one, precision="bfloat16") for one in timed()])
    assert "in float32, which it trains in (there are of bfloat16)" in refused(searched)


def test_an_imported_curve_is_of_the_precision_that_its_timings_are_in(advised: Storage) -> None:
    before = advice(advised).to_dict()
    delete_alone(advised, NAME, timed=True, probed=False)
    keep_timings(advised, [replace(one, precision="fp4") for one in timed()])
    assert advice(advised).to_dict() == before
    keep_timings(advised, [replace(one, precision="fp8") for one in timed()])
    assert "in float32, which it trains in (there are of fp4 and fp8)" in refused(advised)


def test_without_a_curve_only_measured_batch_sizes_are_compared(imported: Imported) -> None:
    storage = imported(falling((64, 256)))
    keep_timings(storage, timed())
    found = advice(storage)
    assert {one.batch_size for one in found.choices} <= {64, 256}
    assert any("only batch sizes that were measured are compared" in note for note in found.notes)
    assert "no batch size" in advice(storage, devices=(1, 3)).left_out[0].reason


def test_a_batch_size_that_has_not_reached_the_goal_is_not_proposed(imported: Imported) -> None:
    told: dict[int, Sequence[float | None]] = {**falling(SIZES), 1024: [None, None, None]}
    storage = imported({size: [*seeds] for size, seeds in told.items()})
    keep_timings(storage, timed(passes=(8, 64, 512), devices=(2, 4, 64)))
    found = advice(storage, devices=(1, 64))
    assert max(one.batch_size for one in found.choices) <= 512
    assert any("The goal was not reached at 1,024" in note for note in found.notes)


def test_whole_steps_from_elsewhere_are_enough(storage_with_curve: Storage) -> None:
    truth = Truth(most=1024)
    steps = [(size, n, truth.step(size, n)) for size in SIZES for n in (1, 2)]
    keep_timings(storage_with_curve, elsewhere(steps))
    found = advice(storage_with_curve)
    assert list(by_devices(found)) == [1, 2]
    assert any("measured elsewhere" in note for note in found.notes)
    assert any("what its evaluations take isn't known" in note for note in found.notes)


def test_spot_devices_take_longer_and_say_what_is_assumed(storage_with_curve: Storage) -> None:
    slow = Truth(start=40, each=1, update=10, bandwidth_part=40, latency_part=5)
    keep_timings(storage_with_curve, slow.timings(steps=ALONE_AND_TWO, devices=(2, 4)))
    plain, spot = (by_devices(advice(storage_with_curve, spot=p)) for p in (None, 0.2))
    for devices in (1, 2, 4):
        assert spot[devices].hours.median > plain[devices].hours.median
        assert spot[devices].hours.high > plain[devices].hours.high
        added = spot[devices].hours.median - plain[devices].hours.median
        assert spot[devices].repeated_hours == pytest.approx(added)
    notes = advice(storage_with_curve, spot=0.2).notes
    assert any("checkpoint every 10 minutes" in note and "assumed" in note for note in notes)
    often = advice(storage_with_curve, spot=0.5, devices=(1, 8))
    assert often.left_out == ()
    assert "would hardly come to its next checkpoint" in refused(
        storage_with_curve, spot=1 - 1e-15, devices=(8,)
    )


def test_short_runs_on_spot_devices_mostly_lose_none(advised: Storage) -> None:
    plain, spot = (by_devices(advice(advised, spot=chance)) for chance in (None, 0.1))
    for devices in (1, 2, 4):
        assert spot[devices].hours.median == pytest.approx(plain[devices].hours.median, rel=1e-3)
        assert spot[devices].hours.high == pytest.approx(plain[devices].hours.high, rel=0.02)


def test_evaluations_are_counted_and_cost_what_the_winners_evaluated(searched: Storage) -> None:
    keep_timings(searched, timed(evaluation=0.08))
    choice = by_devices(advice(searched))[1]
    assert choice.evaluations == len(EvaluationGrid().steps(round(choice.steps.median)))
    assert choice.evaluation_hours is not None
    share = 20 / 100
    expected = choice.evaluations * 0.08 * share / 3600
    assert choice.evaluation_hours == pytest.approx(expected, rel=0.02)
    training = choice.steps.median * choice.seconds_per_step.median / 3600
    assert choice.hours.median == pytest.approx(training + expected, rel=0.02)


def test_all_of_it_is_plain_data(advised: Storage) -> None:
    plain = json.loads(json.dumps(advice(advised, devices=(1, 2, 64), price=2.0).to_dict()))
    assert plain["fastest"]["devices"] == 2
    assert plain["by_deadline"] is None
    assert [one["devices"] for one in plain["left_out"]] == [64]
    assert plain["options"]["devices"] == [1, 2, 64]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"price": -1.0}, "--price -1.0: must be at least 0"),
        ({"price": float("nan")}, "--price nan: must be"),
        ({"budget": 0.0}, "--budget 0.0: must be more than 0"),
        ({"deadline": 0.0}, "--deadline"),
        ({"spot": 1.0}, "--spot 1.0: must be the probability, below 1"),
        ({"saves": 1.0}, "--saves 1.0: must lie between 0 and 1"),
        ({"costs_more": 0.0}, "--costs-more 0.0: must be more than 0"),
        ({"machines": ""}, "--machines : must name a file, such as machines.toml"),
        ({"device": " "}, "--device  : must be a name, such as 'NVIDIA H100'"),
    ],
)
def test_options_that_cannot_be_are_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as error:
        AdviceOptions(**asked)
    assert said in str(error.value)


def with_versions(*versions: dict[str, str]) -> list[Timing]:
    """Timings, of which some were made on each of these."""
    mine = Truth().timings(steps=[(16, 1), (32, 1)])
    return [replace(one, versions=versions[n % len(versions)]) for n, one in enumerate(mine)]


def ran_on(storage: Storage, **versions: str) -> None:
    """As if all trials had run on these."""
    with storage.write() as conn:
        conn.execute(update(slots).values(versions=json.dumps(versions)))


@pytest.mark.parametrize(
    ("timed_on", "said"),
    [
        ([{"torch": "2.9", "source": "a"}], None),
        ([{"torch": "2.8", "source": "a"}], "timed with torch 2.8, and trials ran with 2.9"),
        (
            [{"torch": "2.9", "source": "a"}, {"torch": "2.8", "source": "a"}],
            "timed with torch 2.8 and 2.9, and trials ran with 2.9",
        ),
        ([{"torch": "2.9", "source": "b"}], "another version of the workload's code than trials"),
        ([{"source": "imported"}], None),
    ],
)
def test_timings_of_other_versions_than_the_trials_are_said(
    searched: Storage, timed_on: Sequence[dict[str, str]], said: str | None
) -> None:
    ran_on(searched, torch="2.9", source="a")
    timings = with_versions(*timed_on)
    if timed_on[0]["source"] == "imported":
        timings = elsewhere([(16, 1, 0.1), (32, 1, 0.2)])
    keep_timings(searched, timings)
    stale = [note for note in advice(searched).notes if "were timed with" in note]
    if said is None:
        assert stale == []
    else:
        (note,) = stale
        assert said in note
        assert f"`batchfront time {NAME}" in note


def test_shares_are_written_as_they_were_given(advised: Storage) -> None:
    found = advice(advised, saves=0.125, spot=0.005)
    assert "probability of 0.5\u00a0%" in " ".join(found.notes)
    answers = answers_table(found, {}, str)
    assert any("saves at least 12.5\u00a0% of the time" in note for note in answers.notes)


def test_batch_sizes_that_no_timing_tells_of_are_said_not_to_be_compared(
    storage_with_curve: Storage,
) -> None:
    keep_timings(storage_with_curve, elsewhere([(512, 1, 0.1)]))
    (choice,) = advice(storage_with_curve).choices
    assert choice.batch_size in (384, 512)
    (note,) = (note for note in choice.notes if "not compared" in note)
    assert note.startswith("Batch sizes 32, 64 and 128 were not compared: batches of 128 examples")


def test_steps_that_do_not_go_with_those_of_one_device_are_said_to_be_doubtful(
    storage_with_curve: Storage,
) -> None:
    def doubts() -> list[str]:
        found = advice(storage_with_curve)
        return [note for note in found.notes if note.startswith("A step of 256 examples")]

    alone = [(size, 1, 0.1 + 0.01 * size) for size in SIZES]
    keep_timings(storage_with_curve, elsewhere([(256, 2, 1.4)]))  # of which one takes half in 1.38
    assert not doubts()
    keep_timings(storage_with_curve, elsewhere(alone))
    assert not doubts()
    keep_timings(storage_with_curve, elsewhere([(256, 2, 0.7)]))
    (fast,) = doubts()
    assert "on 2 devices took less than one of them takes for its 128 alone" in fast
    keep_timings(storage_with_curve, elsewhere([(256, 2, 2.8)]))  # as of each one's examples/s
    (slow,) = doubts()
    assert "took longer on 2 devices than on one" in slow
