"""`batchfront delete`"""

import sys
from typing import TYPE_CHECKING

import click

from batchfront.cli import options
from batchfront.cli.completion import stored
from batchfront.cli.output.lines import put
from batchfront.errors import UsageError

if TYPE_CHECKING:
    from batchfront.plan.delete import Doomed


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

    WORKLOAD is a name as `batchfront status` shows it, or that of one study which can't be read;
    an Optuna study of somebody else's that has its id or its name stays. What ran the winners again
    goes with them, and so do Optuna's trials, the checkpoints, the weights of winners, and the
    folders of programs with their logs. Asks first.
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


def _summary(doomed: "Doomed") -> str:
    """What there is to lose, in a line."""
    from batchfront.cli.output.status import duration
    from batchfront.cli.output.workloads import sizes
    from batchfront.phrases import listed

    there, lost = (
        [],
        [f"study {one.name}, which can't be read ({one.why})" for one in doomed.unreadable],
    )
    if count := len(doomed.searches):
        known = sizes([study.batch_size for study in doomed.searches])
        studies = f"{count} studies of batch sizes" if count > 1 else "1 study of batch size"
        there.append(f"{doomed.workload}: {studies} {known}")
    if again := len(doomed.reruns):
        there.append(f"{again} that ran trials again")
    trained = f" and {duration(doomed.seconds)} of training" if there else ""
    return f"{listed([*there, *lost])}, with {doomed.trials:,} trials{trained}"
