"""Tables as Markdown, for a terminal and for docs/benchmarks.md alike."""

from collections.abc import Sequence
from statistics import median


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; every column but the first is aligned to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    rule = [("-" * w if i == 0 else "-" * (w - 1) + ":") for i, w in enumerate(widths)]
    return "\n".join(_line(row, widths) for row in [list(columns), rule, *cells])


def spread(values: Sequence[float], form: str) -> str:
    """The median and, where they differ, the range of some measurements: `0.93 (0.91-0.96)`."""
    low, middle, high = (format(v, form) for v in (min(values), median(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"
