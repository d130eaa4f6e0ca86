"""A workload's main figures as Plotly's own objects, for notebooks and papers."""

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchfront.errors import BatchfrontError, UsageError
from batchfront.frontier.curve import USUAL, Asked
from batchfront.frontier.frontier import Frontier, load_frontiers
from batchfront.frontier.queries import load_reruns, require
from batchfront.frontier.reruns import Confirmations, confirmations
from batchfront.report.plotly import Figure, in_light_colours, standing_above
from batchfront.report.sections.compare import compared_figure
from batchfront.report.sections.curve import steps_figure
from batchfront.report.sections.uncertainty import uncertainty_figure
from batchfront.report.sections.winners import winner_panels
from batchfront.report.text import fitted, in_figure
from batchfront.store.snapshot import Source, snapshot
from batchfront.whole_file import write_files
from batchfront.workload.user_error import error_said

if TYPE_CHECKING:
    from plotly.graph_objs._figure import Figure as PlotlyFigure


def figures(
    frontier: Frontier, confirmed: Confirmations | None = None, asked: Asked = USUAL
) -> dict[str, "PlotlyFigure"]:
    """The figures of a workload, by name: `steps`, one for each searched metaparameter and
    `effective_learning_rate` where there is a momentum, and `certainty` where races went on past
    their first finisher. Empty while no trial has reached the goal.

    confirmed -- winners run again (`batchfront.frontier.reruns.load_confirmations`)
    asked     -- what the curve is asked (`batchfront.frontier.curve`)

    They are in light colours, with a title and a legend, and can be changed, shown, or written
    with `write_image` like any other.
    """
    if not frontier.reached:
        return {}
    drawn = {"steps": steps_figure(frontier, fitted(frontier, asked).curve, confirmed)}
    for panel in winner_panels(frontier):
        drawn[panel.name] = _titled(panel.figure, panel.heading)
    uncertainty = uncertainty_figure(frontier)
    if uncertainty is not None:
        drawn["certainty"] = uncertainty  # the name that files of figures have
    return {name: plotly_figure(figure) for name, figure in drawn.items()}


def plotly_figure(figure: Figure) -> "PlotlyFigure":
    """One of the report's figures as it is to stand by itself, under its title."""
    from plotly.graph_objs._figure import Figure as PlotlyFigure

    layout = {**titled(figure), "paper_bgcolor": "var(--paper)", "showlegend": True}
    layout["legend"] = {**layout["legend"], "traceorder": "normal"}
    layout["shapes"] = [
        shape | {"showlegend": True} if shape.get("name") else shape
        for shape in layout.get("shapes", ())
    ]
    layout["meta"] = {"label": figure["label"]}
    data = [_explained(trace) for trace in figure["data"]]
    coloured = in_light_colours({"data": data, "layout": layout})
    return PlotlyFigure(coloured)  # type: ignore[no-untyped-call]


def titled(figure: Figure) -> dict[str, Any]:
    """The layout of a figure with its label as its title, above all that stands there."""
    layout = dict(figure["layout"])
    title = {"text": in_figure(figure["label"]), "font": {"size": 14}, "x": 0, "xref": "paper"}
    return {**layout, "title": title, "margin": {**layout["margin"], "t": _ABOVE + _TITLE}}


def _explained(trace: Mapping[str, Any]) -> dict[str, Any]:
    """In the legend if it has a name; without what is for the page alone."""
    kept = {key: value for key, value in trace.items() if key not in ("meta", "customdata")}
    return {"showlegend": "name" in trace, **kept}


def _titled(figure: Figure, heading: str) -> Figure:
    """With what stands above it on the page."""
    layout, above = figure["layout"], [standing_above(heading)]
    margin = {**layout["margin"], "t": _ABOVE}
    return {**figure, "layout": {**layout, "margin": margin, "annotations": above}}


FORMATS = ("svg", "png", "pdf")

_ABOVE = 32  # CSS pixels above a figure's axes, for what stands there

_TITLE = 32  # what a title adds

_COLUMN = 336  # CSS pixels: a paper's column of 3.5 inches

_HEIGHT = 250  # without the legend

_ENTRY = 17  # what an entry of the legend adds, at one to two a line

_DENSITY = 4  # pixels of a PNG to a CSS pixel: 384 to an inch


