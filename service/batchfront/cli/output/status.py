"""How far the studies are, who works on them and what went wrong, for a person or as JSON."""

import time
from collections.abc import Callable
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.text import Text

from batchfront.cli.output.lines import shown
from batchfront.cli.output.tables import console_for_errors, print_json, print_tables, view
from batchfront.errors import Unreachable
from batchfront.frontier.curve.text import count
from batchfront.ledger.status import Status, StudyStatus, pause_after
from batchfront.ledger.time_left import TimeLeft, all_time_left, time_left
from batchfront.ledger.time_profile import Profile
from batchfront.outcomes import outcomes_column
from batchfront.table import Column, Table
from batchfront.vocabulary import WorkerState

_SILENT_SECONDS = 60.0

_CLOSE = 1.5  # times the time about: the time at most that is no more says nothing else


def print_status(status: Status, format_: str, profile: Profile | None = None) -> None:
    """Studies, workers and failures, once; and where the workers' time went, if that is given."""
    if format_ == "json":
        shown = asdict(status)
        for study, entry in zip(status.studies, shown["studies"], strict=True):
            left = time_left(study, status)
            entry |= {"seconds_left": left.about, "seconds_left_at_most": left.most}
        left = all_time_left(status)
        shown |= {"seconds_left": left.about, "seconds_left_at_most": left.most}
        for failure in shown["failures"]:
            del failure["shows_log"]  # which is for a person
        shown["left_out"] = [{"study": one.name, "why": one.why} for one in status.left_out]
        if profile is not None:
            shown["profile"] = {**asdict(profile), "advice": profile.advice()}
        print_json(shown)
    else:
        print_tables([*_tables(status), *([] if profile is None else [profile_table(profile)])])


def watch_status(load: Callable[[Status | None], Status], every: float = 1.0) -> None:
    """Show the status on a terminal until everything is done: anew after so many seconds, or less
    often where that would keep the database, or this machine, busy.

    load -- gives the status now, from the one before
    """
    from rich.live import Live  # late: a status is mostly looked at once

    with Live(console=console_for_errors(), auto_refresh=False, transient=True) as live:
        drawn: RenderableType = Text()
        status: Status | None = None
        while True:
            began = time.monotonic()
            try:
                status = load(status)
            except Unreachable as error:
                live.update(Group(drawn, Text(f"\n{shown(str(error))}")), refresh=True)
            else:
                if status.finished:
                    return
                drawn = view(_tables(status), in_place=True)
                live.update(drawn, refresh=True)
            time.sleep(pause_after(time.monotonic() - began, every))


def _tables(status: Status) -> list[Table]:
    """All of it, one part under the other."""
    failed = [f"failed: {f.study} trial {f.trial}: {f.reason}" for f in status.failures]
    shown = [one for one in status.failures if one.shows_log is not None][:1]
    failed += [f"{f.shows_log} prints all that trial {f.trial} has printed." for f in shown]
    workers = [_workers(status)] if status.workers else []
    return [_studies(status), *workers, Table(notes=[*status.nothing_trains, *failed])]


def _studies(status: Status) -> Table:
    columns = (
        Column("Study", words=True, names=True),
        Column("free"),
        Column("running"),
        Column("done"),
        Column("best", count),
        Column("best now → goal", whole=True),
        Column("now at", count),
        Column("steps/s", lambda rate: f"{rate:,.0f}"),
        Column("left", left_in_a_cell),
        outcomes_column("ended"),
    )
    rows = [
        (
            study.name,
            study.open - study.running,
            study.running,
            study.done,
            study.best,
            (study.running and to_goal(study)) or None,
            study.lead if study.running else None,
            study.rate if study.workers else None,
            _left(study, status),
            study.outcomes,
        )
        for study in status.studies
    ]
    return Table(columns, rows, notes=_notes(status)).filled()


def _notes(status: Status) -> list[str]:
    stopped = [] if status.stopped is None else [status.stopped]
    return [_summary(status), *stopped, *status.shared_out]


def _left(study: StudyStatus, status: Status) -> TimeLeft | None:
    left = time_left(study, status).shared_by(study.workers)
    return left if study.open and any(part is not None for part in left) else None


def _summary(status: Status) -> str:
    done = sum(study.done for study in status.studies)
    total = sum(study.total for study in status.studies)
    busy = sum(worker.state == WorkerState.BUSY for worker in status.workers)
    parts = [f"{done:,} of {total:,} trials done"]
    if not status.finished:
        parts.append(f"{busy} of {len(status.workers)} workers busy")
    return " · ".join(parts) + total_left(status)


def left_in_words(left: TimeLeft) -> str:
    """The time left: "about 4 min 10 s, at most 26 min"; empty where nothing tells."""
    told = [] if left.about is None else [f"about {duration(left.about)}"]
    if left.most is not None and (left.about is None or left.most > _CLOSE * left.about):
        told.append(f"at most {duration(left.most)}")
    return ", ".join(told)


def left_in_a_cell(left: TimeLeft) -> str:
    """The same in a table: "~4 min 10 s", or "≤26 min" where no more is known."""
    if left.about is not None:
        return f"~{duration(left.about)}"
    return "" if left.most is None else f"≤{duration(left.most)}"


def total_left(status: Status) -> str:
    """The time left of all: " · about 4 min 10 s left"; empty where nothing tells, or is left."""
    said = "" if status.finished else left_in_words(all_time_left(status))
    return f" · {said} left" if said else ""


def _workers(status: Status) -> Table:
    columns = (
        Column("Worker", words=True),
        Column("host", words=True),
        Column("process"),
        Column("device", words=True),
        Column("state", words=True),
        Column("study", words=True, names=True),
        Column("last seen", lambda seconds: f"{seconds:.0f} s ago"),
    )
    rows = [
        (
            worker.id[:8],
            worker.host,
            worker.pid,
            worker.device,
            (worker.phase and worker.phase.in_words) or worker.state
            if worker.silent < _SILENT_SECONDS
            else "silent",
            worker.study,
            worker.silent,
        )
        for worker in status.workers
    ]
    return Table(columns, rows)


def profile_table(profile: Profile) -> Table:
    """A row for each part of the time, the largest first, and what would make it shorter."""
    workers = "1 worker" if profile.workers == 1 else f"{profile.workers} workers together"
    columns = (
        Column("Part", words=True),
        Column("seconds", lambda seconds: f"{seconds:,.1f}"),
        Column("share", lambda share: f"{share:.0%}"),
    )
    parts = sorted(profile.seconds.items(), key=lambda item: -item[1])
    rows = [(part, seconds, profile.share(part)) for part, seconds in parts]
    title = f"Where the time of {workers} went, {duration(profile.all_seconds)}:"
    return Table(columns, rows, title, profile.advice())


def to_goal(study: StudyStatus) -> str:
    """How far the best of the trials in hand is from the goal: "0.061 → 0.05"; or empty."""
    if study.now is None or study.goal is None:
        return ""
    return f"{_told_apart(study.now, study.goal)} → {study.goal:g}"


def _told_apart(value: float, other: float) -> str:
    """A value in three digits, or as many as tell it from another."""
    for digits in range(3, 9):
        said = f"{value:.{digits}g}"
        if float(said) != other:
            return said
    return f"{value:g}"


def duration(seconds: float) -> str:
    """Seconds for a person: 42 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
