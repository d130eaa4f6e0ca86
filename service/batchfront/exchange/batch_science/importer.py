"""The public archive of Shallue et al. 2018 into a database, study by study.

A study is one transaction, so that it is there whole or not at all: whoever was interrupted starts
again, and goes on with the first that is missing. Of a study, no more is held at once than its
trials' metadata and the measurements of a few of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, select

from batchfront.errors import DataError, IdentityError
from batchfront.exchange.batch_science import archive
from batchfront.exchange.batch_science.archive import (
    NOTHING,
    Measurements,
    finished_trial,
    read_measurements,
)
from batchfront.exchange.batch_science.goals import GoalError, GoalOf, goal_of
from batchfront.exchange.finished_trials import imported_study, write_finished
from batchfront.store.bulk import load_columns
from batchfront.store.commands import command
from batchfront.store.database import Storage
from batchfront.store.optuna_tables import Searched
from batchfront.store.schema import measurements
from batchfront.study.create import add_study
from batchfront.study.identity import differences
from batchfront.study.study import Definition, Filter, Study, find_studies
from batchfront.vocabulary import Count, Sampler, Schedule
from batchfront.workload.search_space import describe_space

_BATCH = 100_000  # measurements to hold at once, or those of one trial

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Imported:
    """What became of one study: `trials` were imported, or none as it was there, or `error`.

    warning -- what is missing from it, if anything is
    """

    folder: archive.Folder
    goal: GoalOf | None = None
    trials: int = 0
    measurements: int = 0
    error: str | None = None
    warning: str | None = None


def import_archive(
    storage: Storage,
    folders: Iterable[archive.Folder],
    goals: Sequence[GoalOf],
    advance: Advance,
) -> Iterator[Imported]:
    """Import studies one by one, and say what became of each.

    goals   -- those of the user's own, which go before the known ones
    advance -- is called with how many more trials have been written

    A damaged study is left out whole, and does not keep the others from being imported. Of a trial
    that did not complete, whose measurements decide nothing, only these are left out. Raises
    IdentityError, before it writes, for a study that is there under another definition.
    """
    for folder in folders:
        try:
            yield _import(storage, folder, goals, advance)
        except (DataError, GoalError) as error:
            yield Imported(folder, error=str(error))


def _import(
    storage: Storage, folder: archive.Folder, goals: Sequence[GoalOf], advance: Advance
) -> Imported:
    study = archive.read_study(folder)
    goal = goal_of(study.workload, study.archive_name, goals)
    draft = _draft(study, goal)
    if _is_there(storage, draft):
        return Imported(folder, goal)
    with storage.write() as conn:
        stored = add_study(storage, conn, draft)
        unread: list[DataError] = []
        written = _write_trials(storage, conn, stored, study, goal, advance, unread)
    return Imported(folder, goal, len(study.trials), written, warning=_warning(stored, unread))


def _warning(stored: Study, unread: Sequence[DataError]) -> str | None:
    if not unread:
        return None
    one = len(unread) == 1
    trials = f"{len(unread)} trial{'' if one else 's'} that did not complete"
    return (
        f"{stored.name}: {trials} {'is' if one else 'are'} there without "
        f"{'its' if one else 'their'} measurements: {unread[0]}{'' if one else ', and others'}"
    )


def _is_there(storage: Storage, draft: Definition) -> bool:
    with storage.read() as conn:
        there = find_studies(conn, Filter((draft.workload,)))
    for stored in there:
        if stored.spec:
            changed = ["it was planned, and runs, here"]
        elif stored.name == draft.name:
            changed = differences(stored.identity, draft.identity)
        else:
            changed = differences(stored.identity["goal"], draft.identity["goal"])
        if changed:
            raise IdentityError(
                f"study {stored.name} exists under another definition: {'; '.join(changed)}. "
                "Undo the change, or import into another --storage, or delete what is here: "
                f"{command(storage, 'delete', stored.workload)}"
            )
    return any(stored.name == draft.name for stored in there)


def _draft(study: archive.Study, goal: GoalOf) -> Definition:
    """The study as `bf_studies` keeps it, before it has an id."""
    search = {"seed": 0, "sampler": Sampler.IMPORTED, "schedule": Schedule.IMPORTED}
    identity = {
        "workload": study.workload,
        "batch_size": study.batch_size,
        "goal": goal.described(),
        "algorithm": {"name": study.optimizer},
        "search_space": describe_space(study.space),
        "step_budget": study.step_budget,
        "data": {"name": study.dataset},
        "model": {"name": study.model},
        "search": {**search, "count": Count.ALL},
        "source": {"archive": "batch-science", "goal": goal.origin},
    }
    return imported_study(identity, trials=len(study.trials))


def _write_trials(
    storage: Storage,
    conn: Connection,
    stored: Study,
    study: archive.Study,
    goal: GoalOf,
    advance: Advance,
    unread: list[DataError],
) -> int:
    """Write a study's trials, a batch at a time. Returns how many measurements they had.

    unread -- is given what is wrong with measurements that are left out
    """
    searched, written = Searched(study.space), 0
    at = float(conn.execute(select(storage.now)).scalar_one())
    for batch in _batches(study.trials, unread):
        finished = [finished_trial(trial, measured, goal) for trial, measured in batch]
        ids = write_finished(conn, stored, searched, finished, at)
        columns = _columns(ids, [measured for _, measured in batch])
        load_columns(conn, measurements, columns)
        written += len(columns["step"])
        advance(len(batch))
    return written


def _batches(
    trials: Sequence[archive.Trial], unread: list[DataError]
) -> Iterator[list[tuple[archive.Trial, Measurements]]]:
    batch: list[tuple[archive.Trial, Measurements]] = []
    held = 0
    for trial in trials:
        try:
            measured = read_measurements(trial.folder / "measurements.csv")
        except DataError as error:
            if trial.status == "COMPLETE":
                raise
            unread.append(error)
            measured = NOTHING
        batch.append((trial, measured))
        held += measured.values.size
        if held >= _BATCH:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _columns(slot_ids: Sequence[int], each: Sequence[Measurements]) -> dict[str, Any]:
    """The measurements of several slots as columns of `bf_measurements`, in its primary key's
    order."""
    texts = [np.tile(np.array(m.names, object).reshape(-1, 2), (len(m.steps), 1)) for m in each]
    split, metric = np.concatenate(texts).T
    values = np.concatenate([measured.values.ravel() for measured in each])
    return {
        "slot_id": np.repeat(slot_ids, [measured.values.size for measured in each]),
        "step": np.concatenate([np.repeat(m.steps, len(m.names)) for m in each]),
        "split": split,
        "metric": metric,
        "value": np.where(np.isfinite(values), values, np.nan),
    }
