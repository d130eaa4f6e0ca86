"""`batchfront work`"""

import logging
import os
import sys
import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import click

from batchfront.cli import options
from batchfront.cli.completion import stored
from batchfront.cli.help import Command
from batchfront.cli.streams import forgive_output
from batchfront.phase_timer import Clock
from batchfront.study.study import Filter
from batchfront.worker.options import WorkerOptions
from batchfront.worker.signals import GRACE_SECONDS, end_on_sigterm, stop_on_signals, time_limit

log = logging.getLogger(__name__)


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  batchfront work
  batchfront work ./my_workload.py:my_workload
  batchfront work --code .
  batchfront work digits/mlp/momentum --batch-sizes 2..64 --device cuda:1
  batchfront work --storage postgresql://batchfront@db/batchfront --forever --max-time 12h
""",
)
@click.argument("workloads", nargs=-1, shell_complete=stored)
@options.storage
@options.batch_sizes
@options.told(WorkerOptions, "worker")
@options.data_dir
@options.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--worker-id", default=lambda: uuid4().hex, hidden=True)
@click.option("--purposes", default="", hidden=True, help="Only studies with these purposes.")
@click.option("--sharing", default=1, hidden=True, help="Workers that share the device.")
@click.option("--leash", is_flag=True, hidden=True, help="Stop when standard input closes.")
def command(
    workloads: tuple[str, ...],
    storage: str,
    batch_sizes: tuple[int, ...] | None,
    worker: WorkerOptions,
    quiet: bool,
    worker_id: str,
    purposes: str,
    sharing: int,
    leash: bool,
) -> None:
    """Run trials of planned studies until none is left.

    WORKLOAD restricts it to some of them, each a name as `batchfront status` shows it, or what it
    was planned from, such as a file.py:function. Only code of the catalog is run, of the files that
    are named here, and of --code.

    Start as many as there are devices, on any machine, at any time. Ctrl-C, or SIGTERM, saves the
    trials in hand and gives them back.
    """
    clock = Clock()  # before the imports, which take a second or more
    forgive_output()
    with end_on_sigterm():
        from batchfront.cli.local_run import say_if_empty, say_what_waits
        from batchfront.cli.output.progress import showing
        from batchfront.cli.output.standing import Here
        from batchfront.frontier.queries import require
        from batchfront.store.retry import Patience
        from batchfront.store.url import open_storage
        from batchfront.study.code import meant, open_without_code
        from batchfront.study.study import require_code
        from batchfront.training.device_names import resolve, visible_gpus
        from batchfront.worker.worker import Settings, Worker
        from batchfront.workload.trust import Trust

        Trust.of(worker.code)  # refuses what isn't there
        longest = min(worker.max_outage, worker.max_time or worker.max_outage)
        patience = Patience(longest, threading.Event())
        opened = patience(lambda: open_storage(storage))
        named = patience(lambda: meant(opened, workloads, Path.cwd()))
        if worker.until_done:
            patience(lambda: require(opened, named.names))
            patience(lambda: say_if_empty(opened))
        patience(lambda: require_code(opened, named.names))
        of = tuple(filter(None, purposes.split(",")))
        wanted = Filter(named.names, batch_sizes or (), purposes=of)
        for imported in patience(lambda: open_without_code(opened, wanted)):
            log.warning("%s: passed over, as it was imported, and its code isn't here", imported)
        worker = replace(worker, code=(*worker.code, *named.code))
        worker = options.with_checkpoints(worker, storage)
        device = resolve(worker.device, 0 if worker.device == "cpu" else len(visible_gpus()))
        settings = Settings(worker_id, device, wanted, worker, sharing)
    with (
        stop_on_signals(within=GRACE_SECONDS) as stop,
        time_limit(worker.max_time, stop),
        nullcontext() if quiet else showing(opened, wanted, Here(stopping=stop.is_set)),
    ):
        if leash:
            threading.Thread(target=_wait_for_end, args=(stop,), daemon=True).start()
        Worker(opened, settings, stop, clock).run()
    if not (leash or stop.is_set()):
        say_what_waits(opened, wanted)
    opened.close()


def _wait_for_end(stop: threading.Event) -> None:
    # Ends when the launcher has gone, however it went. Not by `sys.stdin`, whose lock would be held
    # for good in whatever training forks, such as a data loader's workers, which close it first.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    stop.set()
