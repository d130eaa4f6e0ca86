"""An Optuna objective, unchanged, as a trial of a race."""

from collections.abc import Callable
from typing import Any

import optuna
import pytest

from batchfront import Goal, Log
from batchfront.errors import WorkloadError
from batchfront.integrations.optuna import loop
from batchfront.reporting import TrialEnded
from batchfront.workload.loop import Loop
from tests.batchfront.integrations.conftest import Recorded


def objective(trial: Any) -> float:
    """As it would be given to `study.optimize`."""
    rate = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    size = trial.suggest_categorical("batch_size", [8, 16])
    layers = trial.suggest_int("layers", 1, 4)
    for epoch in range(10):
        trial.report(rate * size * layers / (epoch + 1), epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return 0.0


def as_loop(objective: Callable[[Any], Any], updates: Any = None) -> Loop:
    return loop(
        objective,
        updates=updates or (lambda epoch, batch_size: (epoch + 1) * 64 // batch_size),
        name="toy/line/optuna",
        goal=Goal("loss", 0.01, better="lower"),
        search_space={"lr": Log(1e-3, 0.5)},
        step_budget=100,
        batch_sizes=(8, 16),
    )


def test_an_objective_reports_updates_and_ends_where_it_is_pruned(
    record: Callable[..., Recorded],
) -> None:
    recorded = record(grid=None, last=24, lr=0.5, layers=2)
    with pytest.raises(TrialEnded, match="capped"):
        as_loop(objective).train(recorded.trial)
    assert recorded.reports == [(8, 8.0, None), (16, 4.0, None), (24, 8 / 3, None)]
    assert recorded.trial.unread == set()


def test_an_objective_that_never_asks_whether_to_prune_ends_at_its_next_report(
    record: Callable[..., Recorded],
) -> None:
    def blind(trial: Any) -> float:
        for epoch in range(10):
            trial.report(1.0, epoch)
        return 0.0

    recorded = record(grid=None, last=16)
    with pytest.raises(TrialEnded):
        as_loop(blind).train(recorded.trial)
    assert recorded.steps == [8, 16]


def test_an_objective_may_end_by_itself(record: Callable[..., Recorded]) -> None:
    recorded = record(grid=None, last=1000, lr=0.5, layers=2)
    as_loop(objective).train(recorded.trial)
    assert recorded.steps == list(range(8, 88, 8))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (
            {"lr": 2.0, "layers": 2},
            r"^lr is 2.0 in this trial, which the objective's FloatDistribu",
        ),
        ({"lr": 0.5, "layers": 7}, "^layers is 7 in this trial, which"),
        ({"lr": 0.5, "layers": 2, "batch_size": 32}, "^batch_size is 32 in this trial, which"),
        ({"lr": 0.5}, "^no metaparameter 'layers'; the search space is lr$"),
    ],
)
def test_what_an_objective_would_not_suggest_is_refused(
    record: Callable[..., Recorded], given: dict[str, Any], why: str
) -> None:
    with pytest.raises(WorkloadError, match=why):
        as_loop(objective).train(record(grid=None, **given).trial)


def test_a_step_without_an_update_is_refused(record: Callable[..., Recorded]) -> None:
    updates = lambda epoch, batch_size: epoch * 64 // batch_size  # noqa: E731
    with pytest.raises(WorkloadError, match=r"reports step 0, at which 0 updates are done, as upd"):
        as_loop(objective, updates).train(record(grid=None, lr=0.5, layers=2).trial)


def test_an_objective_prunes_no_trial_itself(record: Callable[..., Recorded]) -> None:
    def impatient(trial: Any) -> float:
        raise optuna.TrialPruned

    with pytest.raises(
        WorkloadError, match="prunes its trial itself, which is the race's to decid"
    ):
        as_loop(impatient).train(record(grid=None).trial)
