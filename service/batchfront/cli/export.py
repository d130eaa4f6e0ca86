"""`batchfront export`"""

from pathlib import Path

import click

from batchfront.cli import options
from batchfront.cli.completion import stored
from batchfront.cli.output.lines import put


@click.command(
    epilog="""\b
Examples:
  batchfront export --output studies
  batchfront export digits/mlp/momentum --output studies --format csv
"""
)
@click.argument("workloads", nargs=-1, shell_complete=stored, metavar="[WORKLOAD ...]")
@options.storage
@options.option(
    "--output",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="A new folder, or one with an earlier export, which is replaced.",
)
@click.option(  # not from the environment, where --format may say table
    "--format",
    "format_",
    type=click.Choice(["parquet", "csv", "spreadsheet"]),
    default="parquet",
    show_default=True,
    help="Of the files; spreadsheet is CSV with an apostrophe before text that would be a formula.",
)
def command(workloads: tuple[str, ...], storage: str, output: Path, format_: str) -> None:
    """Write studies, trials, measurements and frontier as tables.

    One file each, of these workloads or of all, which `batchfront import export DIR` reads back.
    Trials that are not done are written as not begun.
    """
    from batchfront.cli.output.progress import bar
    from batchfront.exchange.export import count_studies, export
    from batchfront.frontier.queries import require, require_some
    from batchfront.store.snapshot import snapshot

    with snapshot(storage) as moment:
        require(moment, workloads)
        require_some(moment)
        with bar("studies", count_studies(moment, workloads)) as advance:
            rows = export(moment, workloads, output, format_, advance)
    put(f"{output}: {', '.join(f'{n:,} {name}' for name, n in rows.items())}")
