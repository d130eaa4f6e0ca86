"""A race with several finishers: the fewest steps are those of running every trial to its end."""

from collections.abc import Sequence

import pytest

from batchfront.outcomes import TrialResult
from batchfront.training.heat import Heat, RaceRules
from batchfront.training.model_run import ModelRun
from batchfront.workload.data import Splits
from batchfront.workload.search_space import quasi_random_points
from tests.batchfront.training.test_heat import CPU, NEVER, Slot, heat, raced, separately
from tests.toy import clouds, splits

TRIALS = range(12)


@pytest.fixture(scope="module")
def data() -> Splits:
    return splits()


@pytest.fixture(scope="module", params=[4, 16])
def batch_size(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def alone(data: Splits, batch_size: int) -> dict[int, TrialResult]:
    """Every trial on its own, to its goal or to the end of the budget."""
    return separately(clouds(), data, batch_size, TRIALS)


def to_target(endings: dict[int, TrialResult]) -> list[tuple[int, int]]:
    """Steps to target and number of the trials that passed the goal, best first."""
    return sorted((e.steps_to_target, n) for n, e in endings.items() if e.steps_to_target)


def up_to(places: Sequence[tuple[int, int]], finishers: int) -> list[tuple[int, int]]:
    """The first so many, and whoever draws level with the last of them."""
    return [p for p in places if p[0] <= places[min(finishers, len(places)) - 1][0]]


@pytest.mark.parametrize("finishers", [1, 2, 3, 5])
def test_the_race_ends_with_the_trials_that_needed_the_fewest_steps(
    data: Splits, batch_size: int, alone: dict[int, TrialResult], finishers: int
) -> None:
    expected = up_to(to_target(alone), finishers)
    found = raced(heat(clouds(), data, batch_size, TRIALS, finishers=finishers))
    last = expected[-1][0]
    assert to_target(found) == expected
    assert max(ending.steps for ending in found.values()) <= last
    for number, ending in found.items():
        if ending.outcome == "reached":
            mine = alone[number]
            assert (ending.steps, ending.metric) == (mine.steps, mine.metric)
        if ending.outcome == "capped":
            assert ending.steps == last
            assert str(last) in ending.reason


def test_the_reason_of_those_capped_says_how_many_were_first(data: Splits) -> None:
    endings = raced(heat(clouds(), data, 4, TRIALS, finishers=3))
    last = to_target(endings)[2][0]
    reasons = {e.reason for e in endings.values() if e.outcome == "capped"}
    assert reasons == {f"3 other trials reached the goal in at most {last} steps"}


@pytest.mark.parametrize("finishers", [0, 100])
def test_with_more_finishers_than_can_reach_the_goal_or_none_nobody_is_capped(
    data: Splits, batch_size: int, alone: dict[int, TrialResult], finishers: int
) -> None:
    found = raced(heat(clouds(), data, batch_size, TRIALS, finishers=finishers))
    assert to_target(found) == to_target(alone)
    assert "capped" not in {ending.outcome for ending in found.values()}


@pytest.mark.parametrize(("finishers", "parts", "rounds"), [(1, 2, 7), (3, 3, 1), (3, 5, 7)])
def test_heats_that_take_turns_find_the_same_finishers(
    data: Splits,
    batch_size: int,
    alone: dict[int, TrialResult],
    finishers: int,
    parts: int,
    rounds: int,
) -> None:
    """Each hears of the others only when its turn comes, by the R-th of all that have ended."""
    whole = heat(clouds(), data, batch_size, TRIALS).live
    rules = RaceRules(clouds().goal, clouds().stopping, finishers)
    heats = [Heat(rules, whole[k::parts]) for k in range(parts)]
    found: dict[int, TrialResult] = {}
    while any(running.live for running in heats):
        for running in heats:
            places = to_target(found)
            running.lower_cap(places[finishers - 1][0] if len(places) >= finishers else None)
            for _ in range(rounds):
                found |= {slot.number: ending for slot, ending in running.round(NEVER)}
    expected = up_to(to_target(alone), finishers)
    assert to_target(found)[: len(expected)] == expected
    last = expected[-1][0]
    capped = [n for n, ending in found.items() if ending.outcome == "capped"]
    assert all((alone[n].steps_to_target or 10**9) > last for n in capped)
    assert all(found[n].steps >= last for n in capped)


def test_a_trial_behind_that_catches_up_lowers_the_cap(data: Splits) -> None:
    expected = to_target(separately(clouds(), data, 4, TRIALS))
    running = heat(clouds(), data, 4, TRIALS, finishers=2)
    (_, first), (second, _) = expected[:2]
    behind = [pair for pair in running.live if pair[0].number == first]
    running.live = [pair for pair in running.live if pair[0].number != first]
    found: dict[int, TrialResult] = {}
    while not any(ending.outcome == "reached" for ending in found.values()):
        found |= {slot.number: ending for slot, ending in running.round(NEVER)}
    assert running.cap is None
    running.live += behind
    found |= raced(running)
    assert to_target(found) == up_to(expected, 2)
    assert {e.steps for e in found.values() if e.outcome == "capped"} == {second}


def test_whoever_draws_level_with_the_last_finisher_has_reached_the_goal_too(
    data: Splits,
) -> None:
    places = to_target(separately(clouds(), data, 16, TRIALS))
    (first, winner), (second, runner_up) = places[0], up_to(places, 2)[-1]
    assert first < second
    points = quasi_random_points(clouds().space(16), TRIALS.stop, 1)
    named = {0: winner, 1: runner_up, 2: runner_up, 3: runner_up, 4: places[-1][1]}
    runs = [
        (Slot(k), ModelRun(clouds(), data, 16, points[n], 100 + n, CPU)) for k, n in named.items()
    ]
    found = raced(Heat(RaceRules(clouds().goal, clouds().stopping, finishers=2), runs))
    assert to_target(found) == [(first, 0), (second, 1), (second, 2), (second, 3)]
    assert found[4].outcome == "capped"
