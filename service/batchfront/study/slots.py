"""batchfront.study.slots"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select

from batchfront.store.optuna_tables import lock_study
from batchfront.store.schema import slots
from batchfront.study.generations import open_next
from batchfront.study.points import FEASIBLE_LIMIT, draw_points
from batchfront.study.study import Study, read_study
from batchfront.workload.search_space import Value


@dataclass(frozen=True)
class Slot:
    """A claimed slot. `params` is None until it is drawn, where that is only when it is started,
    and `origin` says where they came from then; `trial_id` is None until the slot has been started
    once; `steps` is how far a checkpoint may have brought it, `deaths` how
    many workers have died with it since; `steps_to_target` is set of one that has passed the goal,
    and goes on."""

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
    draws: Sequence[Mapping[str, Value] | None],
    repeats: int | None = None,
    state: str = "free",
) -> None:
    """Append slots numbered from `first`; a draw of None is left to whoever starts it.

    repeats -- the number of the search's trial that they run again
    """
    rows = [
        {
            "study_id": study_id,
            "number": number,
            "state": state,
            "params": None if draw is None else json.dumps(dict(draw)),
            "repeats": repeats,
        }
        for number, draw in enumerate(draws, first)
    ]
    if rows:
        conn.execute(insert(slots), rows)


def fill(conn: Connection, study: Study, total: int) -> int:
    """Append slots until the study has `total`; how many were added."""
    lock_study(conn, study.id)
    first = count_slots(conn, study.id)
    count = max(total - first, 0)
    if count:
        state = "later" if study.generation else "free"
        add_slots(conn, study.id, first, draw_points(study, first, count), state=state)
    open_next(conn, study)
    return count


def replace_diverged(conn: Connection, study: Study, diverged: int) -> int:
    """Append a slot for each diverged one, up to the limit; how many were added.

    The study may be as it was when its slots were claimed: it counts as it is now.
    """
    if not diverged:
        return 0
    lock_study(conn, study.id)
    now = read_study(conn, study.id)
    slots = count_slots(conn, study.id)
    return fill(conn, now, min(slots + diverged, FEASIBLE_LIMIT * now.trials))
