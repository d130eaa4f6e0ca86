"""What a command shows on standard error while it works: the state of studies, or a bar."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from time import monotonic, sleep
from typing import NamedTuple

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from batchfront.cli.output.lines import said_by, say, speaks_json
from batchfront.cli.output.live import Display
from batchfront.cli.output.plain import plain_lines
from batchfront.cli.output.standing import NOWHERE, Here
from batchfront.cli.output.tables import console_for_errors
from batchfront.errors import StorageError, Unreachable
from batchfront.ledger.status import Status, load_status, pause_after
from batchfront.ledger.time_profile import load_profile, time_of
from batchfront.store.database import Storage
from batchfront.study.study import Filter
from batchfront.wrapping import wrapped

log = logging.getLogger(__name__)

_SECONDS = 0.5  # between two reads of the database, at least

_PROFILED_SECONDS = 60.0  # after which it is known where the time goes

Watch = Callable[[Status], str | None]

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
def showing(
    storage: Storage, wanted: Filter, here: Here = NOWHERE, watches: Sequence[Watch] = ()
) -> Iterator[None]:
    """Show the progress of these studies on standard error while the block runs.

    here    -- what is known of this process's own workers
    watches -- each is shown every status, and returns what is to be said then, if anything
    """
    console = console_for_errors()
    show = _live(console, here) if console.is_terminal and not speaks_json() else _plain(here)
    with following(storage, wanted, show, watches):
        yield


@contextmanager
def following(
    storage: Storage, wanted: Filter, show: "Show", watches: Sequence[Watch] = ()
) -> Iterator[None]:
    """Show the progress of these studies, wherever that is, from a thread while the block runs."""
    done = threading.Event()
    follow = (storage, wanted, show, done, watches)
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
    with _plain(NOWHERE) as shown:
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

    def __call__(self, status: Status) -> str | None:
        """The same, while there is something to do."""
        return None if status.finished else self.due()

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
    watches: Sequence[Watch],
) -> None:
    with show as place:
        last, away, due, status = False, False, 0.0, None
        while not last:
            last = done.wait(0.0 if status is None else _SECONDS)
            began = monotonic()
            if began < due and not last:  # what has changed here is shown meanwhile
                if status is not None:
                    place.update(status)
                continue
            try:
                status = load_status(storage, wanted, status)
                place.update(status)
                away = False
                for watch in watches:
                    if (line := watch(status)) is not None:
                        place.say(line)
            except StorageError as error:
                if not away:  # once an outage
                    log.warning("%s", error)
                away = True
            # Not by how long the first took, which imports much.
            due = monotonic() + (pause_after(monotonic() - began, _SECONDS) if due else 0.0)


def above(console: Console, line: str) -> None:
    """Print a line above the display on a console, folded between words; colours in it stay."""
    text = Text.from_ansi("\n".join(wrapped(line, console.width)))
    console.print(text, soft_wrap=True)


@contextmanager
def _live(console: Console, here: Here) -> Iterator[Shown]:
    began = monotonic()
    with (
        Live(console=console, auto_refresh=False, redirect_stdout=False) as live,
        said_by(lambda line: above(live.console, line)),
    ):

        def update(status: Status) -> None:
            live.update(Display(status, here, monotonic() - began), refresh=True)

        yield Shown(update, say)


@contextmanager
def _plain(here: Here) -> Iterator[Shown]:
    with plain_lines(here) as (update, timed):
        yield Shown(update, timed)
