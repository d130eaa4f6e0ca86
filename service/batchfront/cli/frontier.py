"""`batchfront frontier`"""

import click

from batchfront.cli import options
from batchfront.cli.completion import stored


@click.command(epilog="\b\nExample:\n  batchfront frontier digits/mlp/momentum --format json")
@click.argument("workload", shell_complete=stored)
@options.storage
@options.option(
    "--first",
    type=click.IntRange(min=1),
    help="Count only so many complete trials of each study, the first by number.  [default: all]",
)
@options.format_
def command(workload: str, storage: str, first: int | None, format_: str) -> None:
    """Print steps to target against batch size.

    For each batch size: the fewest steps, the last look before the goal was passed, examples, the
    best trial and its metaparameters, and how the other trials ended. Then what a run is expected
    to take, the median over seeds, with its 90 % interval, and the metaparameters to run it with.
    """
    from batchfront.cli.output.frontier import print_frontier
    from batchfront.frontier.frontier import load_frontier

    frontier = load_frontier(storage, workload, first=first)
    print_frontier(frontier, None if first else frontier.expected, format_)
