"""Queries for what makes a frontier: the best trials of all studies at once, and what became of the
others. `first` counts, of every search, only so many complete trials; see `load_frontiers`."""

from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, or_, select

from service.schema import reached, slots, studies
from service.slots import SEARCHES, Filter


def _of(wanted: Filter, first: int | None, *columns: Any) -> Select[Any]:
    """These columns of the slots that count."""
    meant = select(*columns).select_from(slots.join(studies)).where(wanted.clause())
    if first is None:
        return meant
    complete = slots.c.outcome.not_in(("diverged", "failed"))  # of an open one it is NULL
    place = func.row_number().over(partition_by=slots.c.study_id, order_by=slots.c.number)
    placed = select(slots.c.id, place.label("place")).select_from(slots.join(studies))
    placed_all = placed.where(wanted.clause(), complete).subquery()
    counted = select(placed_all.c.id).where(placed_all.c.place <= first)
    return meant.where(or_(studies.c.purpose == "points", slots.c.id.in_(counted)))


def select_winners(wanted: Filter, first: int | None) -> Select[Any]:
    """The slots of the best trials: in their study's order of steps the first, or the middle one
    of all, those that have not reached the goal coming last."""
    order = [slots.c.steps_to_target, slots.c.number]
    place = func.row_number().over(partition_by=slots.c.study_id, order_by=order)
    others = slots.alias()
    all_ = select(func.count()).where(others.c.study_id == studies.c.id).scalar_subquery()
    wins: ColumnElement[int] = case((studies.c.purpose == "points", (all_ + 1) // 2), else_=1)
    ranked = _of(wanted, first, slots.c.id, place.label("place"), wins.label("wins")).where(reached)
    ranks = ranked.subquery()
    return select(slots).join(ranks, ranks.c.id == slots.c.id).where(ranks.c.place == ranks.c.wins)


def select_outcomes(wanted: Filter, first: int | None) -> Select[Any]:
    """How many trials of a study ended so, on these versions: all that needs a look at each."""
    kinds = (slots.c.study_id, slots.c.outcome, slots.c.versions)
    return _of(wanted, first, *kinds, func.count()).group_by(*kinds)


def select_reruns(wanted: Filter) -> Select[Any]:
    """Workload, batch size and versions of what ran trials of these searches again."""
    columns = (studies.c.workload, studies.c.batch_size, slots.c.versions)
    meant = select(*columns).distinct().select_from(slots.join(studies))
    again = (studies.c.purpose.not_in(SEARCHES), slots.c.versions.is_not(None))
    return meant.where(replace(wanted, purposes=()).clause(), *again)


def select_finishers(wanted: Filter, first: int | None) -> Select[Any]:
    """Study, number, steps and the look before of all trials that reached the goal, best first."""
    columns = (slots.c.study_id, slots.c.number, slots.c.steps_to_target, slots.c.steps_lower)
    found = _of(wanted, first, *columns).where(reached)
    return found.order_by(slots.c.study_id, slots.c.steps_to_target, slots.c.number)
