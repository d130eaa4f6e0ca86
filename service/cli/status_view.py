"""How far the studies are, who works on them and what went wrong, for a person or as JSON."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from service.cli.profile_view import profile_view
from service.cli.progress import duration
from service.cli.tables import console_for_output, ended, plain_table
from service.errors import Unreachable
from service.profile import Profile
from service.status import Status, StudyStatus

_SECONDS = 1.0  # between two looks
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


def watch_status(load: Callable[[], Status]) -> None:
    """Show the status on a terminal, anew every second, until everything is done."""
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
            time.sleep(_SECONDS)


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
