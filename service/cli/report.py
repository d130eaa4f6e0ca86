"""`batchfront report`"""

from pathlib import Path

import click

from service.cli import options


@click.command(
    epilog="""\b
Examples:
  batchfront report
  batchfront report digits/mlp/momentum digits/mlp/sgd --output momentum.html
"""
)
@click.argument("workloads", nargs=-1)
@options.storage
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    envvar="BATCHFRONT_REPORT",
    help="Where to write the page.",
)
def command(workloads: tuple[str, ...], storage: str, output: Path) -> None:
    """Write the interactive report page.

    One self-contained HTML file, of these WORKLOADS or of all that the database holds.
    """
    from service.report import write_report
    from service.storage import open_storage

    write_report(open_storage(storage), workloads, output)
    click.echo(f"Report: {output}", err=True)
