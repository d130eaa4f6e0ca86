"""A study's slots: the units of its trial budget, as they are added and as they are claimed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count, repeat
from math import inf

from sqlalchemy import Connection, func, insert, select

from batchfront.store.optuna_tables import lock_study
from batchfront.store.schema import slots
from batchfront.study.generations import open_next
from batchfront.study.points import FEASIBLE_LIMIT, sample_points
from batchfront.study.rounds import lock_search, rounds_of_more
from batchfront.study.shown import caps
from batchfront.study.study import Study, read_study
from batchfront.vocabulary import Count, Outcome, SlotState
from batchfront.workload.search_space import Value


@dataclass(frozen=True)
class Slot:
    """A claimed slot.

    fence    -- grows with every claim: whoever writes about the slot has to know it
    attempts -- claims that ended in an error, and the one under way
    steps    -- how far a checkpoint may have brought it
    params   -- None until they are sampled, where that is only when the slot is started
    trial_id -- Optuna's; None until the slot has been started once
    deaths   -- workers that have died with it since it last got on
    steps_to_target -- of one that has passed the goal, and goes on
    origin   -- where the params come from, if from a neighbour in batch size
    """

    id: int
    study_id: int
    number: int
    fence: int
    attempts: int
    steps: int
    params: Mapping[str, Value] | None
    trial_id: int | None
    deaths: int = 0
    steps_to_target: int | None = None
    origin: str | None = None


def count_slots(conn: Connection, study_id: int) -> int:
    """How many slots a study has, done or not."""
    query = select(func.count()).where(slots.c.study_id == study_id)
    return int(conn.execute(query).scalar_one())


def add_slots(
    conn: Connection,
    study_id: int,
    first: int,
    params: Sequence[Mapping[str, Value] | None],
    repeats: int | None = None,
    state: SlotState = SlotState.FREE,
    rounds: Sequence[int] | None = None,
) -> None:
    """Append slots numbered from `first`.

    params  -- of each; None is left to whoever starts it
    repeats -- the number of the search's trial that they run again
    rounds  -- of each, of a study in rounds
    """
    rows = [
        {
            "study_id": study_id,
            "number": number,
            "state": state,
            "params": None if sampled is None else json.dumps(dict(sampled)),
            "repeats": repeats,
            "round": own,
        }
        for number, sampled, own in zip(
            count(first), params, rounds or repeat(None, len(params)), strict=False
        )
    ]
    if rows:
        conn.execute(insert(slots), rows)


def fill(conn: Connection, study: Study, total: int) -> int:
    """Append slots until the study has `total`. Returns how many were added."""
    if study.in_rounds:
        lock_search(conn, study.workload)
    lock_study(conn, study.id)
    first = count_slots(conn, study.id)
    more = max(total - first, 0)
    if more:
        state = SlotState.LATER if study.generation else SlotState.FREE
        points = sample_points(study, first, more)
        rounds = rounds_of_more(conn, study, more) if study.in_rounds else None
        add_slots(conn, study.id, first, points, state=state, rounds=rounds)
    open_next(conn, study)
    return more


def go_on(conn: Connection, study: Study, diverged: int = 0) -> None:
    """Have what waited for results be free, and with `count` "feasible" diverged trials replaced,
    up to the limit. Whoever ends slots of a study calls it in the same transaction.

    diverged -- how many of them have

    The study may be as it was when its slots were claimed: it counts as it is now.
    """
    open_next(conn, study)
    if study.count == Count.FEASIBLE and (diverged or study.in_rounds):
        lock_study(conn, study.id)
        now = read_study(conn, study.id)
        total = now.trials + _diverged(conn, now) if now.in_rounds else None
        fill(conn, now, within_limit(now, total or count_slots(conn, study.id) + diverged))


def within_limit(study: Study, total: int) -> int:
    """So many slots, or as many as the study may have in all."""
    return min(total, FEASIBLE_LIMIT * study.trials)


def _diverged(conn: Connection, study: Study) -> int:
    """How many trials of a study in rounds have diverged, in those of which all of its trials are
    done, and would have with one worker alone, which caps them all in time."""
    columns = (slots.c.round, slots.c.outcome, slots.c.steps, slots.c.steps_to_target)
    found = conn.execute(select(*columns).where(slots.c.study_id == study.id)).all()
    limits = caps(study, ((row.round, row.steps_to_target) for row in found))
    open_ones = min((row.round for row in found if row.outcome is None), default=inf)
    diverged = (r for r in found if r.outcome == Outcome.DIVERGED and r.round < open_ones)
    return sum(row.steps <= (limits[row.round] or inf) for row in diverged)
