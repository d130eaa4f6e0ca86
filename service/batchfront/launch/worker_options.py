"""What the workers of a launch are told, wherever they run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import URL

from batchfront.options import BATCH_SIZES, arguments
from batchfront.study.study import Filter
from batchfront.worker.options import WorkerOptions


@dataclass(frozen=True)
class Order:
    """What every worker of a launch is told.

    storage  -- the database; None where the workers learn it otherwise
    wanted   -- the studies that they work on
    data_dir -- where data sets are; None: where each worker's environment says
    """

    storage: URL | None = None
    wanted: Filter = field(default_factory=Filter)
    worker: WorkerOptions = field(default_factory=WorkerOptions)
    data_dir: str | None = None

    def arguments(self, *more: str) -> list[str]:
        """What follows `batchfront work`; `more` are options that a launcher adds."""
        told = [*arguments(self.worker), "--quiet", *more]
        if self.wanted.batch_sizes:
            told += ["--batch-sizes", BATCH_SIZES.text(self.wanted.batch_sizes)]
        if self.wanted.purposes:
            told += ["--purposes", ",".join(self.wanted.purposes)]
        return [*told, "--", *self.wanted.workloads]

    def environment(self) -> dict[str, str]:
        """What a worker finds in its environment.

        The storage's URL is here and not in the arguments: it may hold a password, and whoever
        may list a machine's processes or a scheduler's jobs sees their arguments.
        """
        told = {}
        if self.storage is not None:
            told["BATCHFRONT_STORAGE"] = self.storage.render_as_string(hide_password=False)
        if self.data_dir is not None:
            told["BATCHFRONT_DATA_DIR"] = self.data_dir
        return told

    def __reduce__(self) -> str:
        raise TypeError("an Order may hold a password, which a pickle would write down")


@contextmanager
def in_environment(told: dict[str, str]) -> Iterator[None]:
    """Set these environment variables while the block runs."""
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
