"""`batchfront delete`"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from batchfront.cli import options
from batchfront.cli.completion import stored
from batchfront.cli.output.lines import put
from batchfront.errors import UsageError
from batchfront.phrases import listed

if TYPE_CHECKING:
    from batchfront.plan.delete import Doomed
    from batchfront.store.database import Storage


@click.command(
    epilog="""\b
Examples:
  batchfront delete digits/mlp/momentum
  batchfront delete digits/mlp/momentum --batch-sizes 2,4 --yes
  batchfront delete digits/mlp/momentum --timings
"""
)
@click.argument("workload", shell_complete=stored)
@options.storage
@options.batch_sizes
@options.checkpoint_dir
@options.trial_dir
@click.option("--timings", is_flag=True, help="Delete its timings alone; the studies stay.")
@click.option("--probes", is_flag=True, help="Delete its probes alone; the studies stay.")
@click.option("--yes", is_flag=True, help="Don't ask.")  # not from the environment
def command(
    workload: str,
    storage: str,
    batch_sizes: tuple[int, ...] | None,
    checkpoint_dir: str | None,
    trial_dir: str | None,
    timings: bool,
    probes: bool,
    yes: bool,
) -> None:
    """Delete a workload's studies, with all that was run, for good.

    WORKLOAD is a name as `batchfront status` shows it, or that of one study which can't be read;
    an Optuna study of somebody else's that has its id or its name stays. What ran the winners again
    goes with them, and so do Optuna's trials, the checkpoints, the weights of winners, and the
    folders of programs with their logs; with the last study, timings and probes. Asks first.
    """
    from batchfront.plan.delete import delete_doomed, find_doomed
    from batchfront.plan.forget import delete_alone, find_alone
    from batchfront.store.url import open_storage

    opened = open_storage(storage)
    if timings or probes:
        if batch_sizes is not None:
            raise UsageError("--batch-sizes: timings and probes are deleted of all of them")
        found = find_alone(opened, workload, timed=timings, probed=probes)
        told = ["--timings"] * timings + ["--probes"] * probes
        _ask(opened, f"{workload}: {listed(found.words())}", [workload, *told], yes)
        delete_alone(opened, workload, timed=timings, probed=probes)
    else:
        doomed = find_doomed(opened, workload, batch_sizes)
        told = [] if batch_sizes is None else ["--batch-sizes", ",".join(map(str, batch_sizes))]
        told += [] if checkpoint_dir is None else ["--checkpoint-dir", checkpoint_dir]
        told += [] if trial_dir is None else ["--trial-dir", trial_dir]
        _ask(opened, _summary(doomed), [workload, *told], yes)
        checkpoints = options.checkpoints_for(storage, checkpoint_dir)
        delete_doomed(opened, doomed, checkpoints, options.trials_for(storage, trial_dir))
    put("Deleted.")


def _ask(opened: "Storage", lost: str, told: Sequence[str], yes: bool) -> None:
    """Say what is lost and ask whether it may be, unless that was answered beforehand."""
    from batchfront.store.commands import command as whole

    if not (yes or sys.stdin.isatty()):
        at_once = whole(opened, "delete", *told, "--yes")
        raise UsageError(f"nobody is there to be asked; without asking: {at_once}")
    put(lost)
    if not yes:
        click.confirm("Delete all of it, for good?", abort=True)


def _summary(doomed: "Doomed") -> str:
    """What there is to lose, in a line."""
    from batchfront.cli.output.status import duration
    from batchfront.cli.output.workloads import sizes

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
    if not doomed.studies:
        return f"{doomed.workload}: {listed(doomed.found.words())}, and no study"
    trained = [f"{duration(doomed.seconds)} of training"] if there else []
    with_them = listed([f"{doomed.trials:,} trials", *trained, *doomed.found.words()])
    return f"{listed([*there, *lost])}, with {with_them}"
