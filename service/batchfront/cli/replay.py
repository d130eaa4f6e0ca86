"""`batchfront replay`"""

import sys
from pathlib import Path
from typing import Any

import click

from batchfront.cli import options
from batchfront.cli.commands import telling_how_it_may
from batchfront.cli.completion import stored
from batchfront.cli.output.lines import complain, put, say
from batchfront.cli.streams import others_aside


@click.command(
    epilog="""\b
Examples:
  batchfront replay digits/mlp/momentum --batch-size 64 --save weights.safetensors
  batchfront replay digits/mlp/momentum --batch-size 64 --trial 3 --save third.safetensors
"""
)
@click.argument("workload", shell_complete=stored)
@options.storage
@options.batch_size
@click.option(
    "--trial", type=int, help="The number of one that reached the goal.  [default: the winner]"
)
@click.option(
    "--save",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="PATH",
    help="The file to write the weights to, as safetensors.",
)
@options.device
@options.checkpoint_dir
@options.code
@options.data_dir
def command(
    workload: str,
    storage: str,
    batch_size: int,
    trial: int | None,
    save: Path,
    device: str,
    checkpoint_dir: str | None,
    code: tuple[str, ...],
) -> int:
    """Run a trial again by itself, and write its weights as it passes the goal.

    WORKLOAD is a name as `batchfront status` shows it. Says whether the trial reached the goal at
    the same step, and, where its weights were kept, whether these are the same to the bit. Nothing
    is written to the database.
    """
    from batchfront.exchange.model import KeptWeights, require_new_file
    from batchfront.frontier.reached_trial import find_reached
    from batchfront.store.url import open_storage
    from batchfront.training.device_names import resolve, visible_gpus
    from batchfront.whole_file import write_files
    from batchfront.worker.replay import replay

    opened = open_storage(storage)
    reached = find_reached(opened, workload, batch_size, trial)
    kept = KeptWeights(opened, checkpoint_dir).of(reached)
    reached.require_weights(kept=kept is not None)
    require_new_file(save, "--save")
    chosen = resolve(device, 0 if device == "cpu" else len(visible_gpus()))
    name = f"trial {reached.trial.number} of study {reached.study.name}"
    say(f"Replaying {name}, {reached.steps:,} steps …")
    with telling_how_it_may(), others_aside():
        replayed = replay(opened, reached, chosen, _progress(reached.steps), code)
    _say_outcome(name, replayed)
    if replayed.weights is not None:
        write_files({save: replayed.weights}, "--save")
        put(f"{save}: {_compared(replayed.weights, kept)}")
    for difference in replayed.differs:
        complain(f"computed otherwise: {difference}")
    return 0 if replayed.same else 1


def _progress(steps: int) -> Any:
    """Shows on a terminal how far a replay is."""

    def show(step: int) -> None:
        end = "\n" if step >= steps else ""
        print(f"\r{step:,} of {steps:,} steps", end=end, file=sys.stderr, flush=True)

    return show if sys.stderr.isatty() else lambda _: None


def _say_outcome(name: str, replayed: Any) -> None:
    expected, found = replayed.reached.steps, replayed.result.steps_to_target
    if replayed.same:
        put(f"{name}: passed the goal at step {expected:,}, as in the search")
    elif found is not None:
        put(f"{name}: passed the goal at step {found:,}, and at {expected:,} in the search")
    else:
        reason = replayed.result.reason.splitlines()[0]
        put(f"{name}: not passed ({reason}); it was at step {expected:,} in the search")


def _compared(weights: bytes, kept: bytes | None) -> str:
    from batchfront.training.kept_models import differing

    if kept is None:
        return "written; none were kept of it to compare them with"
    found = differing(weights, kept)
    if not found:
        return "written, the same to the bit as those that were kept of it"
    largest = max(found.values())
    return (
        f"written; {len(found)} of its tensors differ from those that were kept of it, by "
        f"{largest:.2g} at most"
    )
