"""A study's slots: the units of its trial budget, as they are added and as they are claimed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select

from batchfront.store.optuna_tables import lock_study
from batchfront.store.schema import slots
from batchfront.study.generations import open_next
from batchfront.study.points import FEASIBLE_LIMIT, sample_points
from batchfront.study.study import Study, read_study
from batchfront.vocabulary import SlotState
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
) -> None:
    """Append slots numbered from `first`.

    params  -- of each; None is left to whoever starts it
    repeats -- the number of the search's trial that they run again
    """
    rows = [
        {
            "study_id": study_id,
            "number": number,
            "state": state,
            "params": None if sampled is None else json.dumps(dict(sampled)),
            "repeats": repeats,
        }
        for number, sampled in enumerate(params, first)
    ]
    if rows:
        conn.execute(insert(slots), rows)


def fill(conn: Connection, study: Study, total: int) -> int:
    """Append slots until the study has `total`. Returns how many were added."""
    lock_study(conn, study.id)
    first = count_slots(conn, study.id)
    count = max(total - first, 0)
    if count:
        state = SlotState.LATER if study.generation else SlotState.FREE
        add_slots(conn, study.id, first, sample_points(study, first, count), state=state)
    open_next(conn, study)
    return count


def replace_diverged(conn: Connection, study: Study, diverged: int) -> int:
    """Append a slot for each diverged one, up to the limit. Returns how many were added.

    The study may be as it was when its slots were claimed: it counts as it is now.
    """
    if not diverged:
        return 0
    lock_study(conn, study.id)
    now = read_study(conn, study.id)
    slots = count_slots(conn, study.id)
    return fill(conn, now, min(slots + diverged, FEASIBLE_LIMIT * now.trials))
