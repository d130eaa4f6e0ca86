"""`batchfront recipe`"""

import click

from batchfront.cli import options
from batchfront.cli.completion import stored


@click.command(
    epilog="""\b
Examples:
  batchfront recipe digits/mlp/momentum --batch-size 64
  batchfront recipe digits/mlp/momentum --batch-size 96 --devices 4 --micro-batch 8
  batchfront recipe digits/mlp/momentum --batch-size 64 --format json
"""
)
@click.argument("workload", shell_complete=stored)
@options.storage
@options.batch_size
@options.option(
    "--devices", type=int, default=1, show_default=True, help="That share each batch equally."
)
@options.option(
    "--micro-batch",
    type=int,
    help="The most examples that a device holds at once.  [default: all of its share]",
)
@options.table_or_json
def command(
    workload: str,
    storage: str,
    batch_size: int,
    devices: int,
    micro_batch: int | None,
    format_: str,
) -> None:
    """Print how to train at a batch size: metaparameters, steps, and how a batch is shared out.

    At a batch size that was searched, these are of the trial that the curve goes through: the
    recommended one where it goes through the expected steps, otherwise the winner. Between two of
    them, steps lie on the curve, with its 90 % interval, and metaparameters between those of such
    trials. Both are said to be so. Further outside than a factor of 2 nothing is known, and where
    the points make no curve. Beside a winner's: what is recommended by a surrogate of all trials,
    and what it is expected to take, roughly.
    """
    from dataclasses import replace

    from batchfront.cli.output.recipe import print_recipe
    from batchfront.frontier.recipe import lay_out, load_recipe
    from batchfront.store.snapshot import snapshot

    with snapshot(storage) as moment:
        layout = lay_out(batch_size, devices, micro_batch) if batch_size > 0 else None
        recipe = load_recipe(moment, workload, batch_size, layout)
    recommended = recipe.frontier.expected.by_batch_size.get(batch_size)
    print_recipe(replace(recipe, recommended=recommended), format_)
