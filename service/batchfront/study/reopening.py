"""Trials begun again, as more of their study are to pass the goal, or to go on past it, than when
they ended.

A race with more finishers caps its trials later, and a trial's result depends on its
metaparameters and its seed alone. So those that were capped too early for the number there is now
run once more, and the study becomes what it would have been with that number from the start. What
has been sampled stays.
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from sqlalchemy import Connection, delete, or_, select, update

from batchfront.outcomes import cap
from batchfront.store.optuna_trials import look_at_trials, reopen_trials
from batchfront.store.schema import measurements, reached, slots, studies
from batchfront.study.generations import start_of
from batchfront.study.study import Study, read_study
from batchfront.vocabulary import Outcome, Schedule, SlotState

_AFRESH = {
    "state": SlotState.FREE,
    "worker_id": None,
    "attempts": 0,
    "deaths": 0,
    "failed_by": None,
    "failed_at": None,
    "steps": 0,
    "outcome": None,
    "reason": None,
    "training_seconds": None,
    "evaluation_seconds": None,
    "evaluated_examples": None,
    "micro_batch": None,
    "finished_at": None,
}
"""What an ended slot goes back to. Where the goal was passed stays: the trial counts as a finisher
while it goes on."""

REOPENED = (Outcome.REACHED, Outcome.CAPPED, Outcome.DROPPED)
"""Outcomes that more finishers might have put off; all others a trial comes to by itself."""


def reopen(conn: Connection, before: Study, study: Study) -> int:
    """Free those ended slots of a study that would have gone on with the finishers, and the trials
    continuing past the goal, that it has now.

    before -- the study with which they ended
    study  -- as it is stored

    Returns how many they were.
    """
    query = select(slots).where(slots.c.study_id == study.id)
    found = conn.execute(query.where(or_(reached, slots.c.outcome.in_(REOPENED)))).all()
    early = _capped(study, found) if before.finishers < study.finishers else []
    early += _stopped(study, found) if before.continuing < study.continuing else []
    ids = [row.id for row in early]
    conn.execute(delete(measurements).where(measurements.c.slot_id.in_(ids)))
    # Another may have freed one at the same time, and a worker claimed it since.
    ended = slots.c.id.in_(ids), slots.c.state == SlotState.DONE
    conn.execute(update(slots).where(*ended).values(_AFRESH))
    trials = [row.trial_id for row in early if row.trial_id is not None]
    reopen_trials(conn, look_at_trials(conn, study.id, study.name, trials))
    return len(ids)


def reopen_if_raised(conn: Connection, study: Study) -> None:
    """The same for whoever has just ended slots of a study as it was when they were claimed."""
    numbers = select(studies.c.finishers, studies.c.continuing).where(studies.c.id == study.id)
    # Shared with others who end slots, but not with whoever raises the numbers at this moment.
    now = conn.execute(numbers.with_for_update(read=True)).one()
    if tuple(now) != (study.finishers, study.continuing):
        reopen(conn, study, read_study(conn, study.id))


def _capped(study: Study, found: Sequence[Any]) -> list[Any]:
    """Those that were capped, or dropped on the way there, before as many had passed the goal."""
    passed = [row.steps_to_target for row in found if row.steps_to_target is not None]
    limit = cap(passed, study.finishers) or inf
    early = (Outcome.CAPPED, Outcome.DROPPED)
    return [row for row in found if row.outcome in early and row.steps < limit]


def _stopped(study: Study, found: Sequence[Any]) -> list[Any]:
    """Those that stopped at the goal, and are among the first to pass it, which go on."""
    passed = [row for row in found if row.steps_to_target is not None]
    first = sorted(passed, key=_time_of(study))[: study.continuing]
    budget = study.identity["step_budget"]
    stopped = [row for row in first if row.outcome == Outcome.REACHED and row.steps < budget]
    return [row for row in stopped if row.steps == row.steps_to_target]


def _time_of(study: Study) -> Callable[[Any], Any]:
    """When a trial passed the goal, by what orders them: races by steps, a generation, a round, or
    a trial one by one, after the other."""
    if study.schedule == Schedule.ONE_BY_ONE:
        return lambda row: row.number
    if study.in_rounds:
        return lambda row: (row.round, row.steps_to_target, row.number)
    if study.generation:
        return lambda row: (start_of(study, row.number), row.steps_to_target, row.number)
    return lambda row: (row.steps_to_target, row.number)
