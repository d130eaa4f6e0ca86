"""The one interface of all launchers, and what they ask of a worker's place."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Protocol

from batchfront.errors import UsageError
from batchfront.launch.worker_options import Order

Work = Callable[[Sequence[str]], None]
"""Runs a worker in the process that calls it, told these arguments of `batchfront work`."""


@dataclass(frozen=True)
class Launched:
    """Workers that were started.

    ids    -- what the scheduler calls them
    watch  -- the command that shows them
    cancel -- the command that makes them save and release what they hold, and end
    hold   -- for workers that no scheduler holds: waits until they have ended, or until the event
              is set and they have released everything. Raises WorkersFailed when they can't
              work
    """

    ids: tuple[str, ...]
    watch: str
    cancel: str
    hold: Callable[[Event], None] | None = None


class Launcher(Protocol):
    """Starts workers somewhere."""

    def launch(self, order: Order, workers: int) -> Launched:
        """Start so many workers, each told the same.

        Raises UsageError that names everything that is wrong with the launcher's settings, before
        anything is started.
        """


def refuse(problems: Iterable[str]) -> None:
    """Raise UsageError with all of these problems, if there are any."""
    found = list(problems)
    if found:
        raise UsageError("; ".join(found))


def place_problems(
    workers: int, gpus: float, cpus: int, *, devices: int = 1, shared: bool = False
) -> list[str]:
    """What is wrong with so many workers of so many GPUs and CPU cores each.

    devices -- how many compute each trial together
    shared  -- whether a worker may be given a part of a GPU
    """
    gpus_fine, right = gpus in (0, devices), f"0 or {devices}"
    if shared and devices == 1:
        gpus_fine, right = 0 <= gpus <= 1, "a number from 0 to 1"
    uses = "one GPU or none" if devices == 1 else f"a GPU for each of {devices} devices, or none"
    checks = (
        (workers >= 1, f"--workers {workers}: must be at least 1"),
        (cpus >= 1, f"--cpus-per-worker {cpus}: must be at least 1"),
        (gpus_fine, f"--gpus-per-worker {gpus:g}: a worker uses {uses}; use {right}"),
        (devices >= 1, f"--devices-per-trial {devices}: must be at least 1"),
    )
    return [problem for fine, problem in checks if not fine]
