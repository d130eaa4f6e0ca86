"""`batchfront time`"""

from pathlib import Path

import click

from batchfront.cli import options
from batchfront.cli.commands import telling_how_it_may
from batchfront.cli.completion import stored_or_to_run
from batchfront.cli.output.lines import say
from batchfront.cli.streams import others_aside
from batchfront.worker.timed import TimingOptions


@click.command(
    epilog="""\b
Examples:
  batchfront time digits/mlp/momentum
  batchfront time digits/mlp/momentum --devices-per-trial 1,2,4
  batchfront time digits/mlp/momentum --device cuda:1 --batch-sizes 64..4096
"""
)
@click.argument("workload", shell_complete=stored_or_to_run)
@options.storage
@options.told(TimingOptions, "asked")
@options.data_dir
@options.format_
def command(workload: str, storage: str, asked: TimingOptions, format_: str) -> None:
    """Time the parts of a workload's training on this machine.

    WORKLOAD is a name as `batchfront status` shows it, or what `plan` takes: it need not be
    planned. Times what a trial computes: forward and backward of micro-batches, the optimizer's
    step, loading, an evaluation, adding up gradients over devices, and whole steps. Each is timed
    at least 20 times unless that takes too long, in about a minute for each number of devices.
    What was timed is kept in the database by kind of device, for `advise`; timed again,
    it takes the place of what was there.
    """
    from batchfront.advice.timings import keep_timings
    from batchfront.store.url import open_to_write
    from batchfront.training.device_names import refuse_missing
    from batchfront.worker.timing import time_workload
    from batchfront.workload.trust import Trust

    Trust.of(asked.code)  # refuses what isn't there
    opened = open_to_write(storage)
    refuse_missing(asked.device, per_trial=max(asked.devices_per_trial))
    with telling_how_it_may(), others_aside():
        timed = time_workload(opened, workload, asked, Path.cwd(), say)
    keep_timings(opened, timed.timings)
    from batchfront.cli.output.timings import print_timings  # late: it brings scipy

    print_timings(timed, format_)
