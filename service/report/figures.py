"""A workload's main figures as Plotly's own objects, for notebooks and papers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from service.frontier import Frontier
from service.report.axes import Figure, standing_above
from service.report.certainty_part import certainty_figure
from service.report.confirmed import Confirmations
from service.report.fitted import fitted
from service.report.palette import in_light_colours
from service.report.steps_figure import steps_figure
from service.report.winner_figures import winner_panels

if TYPE_CHECKING:
    from plotly.graph_objs._figure import Figure as PlotlyFigure


def figures(
    frontier: Frontier, confirmations: Confirmations | None = None
) -> dict[str, "PlotlyFigure"]:
    """The figures of a workload, by name: `steps`, one for each searched metaparameter and
    `effective_learning_rate` where there is a momentum, and `certainty` where races went on past
    their first finisher. Empty while no trial has reached the goal.

    confirmations -- winners run again (`service.confirmation.load_confirmations`)

    They are in light colours with a legend, and can be changed, shown, or written with
    `write_image` like any other.
    """
    if not frontier.reached:
        return {}
    drawn = {"steps": steps_figure(frontier, fitted(frontier).curve, confirmations)}
    for panel in winner_panels(frontier):
        drawn[panel.name] = _titled(panel.figure, panel.heading)
    certainty = certainty_figure(frontier)
    if certainty is not None:
        drawn["certainty"] = certainty
    return {name: plotly_figure(figure) for name, figure in drawn.items()}


def plotly_figure(figure: Figure) -> "PlotlyFigure":
    """One of the report's figures as it is to stand by itself."""
    from plotly.graph_objs._figure import Figure as PlotlyFigure

    layout = {**figure["layout"], "paper_bgcolor": "var(--paper)", "showlegend": True}
    layout["legend"] = {**layout["legend"], "traceorder": "normal"}
    layout["shapes"] = [
        shape | {"showlegend": True} if shape.get("name") else shape
        for shape in layout.get("shapes", ())
    ]
    layout["meta"] = {"label": figure["label"]}
    data = [_explained(trace) for trace in figure["data"]]
    coloured = in_light_colours({"data": data, "layout": layout})
    return PlotlyFigure(coloured)  # type: ignore[no-untyped-call]


def _explained(trace: Mapping[str, Any]) -> dict[str, Any]:
    """In the legend if it has a name; without what is for the page alone."""
    kept = {key: value for key, value in trace.items() if key not in ("meta", "customdata")}
    return {"showlegend": "name" in trace, **kept}


def _titled(figure: Figure, heading: str) -> Figure:
    """With what stands above it on the page."""
    layout, above = figure["layout"], [standing_above(heading)]
    margin = {**layout["margin"], "t": 32}
    return {**figure, "layout": {**layout, "margin": margin, "annotations": above}}
