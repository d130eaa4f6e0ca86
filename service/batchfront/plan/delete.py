"""Studies taken out of a database: batchfront's rows and Optuna's, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, update

from batchfront.errors import BatchfrontError
from batchfront.frontier.frontier import load_frontier, require_batch_sizes
from batchfront.frontier.reruns import anchor
from batchfront.ledger.workers import cut_leases, has_lease
from batchfront.store.database import Storage
from batchfront.store.migrations import database_name
from batchfront.store.optuna_tables import delete_study
from batchfront.store.schema import (
    engines,
    leased,
    measurements,
    pass_sizes,
    slots,
    studies,
    workers,
)
from batchfront.study.create import wait_for_planners
from batchfront.study.study import Filter, Study, find_studies
from batchfront.training.checkpoint_files import CheckpointFiles
from batchfront.training.kept_models import KeptModels, models_beside
from batchfront.training.programs.folder import TrialFolders
from batchfront.vocabulary import SEARCHES
from batchfront.workload.lr_scaling import RULES


@dataclass(frozen=True)
class Doomed:
    """What a deletion takes away.

    studies  -- those of the frontier, and those that ran their trials again
    anchored -- whether they hold the winner that rules are followed from
    trials   -- of all of them, done or not
    seconds  -- of training and evaluation that went into them
    """

    workload: str
    studies: tuple[Study, ...]
    anchored: bool
    trials: int
    seconds: float

    @property
    def searches(self) -> list[Study]:
        """Those of the frontier."""
        return [study for study in self.studies if study.purpose in SEARCHES]


def find_doomed(
    storage: Storage, workload: str, batch_sizes: Sequence[int] | None = None
) -> Doomed:
    """What deleting a workload's studies, of these batch sizes or all, takes away: with them goes
    what ran their trials again, and what followed a rule from them, at whatever batch size.

    Raises UsageError if there are none.
    """
    frontier = load_frontier(storage, workload)
    require_batch_sizes(frontier, batch_sizes or ())
    first = anchor(frontier)
    with storage.read() as conn:
        there = find_studies(conn, Filter((workload,)))
        found = [s for s in there if batch_sizes is None or s.batch_size in batch_sizes]
        anchored = first is not None and first.study in found
        if anchored:
            found += [s for s in there if s.purpose in RULES and s not in found]
        spent = func.coalesce(slots.c.training_seconds, 0) + func.coalesce(
            slots.c.evaluation_seconds, 0
        )
        query = select(func.count(), func.coalesce(func.sum(spent), 0))
        ids = [study.id for study in found]
        trials, seconds = conn.execute(query.where(slots.c.study_id.in_(ids))).one()
    return Doomed(workload, tuple(found), anchored, trials, float(seconds))


def delete_doomed(
    storage: Storage,
    doomed: Doomed,
    checkpoints: str | None = None,
    trials: str | Path | None = None,
) -> None:
    """Delete studies, whole or not at all, and what is kept of their trials in files.

    checkpoints -- where checkpoints are, and winners' weights if not beside an SQLite database
    trials      -- where the folders of programs' trials are, with their logs

    Raises BatchfrontError, naming them, while workers are at them. A worker that was given up for
    dead, and comes back, finds that it has lost its trials.
    """
    with storage.write() as conn:  # also when it is refused: from now on leases run out in time
        cut_leases(conn, storage.now)
    with storage.write() as conn:
        wait_for_planners(conn)
        found = _still_there(conn, doomed)
        for study in found:
            _refuse_at_work(storage, conn, study)
        for study in found:
            _delete(conn, study)
        _forget(conn, doomed)
    if checkpoints is not None:
        kept = CheckpointFiles(checkpoints, database_name(storage))
        for study in found:
            kept.drop_study(study.id)
    if (models := models_beside(storage.url, checkpoints)) is not None:
        weights = KeptModels(models, database_name(storage))
        for study in found:
            weights.drop_study(study.id)
    if trials is not None:
        folders = TrialFolders(trials, database_name(storage))
        for study in found:
            folders.drop_study(study.name)


def _still_there(conn: Connection, doomed: Doomed) -> list[Study]:
    """The studies of a deletion that nobody else has deleted, and those that were planned since to
    run their trials again: nothing would be left that they repeat."""
    named = {(study.id, study.name) for study in doomed.studies}
    sizes = {study.batch_size for study in doomed.searches}
    return [
        study
        for study in find_studies(conn, Filter((doomed.workload,)))
        if (study.id, study.name) in named
        or (study.purpose not in SEARCHES and study.batch_size in sizes)
        or (study.purpose in RULES and doomed.anchored)
    ]


def _refuse_at_work(storage: Storage, conn: Connection, study: Study) -> None:
    """Raise BatchfrontError if live workers hold slots of a study; nobody claims any now."""
    mine = slots.c.study_id == study.id
    conn.execute(select(slots.c.id).where(mine).order_by(slots.c.id).with_for_update())
    holders = select(slots.c.worker_id).where(mine, leased)
    alive = workers.c.id.in_(holders), has_lease(storage.now)
    found = conn.execute(select(workers).where(*alive).order_by(workers.c.host, workers.c.pid))
    named = ", ".join(f"{row.id[:8]} (process {row.pid} on {row.host})" for row in found)
    if named:
        raise BatchfrontError(
            f"study {study.name} can't be deleted while workers are at it: {named}; stop them "
            "first (Ctrl-C, or SIGTERM, makes them release their trials). One that has died is "
            "forgotten when its lease runs out, within half a minute"
        )


def _delete(conn: Connection, study: Study) -> None:
    mine = select(slots.c.id).where(slots.c.study_id == study.id)
    conn.execute(delete(measurements).where(measurements.c.slot_id.in_(mine)))
    conn.execute(delete(slots).where(slots.c.study_id == study.id))
    conn.execute(delete(studies).where(studies.c.id == study.id))
    conn.execute(update(workers).where(workers.c.study_id == study.id).values(study_id=None))
    delete_study(conn, study.id)


def _forget(conn: Connection, doomed: Doomed) -> None:
    """Delete what workers have found out about a workload, at batch sizes without a study now."""
    there = find_studies(conn, Filter((doomed.workload,), purposes=SEARCHES))
    sizes = [study.batch_size for study in there]
    unused: ColumnElement[bool] = engines.c.batch_size.not_in(sizes)
    conn.execute(delete(engines).where(and_(engines.c.workload == doomed.workload, unused)))
    if not there:
        conn.execute(delete(pass_sizes).where(pass_sizes.c.workload == doomed.workload))
