"""The steps of a run are the curve's, where the frontier allows the batch size."""

import math
from collections.abc import Sequence

import pytest

from batchfront.advice.run_steps import RunSteps
from batchfront.errors import UsageError
from batchfront.frontier.frontier import Point, load_frontier
from batchfront.frontier.reruns import Confirmation
from batchfront.store.url import Storage
from tests.batchfront.advice.conftest import Imported, falling
from tests.step_truth import NAME

SIZES = (32, 64, 128, 256, 512)


def confirmed(point: Point, factors: Sequence[float], unreached: int = 0) -> Confirmation:
    """Fresh seeds of a winner, which took so many times its steps."""
    assert point.steps is not None
    assert point.trial is not None
    return Confirmation(
        trial=point.trial,
        params={},
        steps=tuple(point.steps * factor for factor in factors),
        unreached=unreached,
        failed=0,
        open=0,
        best=point.steps,
    )


def of(storage: Storage) -> RunSteps:
    return RunSteps(load_frontier(storage, NAME), {})


def test_between_measured_batch_sizes_they_are_the_curves_and_said_to_be(
    imported: Imported,
) -> None:
    steps = of(imported(falling(SIZES)))
    found = steps.of([128, 192, 1024])
    assert found[128].measured
    assert found[128].notes == ()
    assert not found[192].measured
    assert found[192].interval.median == pytest.approx(100 * (1 + 256 / 192), rel=0.03)
    assert found[192].notes == ("No trial ran at batch size 192: its steps are the curve's.",)
    assert "extrapolated by the curve of 32 to 512" in found[1024].notes[0]


def test_an_interval_is_that_of_one_run_and_not_of_a_median(imported: Imported) -> None:
    steps = of(
        imported(
            {
                size: [s * (1 + 0.3 * k) for k in (-1, 0, 1) for s in [seeds[1]]]
                for size, seeds in falling(SIZES).items()
            }
        )
    )
    interval = steps.of([128])[128].interval
    assert interval.low < 0.7 * interval.median
    assert interval.high > 1.3 * interval.median


def test_past_twice_the_range_nothing_is_said(imported: Imported) -> None:
    steps = of(imported(falling(SIZES)))
    assert steps.reach == (16, 1024)
    assert [steps.allows(size) for size in (15, 16, 1024, 1025)] == [False, True, True, False]
    with pytest.raises(UsageError, match="batch size 2,048: steps are known from 16 to 1,024"):
        steps.of([2048])


def test_nothing_is_said_beside_a_batch_size_that_has_not_reached_the_goal(
    imported: Imported,
) -> None:
    told: dict[int, list[float | None]] = {**falling(SIZES), 128: [None, None], 768: [None]}
    steps = of(imported(told))
    allowed = [
        size for size in (32, 48, 64, 96, 128, 192, 256, 300, 512, 600) if steps.allows(size)
    ]
    assert allowed == [32, 48, 64, 256, 300, 512]
    assert steps.reach == (16, 512)


def test_where_steps_rise_again_nothing_is_said_beyond_what_was_measured(
    imported: Imported,
) -> None:
    rising = {**falling((8, 16, *SIZES)), 1024: [400.0, 410.0, 420.0], 2048: [800.0, 810.0, 820.0]}
    steps = of(imported(rising))
    assert steps.curve.worse_from is not None
    assert steps.reach[1] == 2048
    found = steps.of([512, 2048])
    assert found[2048].interval.median > 2 * found[512].interval.median
    assert any("rise" in note for note in steps.notes)


def test_a_refused_curve_leaves_the_batch_sizes_that_were_measured(imported: Imported) -> None:
    steps = of(imported(falling((64, 256))))
    assert steps.curve.refusal
    assert steps.of([64])[64].interval.median == 500
    assert not steps.allows(128)
    with pytest.raises(UsageError, match="there is no curve to say its steps"):
        steps.of([128])
    assert any("only batch sizes that were measured are compared" in note for note in steps.notes)


def test_without_a_batch_size_that_reached_the_goal_there_are_no_steps(imported: Imported) -> None:
    storage = imported({64: [None], 128: [None]})
    with pytest.raises(UsageError, match="no batch size has reached the goal"):
        of(storage)


def test_a_winner_is_said_to_be_the_luckiest_trial(searched: Storage) -> None:
    notes = of(searched).notes
    assert any("the luckiest trial of each batch size" in n and "confirm" in n for n in notes)


def test_fresh_seeds_say_how_lucky_it_was(searched: Storage) -> None:
    frontier = load_frontier(searched, NAME)
    reruns = {
        point.batch_size: [confirmed(point, factors=(1.1, 1.2, 1.3))] for point in frontier.points
    }
    alone, again = (RunSteps(frontier, one).of([16])[16] for one in ({}, reruns))
    assert again.interval.median == pytest.approx(1.2 * alone.interval.median)
    spread = math.log(again.interval.high / again.interval.low)
    assert 0.1 < spread < 0.5
    assert any("times 1.20" in note for note in RunSteps(frontier, reruns).notes)


def test_where_nothing_tells_how_runs_scatter_an_interval_is_assumed_and_said(
    imported: Imported,
) -> None:
    steps = of(imported({32: [1000], 128: [900]}))
    assert steps.curve.refusal
    found = steps.of([128])[128].interval
    assert (found.low, found.median, found.high) == pytest.approx((648, 900, 1250), abs=1)
    assert any("within a factor of 1.4 either way is assumed" in note for note in steps.notes)


def test_seeds_that_tell_how_runs_scatter_leave_nothing_to_assume(imported: Imported) -> None:
    steps = of(imported({32: [990, 1010], 128: [890, 910]}))
    found = steps.of([128])[128].interval
    assert found.high / found.low < 1.1
    assert not any("is assumed" in note for note in steps.notes)


def test_winners_that_were_differently_lucky_widen_the_interval_and_are_told(
    searched: Storage,
) -> None:
    frontier = load_frontier(searched, NAME)
    factors = (1.1, 7.0, 2.0, 3.0, 1.5)
    reruns = {
        point.batch_size: [confirmed(point, (0.95 * factor, factor, 1.05 * factor))]
        for point, factor in zip(frontier.points, factors, strict=True)
    }
    steps = RunSteps(frontier, reruns)
    alone = RunSteps(frontier, {})
    for point, factor in zip(frontier.points, factors, strict=True):
        size = point.batch_size
        found, before = (one.of([size])[size].interval for one in (steps, alone))
        assert found.low < factor * before.median < found.high or factor == 7.0
    assert any("2.00, as fresh seeds" in n and "1.10 to 7.00 by batch" in n for n in steps.notes)


def test_fresh_seeds_that_did_not_reach_the_goal_are_told(searched: Storage) -> None:
    frontier = load_frontier(searched, NAME)
    reruns = {
        point.batch_size: [confirmed(point, (1.1, 1.2), unreached=int(point.batch_size == 64))]
        for point in frontier.points
    }
    (note,) = (n for n in RunSteps(frontier, reruns).notes if "did not reach the goal" in n)
    assert note.startswith("At batch size 64, 1 of 3 fresh seeds of the best trial")
