"""What the workers of a launch are told, wherever they run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import URL

from batchfront.study.study import Filter


@dataclass(frozen=True)
class Order:
    """What every worker of a launch is told.

    storage     -- the database; None where the workers learn it otherwise
    checkpoints -- a folder that all of them reach, or an fsspec URL
    data_dir    -- where data sets are; None: where each worker's environment says
    max_time    -- seconds until a worker stops by itself
    forever     -- whether a worker waits for new studies when nothing is left to do
    max_outage  -- seconds for which a worker waits for a database that is away
    devices_per_trial -- how many compute each trial together: `device` and those after it
    engine      -- what computes heats: auto, sequential or vectorized
    """

    storage: URL | None = None
    wanted: Filter = field(default_factory=Filter)
    device: str = "auto"
    checkpoints: str | None = None
    data_dir: str | None = None
    max_time: float | None = None
    forever: bool = False
    max_outage: float | None = None
    devices_per_trial: int = 1
    engine: str = "auto"

    def arguments(self, *more: str) -> list[str]:
        """What follows `batchfront work`; `more` are options that a launcher adds."""
        told = ["--device", self.device, "--quiet", *more]
        if self.devices_per_trial != 1:
            told += ["--devices-per-trial", str(self.devices_per_trial)]
        if self.wanted.batch_sizes:
            told += ["--batch-sizes", ",".join(map(str, self.wanted.batch_sizes))]
        if self.wanted.purposes:
            told += ["--purposes", ",".join(self.wanted.purposes)]
        if self.checkpoints is not None:
            told += ["--checkpoint-dir", self.checkpoints]
        if self.max_time is not None:
            told += ["--max-time", f"{self.max_time:.15g}"]
        if self.forever:
            told += ["--forever"]
        if self.max_outage is not None:
            told += ["--max-outage", f"{self.max_outage:.15g}"]
        return [*told, "--engine", self.engine, "--", *self.wanted.workloads]

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
