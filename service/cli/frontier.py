"""`batchfront frontier`"""

import click

from service.cli import options


@click.command(epilog="\b\nExample:\n  batchfront frontier digits/mlp/momentum --format json")
@click.argument("workload")
@options.storage
@options.format_
def command(workload: str, storage: str, format_: str) -> None:
    """Print steps to target against batch size.

    For each batch size: the fewest steps, the last look before the goal was passed, examples, the
    best trial and its metaparameters, and how the other trials ended.
    """
    from service.cli.tables import print_frontier
    from service.frontier import load_frontier

    print_frontier(load_frontier(storage, workload), format_)