def write_figures(
    source: Source,
    workloads: Sequence[str],
    folder: Path,
    format_: str = "svg",
    asked: Asked = USUAL,
) -> list[Path]:
    """Write the main figures of these workloads, or of all, and the files' paths.

    folder  -- is made where it is missing
    format_ -- one of FORMATS
    asked   -- what their curves are asked

    Raises UsageError for an unknown workload or a folder that is a file, BatchfrontError without
    a Chromium, and, naming them, for figures that could not be drawn or written; all others are.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"figures {folder}: is a file; name a folder")
    with snapshot(source) as moment:
        require(moment, workloads)
        frontiers = load_frontiers(moment, workloads)
        again = [confirmations(f, load_reruns(moment, f.workload)) for f in frontiers]
    drawn: dict[tuple[str, ...], PlotlyFigure] = {}
    for frontier, confirmed in zip(frontiers, again, strict=True):
        for name, figure in figures(frontier, confirmed, asked).items():
            drawn[frontier.workload, name] = figure
    together = compared_figure(frontiers)
    if together is not None:
        drawn["compared",] = plotly_figure(together)
    if not drawn:
        raise BatchfrontError("no trial has reached the goal yet, so there is nothing to draw")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BatchfrontError(f"figures {folder}: can't be made: {error.strerror}") from error
    stems = _stems(list(drawn))
    files = {folder / f"{stems[of]}.{format_}": figure for of, figure in drawn.items()}
    # In a thread of its own, as a notebook's has a running event loop already.
    with ThreadPoolExecutor(1) as alone:
        failed = alone.submit(asyncio.run, _write(files)).result()
    if failed:
        written = len(files) - len(failed)
        raise BatchfrontError(f"{'; '.join(failed)} ({written} of {len(files)} are in {folder})")
    return list(files)


_LONGEST = 200  # bytes of a file's name but for its ending; file systems take 255


def _stems(named: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """The name of each figure's file: of its workload and its own name, with a checksum of both
    where it is too long, or would be another's too."""
    plain = {of: re.sub(r"[^\w.@]+", "-", "-".join(of)).strip("-.") for of in named}
    taken = Counter(stem.casefold() for stem in plain.values())
    return {
        of: stem
        if taken[stem.casefold()] == 1 and len(stem.encode()) <= _LONGEST
        else f"{stem.encode()[:_LONGEST].decode(errors='ignore')}-{_checksum(of)}"
        for of, stem in plain.items()
    }


def _checksum(of: tuple[str, ...]) -> str:
    return hashlib.sha256("\0".join(of).encode(errors="surrogatepass")).hexdigest()[:8]


async def _write(files: "Mapping[Path, PlotlyFigure]") -> list[str]:
    """Write figures, one browser for all; it is gone when the last is written. Returns what went
    wrong, a phrase for each that is not written."""
    from choreographer.errors import ChromeNotFoundError
    from kaleido import Kaleido

    try:
        browser = Kaleido(n=1, mathjax=False)
    except ChromeNotFoundError:
        raise BatchfrontError(
            "figures are drawn by Chrome or Chromium, and none is on the path; install one, or "
            "name it in BROWSER_PATH"
        ) from None
    failed = []
    async with browser:
        for path, figure in files.items():
            sized = for_a_column(figure)
            size = {"width": sized.layout.width, "height": sized.layout.height}
            options = {**size, "scale": _scale(path), "format": path.suffix.removeprefix(".")}
            try:
                # Told to write it, Kaleido says nothing of what goes wrong.
                image = await browser.calc_fig(sized, opts=options)
            except Exception as error:  # of the browser, and of what talks to it
                failed.append(f"figure {path} can't be drawn: {error_said(error)}")
                continue
            try:
                write_files({path: image}, "figure")
            except BatchfrontError as error:
                failed.append(str(error))
    return failed


def _scale(path: Path) -> int:
    return _DENSITY if path.suffix == ".png" else 1


def for_a_column(figure: "PlotlyFigure") -> "PlotlyFigure":
    """As wide as a column, in which words among the data would run into one another, and without
    a title, as a paper has captions."""
    made = deepcopy(figure)
    made.update_traces(mode="markers", selector={"mode": "markers+text"})
    made.update_traces(mode="lines+markers", selector={"mode": "lines+markers+text"})
    made.update_shapes(label={"text": ""}, selector={"showlegend": True})
    named = [*made.data, *made.layout.shapes]
    entries = sum(bool(entry.showlegend) for entry in named)
    height = _HEIGHT + _ENTRY * entries
    made.update_layout(width=_COLUMN, height=height, title=None, margin_t=_ABOVE)
    return made
