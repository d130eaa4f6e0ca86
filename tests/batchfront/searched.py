"""Searches of the toy workload, their trials ended by hand."""

from collections.abc import Mapping
from typing import Any

from batchfront.ledger.ledger import Ledger
from batchfront.outcomes import Ending
from batchfront.plan.options import Request
from batchfront.plan.plan import plan
from batchfront.store.schema import slots
from batchfront.store.url import Storage
from batchfront.study.study import Filter, Study, find_studies
from sqlalchemy import select

from tests.toy import SPEC, clouds

NAME = "clouds/mlp/momentum"


def reached(steps: int) -> Ending:
    return Ending("reached", "", steps, (), steps, steps - 1)


def planned(storage: Storage, **asked: Any) -> tuple[Study, ...]:
    return plan(storage, SPEC, clouds(), Request(**{"trials": 4, **asked})).studies


def end(storage: Storage, name: str, endings: Mapping[int, Ending]) -> None:
    """Trials of a study end so, by number; the others stay free."""
    ledger = Ledger(storage, f"ends-{name}")
    ledger.register("here", 1, "cpu")
    study = stored(storage, name)
    wanted = Filter((study.workload,), (study.batch_size,), purposes=(study.purpose,))
    claimed = ledger.claim(wanted, lambda _: 1000)
    assert claimed is not None
    ours = ledger.start(study, claimed[1], study.space, {})
    ended = [(slot, endings[slot.number]) for slot in ours if slot.number in endings]
    assert ledger.finish(study, ended) == []
    ledger.leave(in_order=True)


def stored(storage: Storage, name: str) -> Study:
    with storage.read() as conn:
        return next(s for s in find_studies(conn, Filter()) if s.name == name)


def slots_of(storage: Storage, name: str) -> list[Any]:
    query = select(slots).where(slots.c.study_id == stored(storage, name).id)
    with storage.read() as conn:
        return list(conn.execute(query.order_by(slots.c.number)))
