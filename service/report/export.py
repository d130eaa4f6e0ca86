"""Figures as files for papers, drawn by Kaleido in a Chromium of its own."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

from service.confirmation import load_confirmations
from service.database import Storage
from service.errors import BatchfrontError, UsageError
from service.frontier import load_frontiers, require
from service.report.compare_part import compared_figure
from service.report.figures import figures, plotly_figure

if TYPE_CHECKING:
    from plotly.graph_objs._figure import Figure as PlotlyFigure

FORMATS = ("svg", "png", "pdf")

_COLUMN = 336  # CSS pixels: a paper's column of 3.5 inches
_HEIGHT = 250  # without the legend
_ENTRY = 17  # what an entry of the legend adds, at one to two a line
_DENSITY = 4  # pixels of a PNG to a CSS pixel: 384 to an inch


def write_figures(
    storage: Storage, workloads: Sequence[str], folder: Path, format_: str = "svg"
) -> list[Path]:
    """Write the main figures of these workloads, or of all, and the files' paths.

    folder  -- is made where it is missing
    format_ -- one of FORMATS

    Raises UsageError for an unknown workload or a folder that is a file, BatchfrontError without
    a Chromium.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"figures {folder}: is a file; name a folder")
    require(storage, workloads)
    frontiers = load_frontiers(storage, workloads)
    files: dict[Path, PlotlyFigure] = {}
    for frontier in frontiers:
        again = load_confirmations(storage, frontier.workload)
        for name, figure in figures(frontier, again).items():
            stem = re.sub(r"[^\w.@]+", "-", f"{frontier.workload}-{name}").strip("-.")
            files[folder / f"{stem}.{format_}"] = figure
    together = compared_figure(frontiers)
    if together is not None:
        files[folder / f"compared.{format_}"] = plotly_figure(together)
    if not files:
        raise BatchfrontError("no trial has reached the goal yet, so there is nothing to draw")
    folder.mkdir(parents=True, exist_ok=True)
    # In a thread of its own, as a notebook's has a running event loop already.
    with ThreadPoolExecutor(1) as alone:
        alone.submit(asyncio.run, _write(files)).result()
    return list(files)


async def _write(files: "Mapping[Path, PlotlyFigure]") -> None:
    """One browser for all; it is gone when the last is written."""
    from choreographer.errors import ChromeNotFoundError
    from kaleido import Kaleido

    try:
        browser = Kaleido(n=1, mathjax=False)
    except ChromeNotFoundError:
        raise BatchfrontError(
            "figures are drawn by Chrome or Chromium, and none is on the path; install one, or "
            "name it in BROWSER_PATH"
        ) from None
    async with browser:
        for path, figure in files.items():
            sized = for_a_column(figure)
            size = {"width": sized.layout.width, "height": sized.layout.height}
            await browser.write_fig(sized, path=path, opts={**size, "scale": _scale(path)})


def _scale(path: Path) -> int:
    return _DENSITY if path.suffix == ".png" else 1


def for_a_column(figure: "PlotlyFigure") -> "PlotlyFigure":
    """As wide as a column, in which words among the data would run into one another."""
    made = deepcopy(figure)
    made.update_traces(mode="markers", selector={"mode": "markers+text"})
    made.update_traces(mode="lines+markers", selector={"mode": "lines+markers+text"})
    made.update_shapes(label={"text": ""}, selector={"showlegend": True})
    named = [*made.data, *made.layout.shapes]
    entries = sum(bool(entry.showlegend) for entry in named)
    made.update_layout(width=_COLUMN, height=_HEIGHT + _ENTRY * entries)
    return made
