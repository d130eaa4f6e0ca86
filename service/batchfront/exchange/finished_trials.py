"""Writing trials that ran elsewhere: slots and Optuna's trials, in the caller's transaction."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert

from batchfront.outcomes import TrialResult
from batchfront.store.bulk import finite
from batchfront.store.optuna_tables import Searched, utc_now, write_trials
from batchfront.store.optuna_trials import ended_trial
from batchfront.store.schema import slots
from batchfront.study.study import Definition, Study
from batchfront.vocabulary import Count, Purpose, Sampler, Schedule, SlotState
from batchfront.workload.search_space import Value


@dataclass(frozen=True)
class FinishedTrial:
    """A trial that ended elsewhere.

    seed -- that it ran with, if it is known
    """

    number: int
    result: TrialResult
    params: Mapping[str, Value] = field(default_factory=dict)
    seed: int | None = None


def imported_study(
    identity: Mapping[str, Any],
    *,
    trials: int = 0,
    train_examples: int = 0,
    purpose: str = Purpose.SEARCH,
) -> Definition:
    """A study of trials that ran elsewhere, before it is stored: it has no code, no race, and no
    samples of its own.

    identity -- its workload and batch size among it
    """
    return Definition(
        name=f"{identity['workload']}/b{identity['batch_size']}",
        workload=identity["workload"],
        spec="",
        batch_size=identity["batch_size"],
        identity=json.loads(json.dumps(identity)),
        goal_value=None,
        seed=0,
        schedule=Schedule.IMPORTED,
        sampler=Sampler.IMPORTED,
        count=Count.ALL,
        trials=trials,
        train_examples=train_examples,
        purpose=purpose,
        finishers=0,
    )


def write_finished(
    conn: Connection, study: Study, searched: Searched, trials: Sequence[FinishedTrial], at: float
) -> list[int]:
    """Add done slots with their Optuna trials to a study.

    at -- when they were imported, by the database's clock: nobody knows when they ran

    Returns the slots' ids in the same order.
    """
    if not trials:
        return []
    now = utc_now()
    copies = [ended_trial(t.number, searched.rows(t.params), t.result, now) for t in trials]
    ids = write_trials(conn, study.id, copies)
    columns = ("steps", "steps_to_target", "steps_lower", "outcome", "reason")
    rows = [
        {
            **{name: getattr(trial.result, name) for name in columns},
            "metric": finite(trial.result.metric),
            "study_id": study.id,
            "number": trial.number,
            "seed": trial.seed,
            "state": SlotState.DONE,
            "params": json.dumps(dict(trial.params)),
            "trial_id": trial_id,
            "started_at": at,
            "finished_at": at,
        }
        for trial, trial_id in zip(trials, ids, strict=True)
    ]
    new = insert(slots).returning(slots.c.id, sort_by_parameter_order=True)
    return [int(slot_id) for slot_id in conn.execute(new, rows).scalars()]
