"""`batchfront model`"""

from pathlib import Path

import click

from batchfront.cli import options
from batchfront.cli.completion import stored
from batchfront.cli.output.lines import put


@click.command(
    epilog="""\b
Examples:
  batchfront model digits/mlp/momentum --batch-size 64 --output model
"""
)
@click.argument("workload", shell_complete=stored)
@options.storage
@options.batch_size
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="The folder to write, which is not there yet or empty.",
)
@options.checkpoint_dir
def command(
    workload: str, storage: str, batch_size: int, output: Path, checkpoint_dir: str | None
) -> int:
    """Write the model that won at a batch size, with its recipe.

    The folder gets weights.safetensors, as the winner was when it passed the goal, which
    load_state_dict of its model takes, and recipe.json: metaparameters, schedule, seed, versions,
    and the line that makes the same weights again. Where none were kept, that line is printed.
    """
    from batchfront.errors import BatchfrontError
    from batchfront.exchange.model import RECIPE, WEIGHTS, KeptWeights, require_folder, write_model
    from batchfront.frontier.reached_trial import find_reached
    from batchfront.frontier.recipe import load_winners_recipe
    from batchfront.store.snapshot import snapshot
    from batchfront.store.url import open_storage

    opened = open_storage(storage)
    with snapshot(opened) as moment:
        winner = find_reached(moment, workload, batch_size)
        recipe = load_winners_recipe(moment, workload, batch_size)
    weights = KeptWeights(opened, checkpoint_dir).of(winner)
    winner.require_weights(kept=weights is not None)
    require_folder(output)
    files = write_model(output, weights, recipe.to_dict())
    if weights is None:
        raise BatchfrontError(
            f"no weights are kept of trial {winner.trial.number} of study {winner.study.name}; "
            f"{output / RECIPE} is written, and this makes them: "
            f"{winner.replayed(str(output / WEIGHTS))}"
        )
    put(
        f"{winner.study.name}: trial {winner.trial.number}, {winner.frontier.goal_text} in "
        f"{winner.steps:,} steps"
    )
    for path in files:
        put(f"{path}  {path.stat().st_size:,} bytes")
    put(f"The same weights again: {winner.replayed()}")
    return 0
