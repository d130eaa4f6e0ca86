"""Progress in lines, where there is no terminal to draw on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from batchfront.cli.output.lines import say
from batchfront.cli.output.standing import Here, in_a_line
from batchfront.cli.output.status import duration
from batchfront.ledger.status import Status

_SECONDS = 10.0  # between two lines on how it stands, at least


@contextmanager
def plain_lines(here: Here) -> Iterator[tuple[Callable[[Status], None], Callable[[str], None]]]:
    """Gives what shows a status, by a line for every study that ends and one now and then in
    between; and what says a line."""
    began, last_line = monotonic(), -_SECONDS
    told: set[str] = set()

    def timed(text: str, **facts: Any) -> None:
        nonlocal last_line
        last_line = monotonic()
        say(text, before=f"[{duration(last_line - began)}] ", **facts)

    def update(status: Status) -> None:
        for study in status.studies:
            if study.finished and study.name not in told:
                told.add(study.name)
                best = "goal not reached" if study.best is None else f"{study.best:,} steps"
                timed(f"{study.name}: {best}, {study.total} trials done", study=study.name)
        if monotonic() - last_line > _SECONDS and not status.finished:
            timed(in_a_line(status, here))

    yield update, timed
