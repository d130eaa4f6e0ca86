"""What every tracker does, and which there are."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Protocol

from batchfront.errors import UsageError
from batchfront.exchange.trackers.runs import TrackedRun
from batchfront.extras import installing

TRACKERS = {
    "mlflow": "a folder, or the URI of a tracking server or a database",
    "tensorboard": "a folder",
    "wandb": "a folder for offline runs",
    "trackio": "a folder",
}
"""Name, of its module and of its extra, to what `--to NAME:WHERE` takes for a place."""


class Tracker(Protocol):
    """A place where runs are kept."""

    def has(self, run: TrackedRun) -> bool:
        """Whether the run is there, whole."""

    def write(self, run: TrackedRun) -> None:
        """Add a run, in place of what is left of one that was not written whole."""

    def close(self) -> str:
        """Returns how to look at what is there, in a sentence."""


def parse_place(text: str) -> tuple[str, str]:
    """Name and place of `NAME:WHERE`. Raises UsageError for a tracker that isn't known."""
    name, _, where = text.partition(":")
    if name in TRACKERS and where:
        return name, where
    known = ", ".join(f"{name}:WHERE ({place})" for name, place in TRACKERS.items())
    raise UsageError(f"--to {text!r}: write one of {known}")


def open_tracker(name: str, where: str) -> Tracker:
    """Open a tracker's place. Raises UsageError where it isn't installed, or the place can't be."""
    with installed_tracker(name):
        opened: Tracker = import_module(f"batchfront.exchange.trackers.{name}").open_tracker(where)
    return opened


@contextmanager
def installed_tracker(name: str) -> Iterator[None]:
    """Raise UsageError, with how to install it, where a tracker's package isn't there to import."""
    try:
        with quiet():
            yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "batchfront":
            raise
        raise UsageError(f"{name}: {missing} is not installed: {installing(name)}") from None


def write_runs(
    tracker: Tracker, runs: Iterable[TrackedRun], advance: Callable[[int], None]
) -> tuple[int, int]:
    """Write those that aren't there. Returns how many are new, and how many were there."""
    new = there = 0
    for run in runs:
        with quiet():
            if tracker.has(run):
                there += 1
            else:
                tracker.write(run)
                new += 1
        advance(1)
    return new, there


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what a tracker's own code warns of, which is nothing that its user did, from them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
