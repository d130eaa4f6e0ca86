"""`batchfront delete`"""

import sys
from typing import Any

import click

from batchfront.cli import options
from batchfront.cli.completion import stored
from batchfront.cli.output.lines import put
from batchfront.errors import UsageError


@click.command(
    epilog="""\b
Examples:
  batchfront delete digits/mlp/momentum
  batchfront delete digits/mlp/momentum --batch-sizes 2,4 --yes
"""
)
@click.argument("workload", shell_complete=stored)
@options.storage
@options.batch_sizes
@options.checkpoint_dir
@options.trial_dir
@click.option("--yes", is_flag=True, help="Don't ask.")  # not from the environment
def command(
    workload: str,
    storage: str,
    batch_sizes: tuple[int, ...] | None,
    checkpoint_dir: str | None,
    trial_dir: str | None,
    yes: bool,
) -> None:
    """Delete a workload's studies, with all that was run, for good.

    WORKLOAD is a name as `batchfront status` shows it. What ran the winners again goes with them,
    and so do Optuna's trials, the checkpoints, the weights of winners, and the folders of programs
    with their logs. Asks first.
    """
    from batchfront.plan.delete import delete_doomed, find_doomed
    from batchfront.store.commands import command as whole
    from batchfront.store.url import open_storage

    opened = open_storage(storage)
    doomed = find_doomed(opened, workload, batch_sizes)
    if not (yes or sys.stdin.isatty()):
        told = [] if batch_sizes is None else ["--batch-sizes", ",".join(map(str, batch_sizes))]
        told += [] if checkpoint_dir is None else ["--checkpoint-dir", checkpoint_dir]
        told += [] if trial_dir is None else ["--trial-dir", trial_dir]
        at_once = whole(opened, "delete", workload, *told, "--yes")
        raise UsageError(f"nobody is there to be asked; without asking: {at_once}")
    put(_summary(doomed))
    if not yes:
        click.confirm("Delete all of it, for good?", abort=True)
    checkpoints = options.checkpoints_for(storage, checkpoint_dir)
    delete_doomed(opened, doomed, checkpoints, options.trials_for(storage, trial_dir))
    put("Deleted.")


def _summary(doomed: Any) -> str:
    """What there is to lose, in a line."""
    from batchfront.cli.output.status import duration
    from batchfront.cli.output.workloads import sizes

    there = sizes([study.batch_size for study in doomed.searches])
    count, others = len(doomed.searches), len(doomed.studies) - len(doomed.searches)
    studies = f"{count} studies of batch sizes" if count > 1 else "1 study of batch size"
    again = f", and {others} that ran trials again" if others else ""
    return (
        f"{doomed.workload}: {studies} {there}{again}, with {doomed.trials:,} trials and "
        f"{duration(doomed.seconds)} of training"
    )
