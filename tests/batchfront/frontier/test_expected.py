"""The frontier of expected steps, from trials that were ended by hand."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import exp, log
from typing import Any

import numpy as np
import pytest

from batchfront import Log
from batchfront.frontier.analysis.compare import compare
from batchfront.frontier.curve.answers import fit_curve
from batchfront.frontier.expected import (
    ExpectedFrontier,
    enough,
    expect,
)
from batchfront.frontier.expected_table import expected_table
from batchfront.frontier.frontier import load_frontier
from batchfront.outcomes import TrialResult
from batchfront.store.url import Storage
from batchfront.surrogate.evidence import Evidence, Kind
from tests.searches import NAME, end, planned, reached, slots_of, work, work_beside

RATES = {"learning_rate": Log(0.01, 4.0)}
BEST = 0.5
"""The learning rate that takes the fewest steps."""

SIZES = (8, 32, 128)


def takes(batch_size: int, rate: float) -> float:
    """The expected steps: a parabola in the logarithm of the rate."""
    return (2000 / batch_size + 30) * exp(log(rate / BEST) ** 2 / 3)


def shown(each: int = 12, noise: float = 0.1, seed: int = 0) -> list[Evidence]:
    """So many trials at each batch size, all of which reach the goal up to a rate of 2."""
    rng = np.random.default_rng(seed)
    found = []
    for size in SIZES:
        for position in rng.random(each):
            rate = float(RATES["learning_rate"].at(position))
            steps = takes(size, rate) * exp(noise * rng.standard_normal())
            kind = Kind.INFEASIBLE if rate > 2 else Kind.REACHED
            found.append(Evidence(size, {"learning_rate": rate}, kind, round(steps)))
    return found


def told(trials: list[Evidence]) -> dict[tuple[int, int], Evidence]:
    """Trials by batch size and number."""
    return {(one.batch_size, number): one for number, one in enumerate(trials)}


SPACES = dict.fromkeys(SIZES, RATES)


@pytest.fixture(scope="module")
def known() -> ExpectedFrontier:
    return expect(SPACES, told(shown()))


def test_what_is_expected_is_the_median_at_the_recommended_metaparameters(
    known: ExpectedFrontier,
) -> None:
    assert known.refusal is None
    assert [point.batch_size for point in known.points] == list(SIZES)
    for point in known.points:
        assert point.low < point.steps < point.high
        truth = takes(point.batch_size, float(point.metaparameters["learning_rate"]))
        assert abs(log(point.steps / truth)) < 0.25
        assert point.trials == 12
        assert 0 < point.reached <= 12


def test_the_recommended_trial_is_one_that_reached_the_goal_there(known: ExpectedFrontier) -> None:
    trials = told(shown())
    for point in known.points:
        trial = trials[point.batch_size, point.trial]
        assert trial.kind is Kind.REACHED
        assert trial.params == point.metaparameters
        others = [
            takes(size, float(one.params["learning_rate"]))
            for (size, _), one in trials.items()
            if size == point.batch_size and one.kind is Kind.REACHED
        ]
        assert takes(point.batch_size, float(trial.params["learning_rate"])) < 1.2 * min(others)


def test_the_same_trials_give_the_same(known: ExpectedFrontier) -> None:
    assert expect(SPACES, told(shown())) == known


def test_the_median_of_few_seeds_may_lie_further_off_than_that_of_many(
    known: ExpectedFrontier,
) -> None:
    point = known.points[0]
    few, many = point.of_seeds(3), point.of_seeds(301)
    assert few[0] < many[0] < point.low
    assert point.high < many[1] < few[1]


def test_never_are_the_steps_of_thousands_of_trials_foretold_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from batchfront.surrogate.surface import Expected, Surface

    asked: list[int] = []
    expected = Surface.expected

    def counted(surface: Surface, points: Sequence[Any]) -> Expected:
        asked.append(len(points))
        return expected(surface, points)

    monkeypatch.setattr(Surface, "expected", counted)
    found = expect(SPACES, told(shown(each=400)))
    assert sum(point.reached for point in found.points) > 900
    assert max(asked) < 300


def test_too_few_trials_that_reached_the_goal_are_refused() -> None:
    few = [one for one in shown() if one.kind is not Kind.REACHED or one.batch_size == 8][:3]
    refused = expect(SPACES, told(few))
    assert refused.points == ()
    assert refused.refusal is not None
    assert refused.refusal.endswith("reached the goal, and 4 are needed")


def test_without_a_searched_metaparameter_nothing_is_recommended() -> None:
    fixed = {"learning_rate": 0.1}
    trials = [replace(one, params=fixed) for one in shown()]
    refusal = expect(dict.fromkeys(SIZES, fixed), told(trials)).refusal
    assert refusal == "no metaparameter was searched"


def test_a_surface_that_cannot_be_fitted_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(spaces: Any, shown: Any) -> None:
        raise np.linalg.LinAlgError("not positive definite")

    monkeypatch.setattr("batchfront.surrogate.surface.Surface.fit", fails)
    refusal = expect(SPACES, told(shown())).refusal
    assert refusal == "the surrogate can't be fitted to the trials (not positive definite)"


def test_one_batch_size_is_too_few(storage: Storage) -> None:
    planned(storage, trials=2, batch_sizes=(4, 16))
    end(storage, f"{NAME}/b4", {0: reached(40), 1: reached(50)})
    known = load_frontier(storage, NAME).expected
    assert known.refusal == "1 batch size reached the goal, and 2 are needed"


def test_a_frontier_knows_what_is_expected_of_it_and_its_curve_goes_through_that(
    storage: Storage,
) -> None:
    filled(storage)
    frontier = load_frontier(storage, NAME)
    assert [point.trials for point in frontier.expected.points] == [12, 12]
    steps = [point.steps for point in frontier.expected.points]
    assert [seen.steps for seen in fit_curve(frontier).observations] == steps
    frame = frontier.expected.to_frame()
    assert frame["batch_size"].tolist() == [4, 16]
    assert frame["reached"].tolist() == [12, 12]
    assert {"steps", "low", "high", "noise", "params_learning_rate"} < {*frame.columns}


def test_a_comparison_says_that_its_answer_is_by_the_expected_steps(storage: Storage) -> None:
    filled(storage)
    (series,) = compare([load_frontier(storage, NAME)]).series
    assert series.answers[-1].startswith("The curve goes through the expected steps: ")


def test_below_expected_steps_that_are_not_trusted_stands_why(storage: Storage) -> None:
    planned(storage, trials=4, batch_sizes=(4, 16), finishers=4)
    end(storage, f"{NAME}/b4", {0: reached(40), 1: reached(50), 2: reached(60)})
    end(storage, f"{NAME}/b16", {0: reached(20)})
    *_, rough = expected_table(load_frontier(storage, NAME), str).notes
    assert rough.startswith("This is rough: 2 trials that reached the goal at every batch size")


def test_below_those_that_are_trusted_stands_no_doubt(storage: Storage) -> None:
    filled(storage)
    notes = expected_table(load_frontier(storage, NAME), str).notes
    assert notes
    assert not any("This is rough" in note for note in notes)


@pytest.mark.parametrize("late", ["capped", "diverged", "reached"])
def test_who_hears_late_of_the_winners_changes_nothing_that_is_expected(
    storage: Storage, second_storage: Storage, late: str
) -> None:
    """Those that another worker has go on past the step at which the race is over."""
    for database, further in ((storage, 0), (second_storage, 7)):
        planned(database, trials=12, finishers=4)
        for size in (4, 16):
            steps = needed(database, size)
            cap = sorted(steps.values())[3]
            ends = {n: reached(own) for n, own in steps.items()}
            ends |= {
                n: TrialResult("capped", "", cap)
                if not further or n % 2
                else reached(own)
                if late == "reached"
                else TrialResult(late, "", cap + further)
                for n, own in steps.items()
                if own > cap
            }
            end(database, f"{NAME}/b{size}", ends)
    in_time, too_late = (load_frontier(each, NAME) for each in (storage, second_storage))
    assert in_time.expected.points
    assert too_late.expected == in_time.expected
    assert fit_curve(too_late) == fit_curve(in_time)
    tables = [expected_table(each, str) for each in (too_late, in_time)]
    assert tables[0].rows == tables[1].rows
    assert tables[0].notes == tables[1].notes


@pytest.mark.parametrize("asked", [{}, {"sampler": "joint", "together": 4}])
def test_one_worker_and_three_expect_the_same(
    database: str,
    storage: Storage,
    second_storage: Storage,
    at_once: Callable[..., list[Any]],
    asked: dict[str, Any],
) -> None:
    for one in (storage, second_storage):
        planned(one, trials=12, finishers=4, batch_sizes=(4, 16), **asked)
    at_once(3, work_beside, database)
    work(second_storage)
    many, alone = (load_frontier(each, NAME).expected for each in (storage, second_storage))
    assert alone.points
    assert many == alone


def filled(storage: Storage) -> None:
    """Twelve trials at each of two batch sizes, all of which have reached the goal, the sooner the
    nearer their learning rate is to a tenth."""
    planned(storage, trials=12, finishers=12)
    for size in (4, 16):
        steps = needed(storage, size)
        end(storage, f"{NAME}/b{size}", {n: reached(own) for n, own in steps.items()})


def needed(storage: Storage, size: int) -> dict[int, int]:
    """What each trial of a batch size takes, by number."""
    return {
        row.number: round((400 / size) * (1 + math.log10(10 * _rate(row.params)) ** 2))
        + row.number % 3
        for row in slots_of(storage, f"{NAME}/b{size}")
    }


def _rate(params: str) -> float:
    return float(json.loads(params)["learning_rate"])


def test_the_curve_goes_through_what_is_expected_where_enough_trials_reached_the_goal() -> None:
    assert enough([2, 4])
    assert not enough([1, 9])  # of one alone nobody knows how lucky it was
    assert not enough([2, 3])
    assert not enough([9])
