"""Trials of an adaptive sampler that race: a generation at a time, each drawn from those before it.

A sampler needs results to draw from, and trials that race end together. So the slots of such a
study wait (`later`) but for the first generation's; when the last of a generation has ended, the
next is free. What a slot's draw depends on is then the study and the number of the slot, not how
many workers there are or which of them was the faster, as it is where trials run one by one.
"""

from sqlalchemy import Connection, func, select, update

from service.optuna_tables import lock_study
from service.schema import slots
from service.slots import Study

GENERATION = 8
"""Trials of a generation unless told otherwise: few enough that a sampler learns early, and enough
that what computes them as one gains by it."""


def start_of(study: Study, number: int) -> int:
    """The first slot of the generation that a slot belongs to."""
    return number - number % study.generation


def open_next(conn: Connection, study: Study) -> None:
    """Free the slots of the earliest generation that isn't over, if the study has generations.

    Whoever ends slots, or adds some, calls it in the same transaction: while slots wait, there are
    always some to wait for.
    """
    if not study.generation:
        return
    # Of two that end a generation's last slots at once, the second has to see what the first did.
    lock_study(conn, study.id)
    of_study = slots.c.study_id == study.id
    undone = select(func.min(slots.c.number)).where(of_study, slots.c.state != "done")
    first = conn.execute(undone).scalar_one()
    if first is not None:
        end = start_of(study, first) + study.generation
        waiting = (of_study, slots.c.state == "later", slots.c.number < end)
        conn.execute(update(slots).where(*waiting).values(state="free"))
