"""The live display of a race on a terminal, whatever its width and height."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from batchfront.cli.output.lines import shown, shown_lines
from batchfront.cli.output.standing import (
    Here,
    at_step,
    at_work,
    doing_at,
)
from batchfront.cli.output.status import duration, left_in_a_cell, to_goal, total_left
from batchfront.ledger.status import Status, StudyStatus
from batchfront.ledger.time_left import time_left
from batchfront.wrapping import wrapped

_NARROW = 60  # columns, below which rows become lines of words

_AROUND, _BELOW = 4, 2  # lines that a workload has besides its rows, and the display below all

_LINES = 3  # of a batch size where they are words

_BAR, _LONGEST_BAR = "trials", 24

_COLUMNS = {
    **{"batch size": 10, _BAR: 8, "done": 5, "best": 6},
    **{"best now → goal": 15, "at step": 9, "steps/s": 7, "left": 7},
}
"""Titles, and the least widths of what stands under them."""

_SPARED = (_BAR, "steps/s", "at step", "best")
"""Columns that are left out where there is no room, the first of them first."""

_BETWEEN = 2  # characters between two columns


@dataclass(frozen=True)
class Display:
    """How the studies stand, after so many seconds."""

    status: Status
    here: Here
    elapsed: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        many = len({study.workload for study in self.status.studies})
        room = ((options.height or console.height) - _BELOW) // max(many, 1) - _AROUND
        room //= 1 if options.max_width >= _NARROW else _LINES
        for workload, group in groupby(self.status.studies, key=lambda study: study.workload):
            studies = list(group)
            kept = self._kept(studies, room)
            yield Text("\n".join(wrapped(shown(workload + _goal(studies)), options.max_width)))
            if options.max_width < _NARROW:
                yield from map(self._as_lines, kept)
            else:
                yield self._table(kept, options.max_width)
            if len(kept) < len(studies):
                yield Text(_others(studies, kept), style="dim")
        said = f"{at_work(self.status, self.here)} · {duration(self.elapsed)}"
        said += "" if self.here.stopping() else total_left(self.status)
        yield Text("\n".join(wrapped(shown(said), options.max_width)), style="dim")

    def _kept(self, studies: Sequence[StudyStatus], room: int) -> Sequence[StudyStatus]:
        """Those that are shown where there is no room for all: those at work, and what is next."""
        room = max(room, 1)
        if len(studies) <= room:
            return studies
        order = sorted(studies, key=lambda study: (not study.running, study.finished))
        return [study for study in studies if study in order[:room]]

    def _table(self, studies: Sequence[StudyStatus], width: int) -> Table:
        rows = [dict(zip(_COLUMNS, self._cells(study), strict=True)) for study in studies]
        widths = _fitting(rows, width)
        table = Table(
            box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, _BETWEEN - 1, 0, 0)
        )
        for title, wide in widths.items():
            side: JustifyMethod = "left" if title in (_BAR, "best now → goal") else "right"
            table.add_column(shown(title), justify=side, no_wrap=True, min_width=wide)
        for study, row in zip(studies, rows, strict=True):
            cells: dict[str, RenderableType] = {title: shown(row[title]) for title in widths}
            if _BAR in cells:
                cells[_BAR] = ProgressBar(study.total, study.done, widths[_BAR])
            table.add_row(*cells.values(), style=_style(study))
        return table

    def _cells(self, study: StudyStatus) -> tuple[str, ...]:
        left = time_left(study, self.status).shared_by(study.workers)
        return (
            f"{study.batch_size:,}{_kind(study)}",
            "",
            f"{study.done}/{study.total}",
            "" if study.best is None else f"{study.best:,}",
            doing_at(study, self.status) or (to_goal(study) if study.running else ""),
            at_step(study),
            f"{study.rate:,.0f}" if study.workers else "",
            left_in_a_cell(left) if study.open and not self.here.stopping() else "",
        )

    def _as_lines(self, study: StudyStatus) -> Text:
        cells = dict(zip(_COLUMNS, self._cells(study), strict=True))
        first = [f"{cells['batch size']}: {cells['done']} done"]
        first += [f"best {cells['best']}"] if cells["best"] else []
        lines = [first]
        if study.running:
            near = cells["best now → goal"]
            lines.append([f"best now {near}" if near == to_goal(study) else near] if near else [])
            lines.append([f"at step {cells['at step']}"])
        if study.open and cells["left"]:
            lines[-1].append(f"{cells['left']} left")
        said = "\n  ".join(", ".join(filter(None, line)) for line in lines if any(line))
        return Text(shown_lines(said), style=_style(study), overflow="fold")


def _goal(studies: Sequence[StudyStatus]) -> str:
    goals = {(study.metric, study.better, study.goal) for study in studies}
    if len(goals) > 1 or studies[0].goal is None:
        return ""
    sign = "<" if studies[0].better == "lower" else ">"
    return f" · goal: {studies[0].metric} {sign} {studies[0].goal:g}"


def _kind(study: StudyStatus) -> str:
    """What a study beside the search is for, as its name ends."""
    return study.name.partition(f"/b{study.batch_size}")[2].replace("/", " ")


def _style(study: StudyStatus) -> str:
    return "" if study.running else ("dim" if study.open else "green")


def _others(studies: Sequence[StudyStatus], kept: Sequence[StudyStatus]) -> str:
    hidden = [study for study in studies if study not in kept]
    done = sum(study.finished for study in hidden)
    parts = [(done, "done"), (len(hidden) - done, "to come")]
    return "further batch sizes: " + ", ".join(f"{n} {what}" for n, what in parts if n)


def _fitting(rows: Sequence[dict[str, str]], width: int) -> dict[str, int]:
    """The columns for which there is room, with their widths: none is cut, and none comes and goes
    with what stands in it."""
    widths = {
        title: max(least, *(cell_len(shown(row[title])) for row in rows))
        for title, least in _COLUMNS.items()
    }
    for title in _SPARED:
        if _taken(widths) > width:
            widths.pop(title, None)
    if _BAR in widths:
        widths[_BAR] = min(_LONGEST_BAR, widths[_BAR] + width - _taken(widths))
    return widths


def _taken(widths: dict[str, int]) -> int:
    return sum(widths.values()) + _BETWEEN * (len(widths) - 1)
