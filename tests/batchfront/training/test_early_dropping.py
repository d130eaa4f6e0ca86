"""Rules that drop trials for what others of their study have shown."""

from dataclasses import replace

import pytest

from batchfront.errors import UsageError
from batchfront.outcomes import CurvePoint, LearningCurve
from batchfront.training.early_dropping import Extrapolation, Halving, rules
from batchfront.workload.goal import Goal
from batchfront.workload.metrics import ACCURACY, CROSS_ENTROPY, ERROR_RATE

GOAL = Goal(ERROR_RATE, 0.05)
HALVING = Halving(GOAL, first=8, kept=1)
EXTRAPOLATION = Extrapolation(GOAL, kept=1)


def at(step: int, *values: float, before: int | None = None) -> dict[int, LearningCurve]:
    """Curves with one look, or two, of trials numbered from 0."""
    first = [] if before is None else [CurvePoint(before, 0.9)]
    return {number: [*first, CurvePoint(step, value)] for number, value in enumerate(values)}


def power(start: float, slope: float, until: int = 64, first: int = 1) -> LearningCurve:
    """A curve that falls as a power of the steps, seen at the powers of 2."""
    steps = [2**k for k in range(20) if first <= 2**k <= until]
    return [CurvePoint(step, start * step**-slope) for step in steps]


def test_at_a_rung_the_worse_half_is_dropped_with_its_place_as_the_reason() -> None:
    found = HALVING.dropped(at(16, 0.3, 0.2, 0.5, 0.4, 0.6), None)
    assert found == {
        2: "halved at step 16: number 4 of 5",
        4: "halved at step 16: number 5 of 5",
    }


def test_a_score_is_halved_from_below() -> None:
    halving = replace(HALVING, goal=Goal(ACCURACY, 0.95))
    assert halving.dropped(at(16, 0.3, 0.2, 0.5, 0.4), None).keys() == {0, 1}


def test_whoever_draws_level_with_one_that_goes_on_goes_on_too() -> None:
    assert HALVING.dropped(at(16, 0.9, 0.9, 0.9, 0.9), None) == {}
    assert HALVING.dropped(at(16, 0.1, 0.2, 0.2, 0.9), None).keys() == {3}


@pytest.mark.parametrize(
    ("step", "before", "rung"),
    [(8, 6, True), (9, 6, True), (11, 8, False), (17, 11, True), (4, 3, False), (64, None, True)],
)
def test_rungs_are_the_first_looks_at_or_past_powers_of_two(
    step: int, before: int | None, rung: bool
) -> None:
    assert bool(HALVING.dropped(at(step, 0.1, 0.2, before=before), None)) == rung


def test_as_many_go_on_as_are_to_finish_and_a_few_at_least() -> None:
    looks = at(16, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    assert replace(HALVING, finishers=5).dropped(looks, None).keys() == {5}
    assert replace(HALVING, kept=4).dropped(looks, None).keys() == {4, 5}
    assert Halving(GOAL).dropped(looks, None) == {}  # too early by default


def test_a_curve_that_would_miss_the_leader_is_dropped() -> None:
    curves = {0: power(1.0, 0.65), 1: power(1.0, 0.6), 2: power(0.9, 0.1)}
    found = EXTRAPOLATION.dropped(curves, None)
    assert found.keys() >= {2}
    assert 0 not in found
    assert found[2].startswith("extrapolated at step 64: would miss the goal at step 100, when")


def test_the_more_a_curve_strays_the_more_it_is_allowed() -> None:
    straying = [
        CurvePoint(s, v * f) for (s, v), f in zip(power(1.0, 0.55), [1, 2] * 4, strict=False)
    ]
    curves = {0: power(1.0, 0.65), 1: straying}
    assert EXTRAPOLATION.dropped(curves, None) == {}
    assert replace(EXTRAPOLATION, deviations=0.0).dropped(curves, None).keys() == {1}


def test_nothing_is_dropped_while_the_leader_is_far_from_the_goal() -> None:
    curves = {0: power(1.0, 0.65, until=16), 1: power(0.9, 0.1, until=16)}
    assert EXTRAPOLATION.dropped(curves, None) == {}
    assert replace(EXTRAPOLATION, near=8.0).dropped(curves, None).keys() == {1}


def test_the_leader_is_the_last_of_several_finishers() -> None:
    curves = {0: power(1.0, 0.65), 1: power(1.0, 0.5), 2: power(1.0, 0.3)}
    assert EXTRAPOLATION.dropped(curves, None).keys() == {1, 2}
    assert replace(EXTRAPOLATION, finishers=2).dropped(curves, None) == {}  # which is far off


def test_those_that_promise_most_go_on_in_any_case() -> None:
    curves = {n: power(1.0, slope) for n, slope in enumerate((0.65, 0.4, 0.3, 0.2))}
    assert EXTRAPOLATION.dropped(curves, None).keys() == {1, 2, 3}
    assert replace(EXTRAPOLATION, kept=3).dropped(curves, None).keys() == {3}


def test_a_cap_stands_for_the_leader_where_it_is_lower() -> None:
    curves = {1: power(1.0, 0.5), 2: power(1.0, 0.3)}
    assert EXTRAPOLATION.dropped(curves, None) == {}
    assert EXTRAPOLATION.dropped(curves, 100).keys() == {2}


def test_a_curve_with_few_looks_in_sight_stays() -> None:
    curves = {0: power(1.0, 0.65), 1: power(0.9, 0.0, first=16)}
    assert EXTRAPOLATION.dropped(curves, None) == {}


def test_only_rules_that_were_asked_for_are_there() -> None:
    assert rules(GOAL, 2, halving=False, extrapolate=False) == []
    both = rules(GOAL, 2, halving=True, extrapolate=True)
    assert both == [Halving(GOAL, 2), Extrapolation(GOAL, 2)]


def test_a_metric_without_a_best_value_can_not_be_extrapolated() -> None:
    endless = replace(CROSS_ENTROPY, better="higher")
    with pytest.raises(UsageError, match=r"--extrapolate: needs .* cross-entropy has none"):
        rules(Goal(endless, 1.0), 1, halving=False, extrapolate=True)
