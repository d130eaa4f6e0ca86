"""The frontier figure, as the Optuna dashboard draws it on a study's page."""

import json

from service.dashboard_attributes import figure_attributes, figure_prefix
from service.database import Storage
from service.frontier import Frontier
from service.optuna_tables import replace_settings
from service.report.axes import Figure, nothing
from service.report.notation import in_figure
from service.report.palette import in_light_colours
from service.report.reading import reading
from service.report.steps_figure import steps_figure

NAME = "steps-to-target"
"""The figure's name among a study's figures."""


def frontier_figure(frontier: Frontier) -> str:
    """Steps to target against batch size as Plotly's JSON, in the report's light colours.

    The dashboard draws it as it is, on white and on dark pages; so it brings its own background.
    """
    label = f"Steps to target against batch size, {frontier.workload}"
    drawn: Figure = (
        steps_figure(frontier)
        if frontier.reached
        else nothing(label, reading(frontier) or "The goal was not reached.")
    )
    title = {"text": in_figure(drawn["label"]), "font": {"size": 14}, "x": 0, "xref": "paper"}
    layout = {**drawn["layout"], "title": title, "paper_bgcolor": "var(--paper)"}
    layout["margin"] = {**layout["margin"], "t": 64}
    return json.dumps(in_light_colours({"data": drawn["data"], "layout": layout}))


def store_figure(storage: Storage, frontier: Frontier) -> None:
    """Keep the figure, as it is now, with each study of the frontier, so that a plain
    `optuna-dashboard` shows it too."""
    attributes = figure_attributes(NAME, frontier_figure(frontier))
    with storage.write() as conn:
        for point in frontier.points:
            replace_settings(conn, point.study.id, figure_prefix(NAME), attributes)
