"""The frontier figure, as the Optuna dashboard draws it on a study's page."""

import json

from batchfront.frontier.frontier import Frontier
from batchfront.report.figures import titled
from batchfront.report.plotly import Figure, in_light_colours, nothing
from batchfront.report.sections.curve import steps_figure
from batchfront.report.text import reading
from batchfront.store.database import Storage
from batchfront.store.optuna_dashboard import figure_attributes, figure_prefix
from batchfront.store.optuna_tables import replace_settings

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
    layout = {**titled(drawn), "paper_bgcolor": "var(--paper)"}
    return json.dumps(in_light_colours({"data": drawn["data"], "layout": layout}))


def store_figure(storage: Storage, frontier: Frontier) -> None:
    """Keep the figure, as it is now, with each study of the frontier, so that a plain
    `optuna-dashboard` shows it too."""
    attributes = figure_attributes(NAME, frontier_figure(frontier))
    with storage.write() as conn:
        for point in frontier.points:
            replace_settings(conn, point.study.id, figure_prefix(NAME), attributes)
