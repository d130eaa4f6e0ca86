"""Writing trials that ran elsewhere: slots and Optuna's trials, in the caller's transaction."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from optuna.trial import TrialState
from sqlalchemy import Connection, insert

from batchfront.ledger.results import finite
from batchfront.outcomes import STATES
from batchfront.store.optuna_tables import Searched, TrialCopy, ended_trial, utc_now, write_trials
from batchfront.store.schema import slots
from batchfront.study.study import Study
from batchfront.workload.search_space import Value

ELSEWHERE = "imported"
"""Stands for the schedule and the sampler of a study whose trials ran elsewhere."""


@dataclass(frozen=True)
class EndedTrial:
    """A trial that ended elsewhere, in the words of `bf_slots`.

    metric      -- the goal metric as last computed, and `metric_step` when that was
    steps_lower -- the evaluated step before the one that passed the goal, if it is known
    seed        -- that it ran with, if it is known
    """

    number: int
    outcome: str
    reason: str = ""
    params: Mapping[str, Value] = field(default_factory=dict)
    steps: int = 0
    steps_to_target: float | None = None
    steps_lower: float | None = None
    metric: float | None = None
    metric_step: int | None = None
    seed: int | None = None


def write_ended(
    conn: Connection, study: Study, searched: Searched, trials: Sequence[EndedTrial], at: float
) -> list[int]:
    """Add done slots with their Optuna trials to a study; the slots' ids in the same order.

    at -- when they were imported, by the database's clock: nobody knows when they ran
    """
    if not trials:
        return []
    ids = write_trials(conn, study.id, [_optuna_trial(searched, trial) for trial in trials])
    rows = [
        {
            "study_id": study.id,
            "number": trial.number,
            "seed": trial.seed,
            "state": "done",
            "params": json.dumps(dict(trial.params)),
            "trial_id": trial_id,
            "steps": trial.steps,
            "steps_to_target": trial.steps_to_target,
            "steps_lower": trial.steps_lower,
            "outcome": trial.outcome,
            "reason": trial.reason,
            "metric": finite(trial.metric),
            "started_at": at,
            "finished_at": at,
        }
        for trial, trial_id in zip(trials, ids, strict=True)
    ]
    new = insert(slots).returning(slots.c.id, sort_by_parameter_order=True)
    return [int(slot_id) for slot_id in conn.execute(new, rows).scalars()]


def _optuna_trial(searched: Searched, trial: EndedTrial) -> TrialCopy:
    looked = trial.metric is not None and trial.metric_step is not None
    return ended_trial(
        trial.number,
        STATES.get(trial.outcome, TrialState.PRUNED),
        searched.rows(trial.params),
        trial.steps_to_target,
        (trial.metric_step, trial.metric) if looked else None,  # type: ignore[arg-type]
        {"outcome": trial.outcome, "reason": trial.reason, "steps": trial.steps},
        utc_now(),
    )
