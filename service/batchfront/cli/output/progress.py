"""What a command shows on standard error while it works: the state of studies, or a bar."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic, sleep
from typing import Any, NamedTuple

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from batchfront.cli.output.lines import say, shown, speaks_json
from batchfront.cli.output.status import duration
from batchfront.cli.output.tables import console_for_errors
from batchfront.errors import StorageError, Unreachable
from batchfront.ledger.status import Status, StudyStatus, load_status, pause_after
from batchfront.ledger.time_profile import load_profile, time_of
from batchfront.store.database import Storage
from batchfront.study.study import Filter
from batchfront.vocabulary import WorkerState

log = logging.getLogger(__name__)

_SECONDS = 0.5  # between two reads of the database, at least

_PLAIN_SECONDS = 10.0

_PROFILED_SECONDS = 60.0  # after which it is known where the time goes

_LEAVING_SECONDS = 2.0  # a database that doesn't answer is not waited for longer than this


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar, where standard error is a terminal; gives the function that advances it.

    what -- the pieces, in the plural
    """
    console = console_for_errors()
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(what), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


@contextmanager
def showing(storage: Storage, wanted: Filter, *, profiled: bool = False) -> Iterator[None]:
    """Show the progress of these studies on standard error while the block runs.

    profiled -- also say once, after a minute, where the time of the workers that started since has
                gone
    """
    console = console_for_errors()
    show = _live(console) if console.is_terminal and not speaks_json() else _plain()
    done = threading.Event()
    watch = TimeWatch(storage) if profiled else None
    follow = (storage, wanted, show, done, watch)
    thread = threading.Thread(target=_follow, args=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(_LEAVING_SECONDS)


def show_until_finished(storage: Storage, wanted: Filter) -> None:
    """Show the progress of these studies on standard error, line by line, until they are done."""
    away, status = False, None
    with _plain() as shown:
        while True:
            began = monotonic()
            try:
                status = load_status(storage, wanted, status)
            except Unreachable as error:
                if not away:  # once an outage
                    log.warning("%s", error)
                away = True
            else:
                away = False
                shown.update(status)
                if status.finished:
                    return
            sleep(pause_after(monotonic() - began, _SECONDS))


class Shown(NamedTuple):
    """Where progress is shown: `update` shows a status, `say` a line that stays."""

    update: Callable[[Status], None]
    say: Callable[[str], None]


Show = AbstractContextManager[Shown]


class TimeWatch:
    """Says once where the time goes: after a minute, and when the workers have told.

    now -- tells the time, in seconds
    """

    def __init__(self, storage: Storage, now: Callable[[], float] = monotonic) -> None:
        self._storage, self._now, self._began = storage, now, now()
        self._since: float | None = None
        self._told = False

    def due(self) -> str | None:
        """The line, the first time that there is one to say."""
        if self._since is None:
            self._since = time_of(self._storage) - (self._now() - self._began)
        if self._told or self._now() - self._began < _PROFILED_SECONDS:
            return None
        profile = load_profile(self._storage, self._since)
        if profile.all_seconds < _PROFILED_SECONDS / 2:
            return None
        self._told = True
        return f"where the time goes: {profile.in_words()}"


def _follow(
    storage: Storage,
    wanted: Filter,
    show: Show,
    done: threading.Event,
    watch: TimeWatch | None,
) -> None:
    with show as place:
        last, away, pause, status = False, False, _SECONDS, None
        while not last:
            last = done.wait(pause)
            began = monotonic()
            try:
                status = load_status(storage, wanted, status)
                place.update(status)
                away = False
                line = watch.due() if watch is not None and not status.finished else None
                if line is not None:
                    place.say(line)
            except StorageError as error:
                if not away:  # once an outage
                    log.warning("%s", error)
                away = True
            pause = pause_after(monotonic() - began, _SECONDS)


@contextmanager
def _live(console: Console) -> Iterator[Shown]:
    began = monotonic()
    with Live(console=console, auto_refresh=False, redirect_stdout=False) as live:

        def update(status: Status) -> None:
            live.update(render(status, monotonic() - began), refresh=True)

        yield Shown(update, lambda text: live.console.print(shown(text), soft_wrap=True))


def render(status: Status, elapsed: float) -> Group:
    """The live display."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title, justify in (
        ("batch size", "right"),
        ("trials", "left"),
        ("done", "right"),
        ("best", "right"),
        ("now at", "right"),
        ("steps/s", "right"),
        ("left", "right"),
    ):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for study in status.studies:
        bar = ProgressBar(total=study.total, completed=study.done, width=24)
        cells = _cells(study, status)
        style = "" if study.running else ("dim" if study.open else "green")
        table.add_row(f"{study.batch_size:,}", bar, *cells, style=style)
    busy = sum(worker.state == WorkerState.BUSY for worker in status.workers)
    names = sorted({study.workload for study in status.studies})
    at_work = (
        f"{busy} of {len(status.workers)} workers busy" if status.workers else "no workers yet"
    )
    line = f"{', '.join(names)} · {at_work} · {duration(elapsed)}{_total_left(status)}"
    return Group(table, Text(shown(line), style="dim"))


def _cells(study: StudyStatus, status: Status) -> tuple[str, str, str, str, str]:
    left = status.seconds_left(study)
    return (
        f"{study.done}/{study.total}",
        "" if study.best is None else f"{study.best:,}",
        f"{study.lead:,}" if study.running else "",
        f"{study.rate:,.0f}" if study.workers else "",
        "" if left is None or not study.open else f"~{duration(left)}",
    )


def _total_left(status: Status) -> str:
    left = status.all_seconds_left
    return "" if left is None or status.finished else f" · about {duration(left)} left"


@contextmanager
def _plain() -> Iterator[Shown]:
    """A line for every study that ends, and one now and then in between."""
    began = last_line = monotonic()
    told: set[str] = set()

    def timed(text: str, **facts: Any) -> None:
        nonlocal last_line
        last_line = monotonic()
        say(text, before=f"[{duration(last_line - began)}] ", **facts)

    def update(status: Status) -> None:
        for study in status.studies:
            if not study.open and study.name not in told:
                told.add(study.name)
                best = "goal not reached" if study.best is None else f"{study.best:,} steps"
                timed(f"{study.name}: {best}, {study.total} trials done", study=study.name)
        if monotonic() - last_line > _PLAIN_SECONDS and not status.finished:
            done, total = (sum(getattr(s, n) for s in status.studies) for n in ("done", "total"))
            timed(f"{done} of {total} trials done{_total_left(status)}")

    yield Shown(update, timed)
