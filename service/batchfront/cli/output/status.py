"""How far the studies are, who works on them and what went wrong, for a person or as JSON."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from time import monotonic

import click
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from batchfront.cli.output.tables import console_for_output, ended, plain_table
from batchfront.errors import StorageError, Unreachable
from batchfront.ledger.status import Status, StudyStatus, load_status
from batchfront.ledger.time_profile import Profile
from batchfront.store.database import Storage
from batchfront.study.study import Filter

log = logging.getLogger(__name__)


_SECONDS_of_progress = 0.5


_PLAIN_SECONDS = 10.0


_LEAVING_SECONDS = 2.0  # a database that doesn't answer is not waited for longer than this


@contextmanager
def showing(storage: Storage, wanted: Filter) -> Iterator[None]:
    """Show the progress of these studies on standard error while the block runs."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    show = _live(console) if console.is_terminal else _plain(console)
    done = threading.Event()
    thread = threading.Thread(target=_follow, args=(storage, wanted, show, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(_LEAVING_SECONDS)


Show = AbstractContextManager[Callable[[Status], None]]
"""Gives, for as long as it is entered, a function that shows a status."""


def _follow(storage: Storage, wanted: Filter, show: Show, done: threading.Event) -> None:
    with show as update:
        last, away, pause = False, False, _SECONDS_of_progress
        while not last:
            last = done.wait(pause)
            began = monotonic()
            try:
                update(load_status(storage, wanted))
                away = False
            except StorageError as error:
                if not away:  # once an outage
                    log.warning("%s", error)
                away = True
            # A large database is not to be kept busy by those who only look.
            pause = max(_SECONDS_of_progress, 20 * (monotonic() - began))


@contextmanager
def _live(console: Console) -> Iterator[Callable[[Status], None]]:
    began = monotonic()
    with Live(console=console, auto_refresh=False, redirect_stdout=False) as live:

        def update(status: Status) -> None:
            live.update(render(status, monotonic() - began), refresh=True)

        yield update


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
    busy = sum(worker.state == "busy" for worker in status.workers)
    names = sorted({study.workload for study in status.studies})
    at_work = (
        f"{busy} of {len(status.workers)} workers busy" if status.workers else "no workers yet"
    )
    line = f"{', '.join(names)} · {at_work}"
    return Group(table, Text(f"{line} · {duration(elapsed)}{_total_left(status)}", style="dim"))


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


def duration(seconds: float) -> str:
    """Seconds for a person: 42 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@contextmanager
def _plain(console: Console) -> Iterator[Callable[[Status], None]]:
    """A line for every study that ends, and one now and then in between."""
    began = last_line = monotonic()
    told: set[str] = set()

    def say(text: str) -> None:
        nonlocal last_line
        last_line = monotonic()
        line = f"[{duration(last_line - began)}] {text}"
        console.print(line, soft_wrap=True)

    def update(status: Status) -> None:
        for study in status.studies:
            if not study.open and study.name not in told:
                told.add(study.name)
                best = "goal not reached" if study.best is None else f"{study.best:,} steps"
                say(f"{study.name}: {best}, {study.total} trials done")
        if monotonic() - last_line > _PLAIN_SECONDS and not status.finished:
            done, total = (sum(getattr(s, n) for s in status.studies) for n in ("done", "total"))
            say(f"{done} of {total} trials done{_total_left(status)}")

    yield update


def profile_view(profile: Profile) -> Group:
    """A table of the parts, the largest first, and what would make it faster under it."""
    whole = duration(profile.all_seconds)
    workers = "1 worker" if profile.workers == 1 else f"{profile.workers} workers together"
    table = plain_table("Part", "seconds>", "share>")
    for part, seconds in sorted(profile.seconds.items(), key=lambda item: -item[1]):
        table.add_row(part, f"{seconds:,.1f}", f"{profile.share(part):.0%}")
    said: list[RenderableType] = [Text(sentence) for sentence in profile.advice()]
    return Group(Text(f"\nWhere the time of {workers} went, {whole}:\n"), table, *said)


_SILENT_SECONDS = 60.0


def print_status(status: Status, format_: str, profile: Profile | None = None) -> None:
    """Studies, workers and failures, once; and where the workers' time went, if that is given."""
    if format_ == "json":
        shown = asdict(status)
        for study, entry in zip(status.studies, shown["studies"], strict=True):
            entry["seconds_left"] = status.seconds_left(study)
        shown["seconds_left"] = status.all_seconds_left
        if profile is not None:
            shown["profile"] = {**asdict(profile), "advice": profile.advice()}
        click.echo(json.dumps(shown, indent=2))
    else:
        console_for_output().print(status_view(status))
        if profile is not None:
            console_for_output().print(profile_view(profile))


def watch_status(load: Callable[[], Status], every: float = 1.0) -> None:
    """Show the status on a terminal, anew after so many seconds, until everything is done."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        shown: RenderableType = Text()
        while True:
            try:
                status = load()
            except Unreachable as error:
                live.update(Group(shown, Text(f"\n{error}")), refresh=True)
            else:
                if status.finished:
                    return
                shown = status_view(status)
                live.update(shown, refresh=True)
            time.sleep(every)


def status_view(status: Status) -> Group:
    """All of it, one part under the other."""
    parts: list[RenderableType] = [_studies(status), Text(_summary(status))]
    if status.workers:
        parts += [Text(), _workers(status)]
    for failure in status.failures:
        parts.append(Text(f"failed: {failure.study} trial {failure.trial}: {failure.reason}"))
    return Group(*parts)


def _studies(status: Status) -> Table:
    table = plain_table(
        "Study", "free>", "running>", "done>", "best>", "now at>", "steps/s>", "left>", "ended"
    )
    for study in status.studies:
        table.add_row(
            study.name,
            f"{study.open - study.running}",
            f"{study.running}",
            f"{study.done}",
            "–" if study.best is None else f"{study.best:,}",
            f"{study.lead:,}" if study.running else "–",
            f"{study.rate:,.0f}" if study.workers else "–",
            _left(study, status),
            ended(study.outcomes),
        )
    return table


def _left(study: StudyStatus, status: Status) -> str:
    left = status.seconds_left(study)
    if not study.open or left is None:
        return "–"
    return f"~{duration(left / max(study.workers, 1))}"


def _summary(status: Status) -> str:
    done = sum(study.done for study in status.studies)
    total = sum(study.total for study in status.studies)
    busy = sum(worker.state == "busy" for worker in status.workers)
    left = status.all_seconds_left
    parts = [f"{done:,} of {total:,} trials done"]
    if not status.finished:
        parts.append(f"{busy} of {len(status.workers)} workers busy")
        if left is not None:
            parts.append(f"about {duration(left)} left")
    return " · ".join(parts)


def _workers(status: Status) -> Table:
    table = plain_table("Worker", "host", "process>", "device", "state", "study", "last seen>")
    for worker in status.workers:
        table.add_row(
            worker.id[:8],
            worker.host,
            str(worker.pid),
            worker.device,
            worker.state if worker.silent < _SILENT_SECONDS else "silent",
            worker.study or "–",
            f"{worker.silent:.0f} s ago",
        )
    return table
