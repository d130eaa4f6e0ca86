"""Where one trial runs, or has run."""

from dataclasses import dataclass

from sqlalchemy import select

from batchfront.errors import UsageError
from batchfront.store.schema import slots, workers
from batchfront.store.snapshot import Source, snapshot
from batchfront.study.study import Filter, Study, find_studies
from batchfront.vocabulary import SEARCHES, SlotState


@dataclass(frozen=True)
class Whereabouts:
    """One trial of a workload's search.

    has_begun -- whether a worker has ever started it
    host      -- of the worker that has it, or had it when it ended; None where that isn't known
    """

    study: Study
    number: int
    has_begun: bool
    is_done: bool
    host: str | None


def find_trial(source: Source, workload: str, batch_size: int, number: int) -> Whereabouts:
    """Find a trial of a workload that has studies.

    Raises UsageError, naming those there are, if it has none of this batch size or number.
    """
    with snapshot(source) as moment:
        studies = find_studies(moment, Filter((workload,), purposes=SEARCHES))
        study = next((one for one in studies if one.batch_size == batch_size), None)
        if study is None:
            there = ", ".join(str(one.batch_size) for one in studies)
            raise UsageError(
                f"--batch-size {batch_size}: {workload} has no study of it; there are: {there}"
            )
        held = slots.outerjoin(workers, workers.c.id == slots.c.worker_id)
        query = select(slots, workers.c.host).select_from(held)
        mine = query.where(slots.c.study_id == study.id).order_by(slots.c.number)
        rows = {row.number: row for row in moment.execute(mine)}
    if number not in rows:
        raise UsageError(f"--trial {number}: study {study.name} has trials 0 to {max(rows)}")
    row = rows[number]
    begun, done = row.trial_id is not None, row.state == SlotState.DONE
    return Whereabouts(study, number, begun, done, row.host)


def is_done(source: Source, trial: Whereabouts) -> bool:
    """Whether a trial has ended by now, or is gone."""
    mine = (slots.c.study_id == trial.study.id, slots.c.number == trial.number)
    with snapshot(source) as moment:
        state = moment.execute(select(slots.c.state).where(*mine)).scalar()
    return state in (None, SlotState.DONE)
