"""Trials that race some at a time: a generation of them, each up to the best of those before it.

The slots of such a study wait (`later`) but for the first generation's; when the last of a
generation has ended, the next is free. So what a sampler that learns from results samples for a
slot depends on the study and on the number of the slot (see `batchfront.study.adaptive_sampler`),
not on how many workers there are or which of them was the faster, as it does where trials run one
by one.
"""

from sqlalchemy import Connection, func, select, update

from batchfront.store.optuna_tables import lock_study
from batchfront.store.schema import slots
from batchfront.study.rounds import open_round
from batchfront.study.study import Study, read_study
from batchfront.vocabulary import SlotState


def start_of(study: Study, number: int) -> int:
    """The first slot of the generation that a slot belongs to. Those that came with a wider search
    space begin one."""
    return number - (number - start_of_space(study, number)) % study.generation


def start_of_space(study: Study, number: int) -> int:
    """The first slot of those that came with the same search space as a slot."""
    return max(first for first in (0, *_widened(study)) if first <= number)


def end_of(study: Study, number: int) -> int:
    """The slot after the last of the generation that a slot belongs to."""
    later = [first for first in _widened(study) if first > number]
    return min([start_of(study, number) + study.generation, *later])


def _widened(study: Study) -> list[int]:
    return [int(extension["first"]) for extension in study.extensions]


def open_next(conn: Connection, study: Study) -> None:
    """Free the slots of the earliest generation that isn't over, if the study has generations; or
    what can be claimed of the earliest round of its search.

    Whoever ends slots, or adds some, calls it in the same transaction: while slots wait, there are
    always some to wait for.
    """
    if not study.generation:
        return
    if study.in_rounds:
        open_round(conn, study.workload)
        return
    # Of two that end a generation's last slots at once, the second has to see what the first did.
    lock_study(conn, study.id)
    now = read_study(conn, study.id)
    of_study = slots.c.study_id == study.id
    undone = select(func.min(slots.c.number)).where(of_study, slots.c.state != SlotState.DONE)
    first = conn.execute(undone).scalar_one()
    if first is not None:
        waiting = (of_study, slots.c.state == SlotState.LATER, slots.c.number < end_of(now, first))
        conn.execute(update(slots).where(*waiting).values(state=SlotState.FREE))
