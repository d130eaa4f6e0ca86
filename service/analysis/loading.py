"""The trials and measurements of a whole workload, in one query each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, or_, select

from service.database import Storage
from service.frontier import Frontier, Trial, trial_from_row
from service.schema import measurements, slots, studies
from service.slots import SEARCHES, Filter

RULE_PURPOSES = ("linear", "square-root")
"""The purposes of studies that follow a scaling rule, which are also the names of the rules."""


@dataclass(frozen=True, eq=False)
class GoalLooks:
    """The goal metric of a study's trials, as it was measured over the validation split.

    Three columns of [n] looks, by number of the trial and then by step. A value is NaN where the
    metric was not finite.
    """

    numbers: NDArray[np.int64]
    steps: NDArray[np.int64]
    values: NDArray[np.float64]

    def by_trial(self) -> dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Number of a trial to its steps, ascending, and values."""
        numbers, starts = np.unique(self.numbers, return_index=True)
        parts = zip(
            np.split(self.steps, starts[1:]), np.split(self.values, starts[1:]), strict=True
        )
        return dict(zip(numbers.tolist(), parts, strict=True))


Trials = Mapping[int, tuple[Trial, ...]]
"""Id of a study to its trials, by number."""

Curves = Mapping[int, GoalLooks]
"""Id of a study, if any of its trials was measured, to the looks at all of them."""

RuleRuns = Mapping[tuple[str, int], tuple[Trial, ...]]
"""Rule and batch size to the trials that ran what the rule says there."""


def load_workload_trials(storage: Storage, workload: str) -> dict[int, tuple[Trial, ...]]:
    """All trials of the workload's search, by study."""
    found: dict[int, list[Trial]] = {}
    for row in _trials(storage, Filter((workload,), purposes=SEARCHES)):
        found.setdefault(row.study_id, []).append(trial_from_row(row))
    return {study: tuple(trials) for study, trials in found.items()}


def load_rule_runs(storage: Storage, workload: str) -> dict[tuple[str, int], tuple[Trial, ...]]:
    """The trials that followed a scaling rule (`batchfront confirm --rule`)."""
    found: dict[tuple[str, int], list[Trial]] = {}
    for row in _trials(storage, Filter((workload,), purposes=RULE_PURPOSES)):
        found.setdefault((row.purpose, row.batch_size), []).append(trial_from_row(row))
    return {key: tuple(trials) for key, trials in found.items()}


def _trials(storage: Storage, wanted: Filter) -> Iterator[Any]:
    query = (
        select(slots, studies.c.purpose, studies.c.batch_size)
        .select_from(slots.join(studies))
        .where(wanted.clause())
        .order_by(slots.c.study_id, slots.c.number)
    )
    with storage.read() as conn:
        yield from conn.execute(query)


def load_goal_curves(storage: Storage, frontier: Frontier) -> dict[int, GoalLooks]:
    """The measurements of the goal metric on the validation split, of the workload's search.

    A trial of ours stops as soon as it passes a goal, so that what it passed before it diverged
    counts. Trials that ran elsewhere were judged whole: of those that diverged or failed nothing
    counts, as in Shallue et al. 2018.
    """
    with storage.read() as conn:
        rows = conn.execute(_measured(frontier)).fetchall()
    if not rows:
        return {}
    # A missing value becomes NaN; no whole number is too large to be kept exactly.
    study, *columns = (np.array(column, float) for column in zip(*rows, strict=True))
    ids, starts = np.unique(study, return_index=True)
    parts = (np.split(column, starts[1:]) for column in columns)
    return {
        int(key): GoalLooks(numbers.astype(np.int64), steps.astype(np.int64), values)
        for key, numbers, steps, values in zip(ids, *parts, strict=True)
    }


def _measured(frontier: Frontier) -> Select[Any]:
    columns = (slots.c.study_id, slots.c.number, measurements.c.step, measurements.c.value)
    joined = measurements.join(slots, measurements.c.slot_id == slots.c.id).join(studies)
    return (
        select(*columns)
        .select_from(joined)
        .where(
            Filter((frontier.workload,), purposes=SEARCHES).clause(),
            measurements.c.split == "validation",
            measurements.c.metric == frontier.goal["metric"],
            or_(studies.c.spec != "", slots.c.outcome.not_in(("diverged", "failed"))),
        )
        .order_by(slots.c.study_id, slots.c.number, measurements.c.step)
    )
