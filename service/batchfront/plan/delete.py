"""Studies taken out of a database: batchfront's rows and Optuna's, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, update

from batchfront.errors import BatchfrontError, UsageError
from batchfront.frontier.frontier import load_frontiers
from batchfront.frontier.queries import require
from batchfront.frontier.reruns import anchor
from batchfront.ledger.workers import cut_leases, has_lease
from batchfront.plan.forget import FoundOut, count_found_out, forget_found_out
from batchfront.store.database import Storage
from batchfront.store.migrations import database_name
from batchfront.store.optuna_tables import delete_study, is_tied
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
from batchfront.study.study import Filter, Stored, Study, Unreadable, find_named, load_studies
from batchfront.training.checkpoint_files import CheckpointFiles
from batchfront.training.kept_models import KeptModels, models_beside
from batchfront.training.programs.folder import TrialFolders
from batchfront.vocabulary import SEARCHES
from batchfront.workload.scaling_rules import RULES


@dataclass(frozen=True)
class Doomed:
    """What a deletion takes away.

    studies  -- those of the frontier, those that ran their trials again, and those of the workload
                that can't be read; or, of a name that one of these has, it alone
    anchored -- whether they hold the winner that rules are followed from
    trials   -- of all of them, done or not
    seconds  -- of training and evaluation that went into those that can be read
    found    -- the timings and probes that go with them
    """

    workload: str
    studies: tuple[Stored, ...]
    anchored: bool
    trials: int
    seconds: float
    found: FoundOut

    @property
    def searches(self) -> list[Study]:
        """Those of the frontier."""
        return [study for study in self._readable if study.purpose in SEARCHES]

    @property
    def reruns(self) -> list[Study]:
        """Those that ran trials again."""
        return [study for study in self._readable if study.purpose not in SEARCHES]

    @property
    def unreadable(self) -> list[Unreadable]:
        """Those that can't be read."""
        return [study for study in self.studies if isinstance(study, Unreadable)]

    @property
    def _readable(self) -> list[Study]:
        return [study for study in self.studies if isinstance(study, Study)]


def find_doomed(storage: Storage, name: str, batch_sizes: Sequence[int] | None = None) -> Doomed:
    """What deleting a workload's studies, of these batch sizes or all, takes away: with them goes
    what ran their trials again, and what followed a rule from them, at whatever batch size.

    name -- a workload's, or that of one study which can't be read

    Raises UsageError if there are none.
    """
    with storage.read() as conn:
        one = find_named(conn, name)
        if isinstance(one, Unreadable):
            return _doomed(conn, one.workload, [one])
        found = load_studies(conn, Filter((name,)))
        there: list[Stored] = [*found.readable, *found.unreadable]
        frontiers = load_frontiers(conn, (name,))
        if not there and (batch_sizes or not count_found_out(conn, name)):
            require(conn, (name,))
        _require_batch_sizes(name, there, batch_sizes or ())
        meant = [s for s in there if batch_sizes is None or s.batch_size in batch_sizes]
        first = anchor(frontiers[0]) if frontiers else None
        anchored = first is not None and first.study in meant
        if anchored:
            rules = (s for s in found.readable if s.purpose in RULES and s not in meant)
            meant += rules
        return _doomed(conn, name, meant, anchored=anchored)


def _doomed(
    conn: Connection, workload: str, meant: Sequence[Stored], *, anchored: bool = False
) -> Doomed:
    of_all = slots.c.study_id.in_([study.id for study in meant])
    trials = conn.execute(select(func.count()).where(of_all)).scalar_one()
    spent = [
        func.coalesce(func.sum(column), 0)
        for column in (slots.c.training_seconds, slots.c.evaluation_seconds)
    ]
    whole = slots.c.study_id.in_([study.id for study in meant if isinstance(study, Study)])
    seconds = sum(conn.execute(select(*spent).where(whole)).one())
    found = count_found_out(conn, workload, _sizes_left(conn, workload, meant))
    return Doomed(workload, tuple(meant), anchored, trials, float(seconds), found)


def _sizes_left(conn: Connection, workload: str, but_for: Sequence[Stored] = ()) -> list[int]:
    """The batch sizes of a workload that have a study of the frontier, but for some that go."""
    meant = Filter((workload,), purposes=SEARCHES)
    ids = [study.id for study in but_for]
    query = select(studies.c.batch_size).where(meant.stored(), studies.c.id.not_in(ids))
    return list(conn.execute(query).scalars())


def _require_batch_sizes(
    workload: str, there: Sequence[Stored], batch_sizes: Sequence[int]
) -> None:
    sizes = sorted({study.batch_size for study in there})
    for batch_size in batch_sizes:
        if batch_size not in sizes:
            raise UsageError(
                f"--batch-sizes {batch_size}: {workload} has no study of it; there are: "
                f"{', '.join(map(str, sizes))}"
            )


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
            # Another name could be that of a folder which holds others' trials.
            if study.name.startswith(f"{study.workload}/b{study.batch_size}"):
                folders.drop_study(study.name)


def _still_there(conn: Connection, doomed: Doomed) -> list[Stored]:
    """The studies of a deletion that nobody else has deleted, and those that were planned since to
    run their trials again: nothing would be left that they repeat."""
    now = [find_named(conn, study.name) for study in doomed.studies]
    named: list[Stored] = [
        one for one, study in zip(now, doomed.studies, strict=True) if one and one.id == study.id
    ]
    sizes = {study.batch_size for study in doomed.searches}
    ids = {study.id for study in named}
    since = (
        study
        for study in load_studies(conn, Filter((doomed.workload,))).readable
        if study.id not in ids
        and (
            (study.purpose not in SEARCHES and study.batch_size in sizes)
            or (study.purpose in RULES and doomed.anchored)
        )
    )
    return [*named, *since]


def _refuse_at_work(storage: Storage, conn: Connection, study: Stored) -> None:
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


def _delete(conn: Connection, study: Stored) -> None:
    """Delete a study with its slots and measurements, and with Optuna's study unless that is
    another's."""
    owned = is_tied(studies.c.id, studies.c.name)
    of_ours = conn.execute(select(owned).where(studies.c.id == study.id)).scalar_one()
    mine = select(slots.c.id).where(slots.c.study_id == study.id)
    conn.execute(delete(measurements).where(measurements.c.slot_id.in_(mine)))
    conn.execute(delete(slots).where(slots.c.study_id == study.id))
    conn.execute(delete(studies).where(studies.c.id == study.id))
    conn.execute(update(workers).where(workers.c.study_id == study.id).values(study_id=None))
    if of_ours:
        delete_study(conn, study.id)


def _forget(conn: Connection, doomed: Doomed) -> None:
    """Delete what was found out about a workload, at batch sizes without a study now."""
    sizes = _sizes_left(conn, doomed.workload)
    unused: ColumnElement[bool] = engines.c.batch_size.not_in(sizes)
    conn.execute(delete(engines).where(and_(engines.c.workload == doomed.workload, unused)))
    if not sizes:
        conn.execute(delete(pass_sizes).where(pass_sizes.c.workload == doomed.workload))
    forget_found_out(conn, doomed.workload, sizes)
