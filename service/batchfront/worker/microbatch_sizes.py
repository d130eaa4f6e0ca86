"""How many examples go through a workload's model at once, remembered in the database.

What the first worker of a kind of device has estimated, or learnt by running out of memory, the
others begin with, and later runs too: so all of them cut batches in the same way.
"""

from typing import Any

import torch
from sqlalchemy import Connection, insert, or_, select, update

from batchfront.store.database import Storage
from batchfront.store.retry import Tries
from batchfront.store.schema import pass_sizes
from batchfront.training.devices import kind, room_for_pass
from batchfront.training.memory import MicroBatchSize, MicroBatchSizes
from batchfront.workload.workload import Workload

_SIZES = ("training", "evaluation")


class KnownMicroBatchSizes:
    """The sizes of one worker's kind of device.

    sharing -- how many workers share it
    """

    def __init__(
        self, storage: Storage, tries: Tries, device: torch.device, sharing: int = 1
    ) -> None:
        self._storage, self._tries = storage, tries
        self._device, self._sharing = device, sharing
        self._kind = kind(device, sharing)
        self._known: dict[str, tuple[int | None, int | None]] = {}  # by workload, as written

    def recall(self, workload: Workload) -> MicroBatchSizes:
        """The sizes that are remembered, or else the room from which to estimate them."""
        key = self._key(workload)
        row = self._tries(lambda: self._read(key))
        if row is None:
            micro_batches = MicroBatchSizes(room=room_for_pass(self._device, self._sharing))
        else:
            micro_batches = MicroBatchSizes(MicroBatchSize(row[0]), MicroBatchSize(row[1]))
        self._known[workload.name] = micro_batches.limits
        return micro_batches

    def keep(self, workload: Workload, micro_batches: MicroBatchSizes) -> None:
        """Write what is new, unless somebody has found less room meanwhile."""
        limits = micro_batches.limits
        if self._known.get(workload.name) != limits:
            key = self._key(workload)
            self._tries(lambda: self._write(key, dict(zip(_SIZES, limits, strict=True))))
            self._known[workload.name] = limits

    def _key(self, workload: Workload) -> dict[str, str]:
        """With another goal they are the same."""
        precision = workload.execution.precision
        return {"workload": workload.name, "precision": precision, "device": self._kind}

    def _read(self, key: dict[str, str]) -> tuple[int | None, int | None] | None:
        with self._storage.read() as conn:
            row = conn.execute(select(pass_sizes).filter_by(**key)).first()
        return None if row is None else (row.training, row.evaluation)

    def _write(self, key: dict[str, str], found: dict[str, int | None]) -> None:
        with self._storage.write() as conn:
            if conn.dialect.name == "postgresql":  # two workers may find the first at once
                conn.exec_driver_sql("LOCK TABLE bf_pass_sizes IN SHARE ROW EXCLUSIVE MODE")
            if conn.execute(select(pass_sizes.c.workload).filter_by(**key)).first() is None:
                conn.execute(insert(pass_sizes).values(**key, **found))
            else:
                _lower(conn, key, found)


def _lower(conn: Connection, key: dict[str, Any], found: dict[str, int | None]) -> None:
    for name, limit in found.items():
        column = pass_sizes.c[name]
        if limit is not None:
            more = or_(column.is_(None), column > limit)
            changed = update(pass_sizes).filter_by(**key).where(more)
            conn.execute(changed.values({name: limit}))
