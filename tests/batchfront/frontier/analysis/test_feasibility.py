"""Where in the search space trials reached, missed or diverged."""

from typing import Any

from batchfront.frontier.analysis.feasibility import Band, Outcomes, outcomes
from batchfront.store.url import Storage
from tests.batchfront.frontier.analysis.studies import ended, loaded, reached
from tests.batchfront.report.rows import add_study

NAME = "a/b/momentum"


def analyzed(storage: Storage, *trials: dict[str, Any]) -> Outcomes:
    add_study(storage, NAME, 8, trials)
    frontier, found, _ = loaded(storage, NAME)
    (point,) = frontier.points
    return outcomes(point, found.get(point.study.id, ()))


def params(learning_rate: float, momentum: float) -> dict[str, float]:
    return {"learning_rate": learning_rate, "momentum": momentum}


def test_trials_have_their_rates_outcome_and_steps(storage: Storage) -> None:
    found = analyzed(storage, reached(40, params=params(0.5, 0.75)), {"params": params(0.1, 0.5)})
    first, second = found.trials
    assert (first.learning_rate, first.momentum_gap, first.effective) == (0.5, 0.25, 2)
    assert (first.outcome, first.steps, first.steps_to_target) == ("reached", 40, 40)
    assert (second.outcome, second.steps_to_target) == ("open", None)


def test_bands_are_decades_of_the_effective_learning_rate(storage: Storage) -> None:
    found = analyzed(
        storage,
        reached(40, params=params(0.5, 0.75)),  # 2
        ended("capped", 40, params=params(0.5, 0.5)),  # 1, which begins the decade
        ended("diverged", 3, params=params(1.0, 0.75)),  # 4
        ended("diverged", 3, params=params(4.0, 0.75)),  # 16
        ended("stalled", 200, params=params(0.25, 0.5)),  # 0.5
        {"params": params(0.5, 0.5)},
    )
    assert found.by == "effective learning rate"
    assert found.bands == (
        Band(0.1, 1, 1, 1.0, {"stalled": 1}),
        Band(1, 10, 3, 1 - 1 / 3, {"reached": 1, "capped": 1, "diverged": 1}),
        Band(10, 100, 1, 0.0, {"diverged": 1}),
    )


def test_without_momentum_the_bands_are_of_the_learning_rate(storage: Storage) -> None:
    found = analyzed(storage, reached(40, params={"learning_rate": 0.5}))
    assert (found.by, found.bands) == ("learning rate", (Band(0.1, 1, 1, 1.0, {"reached": 1}),))
    assert (found.trials[0].momentum_gap, found.trials[0].effective) == (None, None)


def test_without_a_learning_rate_or_an_ended_trial_there_is_a_reason(storage: Storage) -> None:
    found = analyzed(storage, {"params": params(0.1, 0.9)})
    assert (found.bands, found.reason) == ((), "no trial has ended")
    add_study(storage, "a/b/adam", 8, [reached(40, params={"beta1": 0.9})])
    frontier, trials, _ = loaded(storage, "a/b/adam")
    without = outcomes(frontier.points[0], trials[frontier.points[0].study.id])
    assert without.reason == "its trials have no learning rate"
    assert len(without.trials) == 1


def test_a_trial_without_metaparameters_has_ended_all_the_same(storage: Storage) -> None:
    assert analyzed(storage, reached(40, params={})).reason == "its trials have no learning rate"
