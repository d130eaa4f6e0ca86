"""`batchfront report`"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchfront.advice.options import AdviceOptions
from batchfront.cli import options
from batchfront.cli.completion import stored
from batchfront.cli.output.lines import put, say
from batchfront.cli.serving import Listening, listening
from batchfront.errors import UsageError
from batchfront.frontier.curve import Asked

if TYPE_CHECKING:
    from batchfront.report.options import PageOptions
    from batchfront.store.database import Storage

_LEFT = ("device", "deadline", "budget", "spot", "saves", "costs_more")
"""To `batchfront advise`, of what can be asked in hours and money."""


@click.command(
    epilog="""\b
Examples:
  batchfront report
  batchfront report digits/mlp/momentum digits/mlp/sgd --output momentum.html
  batchfront report digits/mlp/momentum --figures figures --figure-format pdf
  batchfront report --price 2.5 --devices 1..64
  batchfront report --serve
"""
)
@click.argument("workloads", nargs=-1, shell_complete=stored)
@options.storage
@click.option(
    "--output",
    "-o",
    type=click.Path(),
    default="report.html",
    show_default=True,
    envvar="BATCHFRONT_REPORT",
    metavar="PATH",
    help="Where to write the page. In a folder: an index, and a page for each workload.",
)
@options.option(
    "--dashboard",
    metavar="URL",
    help="The Optuna dashboard that each trial is linked to, such as http://127.0.0.1:8080.",
)
@options.told(Asked, "curve")
@options.option(
    "--figures",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the main figures into this folder instead, each as a file for a paper.",
)
@options.option(
    "--figure-format",
    type=click.Choice(["svg", "png", "pdf"]),
    default="svg",
    show_default=True,
    help="Of the files that --figures writes.",
)
@options.told(AdviceOptions, "hours", without=_LEFT, not_from_environment=("devices",))
@options.option("--serve", is_flag=True, help="Serve the page instead, kept up to date.")
@listening(8090)
def command(
    workloads: tuple[str, ...],
    storage: str,
    output: str,
    dashboard: str | None,
    curve: Asked,
    figures: Path | None,
    figure_format: str,
    hours: AdviceOptions,
    serve: bool,
    at: Listening,
) -> int:
    """Write the interactive report page, or serve it.

    One self-contained HTML file, of these WORKLOADS or of all that the database holds; of more
    than 24 it is an index, and their pages are in a folder beside it. Served, there is a page for
    each workload, which is made anew while trials end, and a browser that shows it follows;
    /metrics is for Prometheus, and /healthz for load balancers. A database role that can only read
    is enough.
    """
    from batchfront.advice.machines import load_machines
    from batchfront.report.options import PageOptions
    from batchfront.store.url import open_storage

    if figures is not None and serve:
        raise UsageError("--figures and --serve: use one of them")
    opened = open_storage(storage)
    if hours.machines is not None:
        load_machines(Path(hours.machines))  # one that can't be is refused before any page is made
    if figures is not None:
        from batchfront.report.figures import write_figures

        for path in write_figures(opened, workloads, figures, figure_format, curve):
            put(path)
        return 0
    asked = PageOptions(curve, hours)
    if serve:
        return _serve(opened, workloads, dashboard, asked, at)
    from batchfront.cli.output.progress import bar
    from batchfront.frontier.queries import workload_names
    from batchfront.report.files import write_report

    path = Path(output)
    if output.endswith(os.sep) and not path.is_dir():
        raise UsageError(f"--output {output}: there is no such folder; make it, or name a file")
    with bar("workloads", len(workloads) or len(workload_names(opened))) as advance:
        written = write_report(opened, workloads, path, dashboard, advance, asked)
    say(f"Report: {written}")
    return 0


def _serve(
    opened: "Storage",
    workloads: tuple[str, ...],
    dashboard: str | None,
    asked: "PageOptions",
    at: Listening,
) -> int:
    from batchfront.report.web.guards import only_reading
    from batchfront.report.web.live_report import live_report
    from batchfront.report.web.metrics import with_metrics
    from batchfront.report.web.server import serve

    app, pages = live_report(opened, workloads, dashboard=dashboard, asked=asked)
    reading = only_reading(with_metrics(app, opened, workloads), "the report is for reading")
    code = serve(at.open(reading, opened, "Report", "read it"))
    pages.close()
    return code
