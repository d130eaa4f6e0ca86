"""Planned studies run by workers on this machine, their progress shown."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from batchfront.errors import UsageError
from batchfront.vocabulary import EngineName
from batchfront.worker.options import WorkerOptions
from batchfront.worker.signals import stop_on_signals


def devices_for(spec: str, worker: WorkerOptions, workers: int | None) -> list[str]:
    """The device of each worker on this machine. One worker on each device runs as many programs as
    are to be in memory together."""
    from batchfront.extras import has_torch
    from batchfront.training import device_names
    from batchfront.workload.catalog import is_sweep_file
    from batchfront.workload.sweep_file import read_sweep_file

    together = worker.devices_per_trial
    if not is_sweep_file(spec) and has_torch():
        from batchfront.training.devices import local_devices

        return local_devices(worker.device, workers, together)
    gpus = len(device_names.visible_gpus()) if worker.device != "cpu" else 0
    if is_sweep_file(spec):
        needed = read_sweep_file(Path(spec)).program.resources.gpus
        if needed > gpus:
            raise UsageError(
                f"{spec}, [resources] gpus: {needed} are needed, and there are {gpus} here"
                + (" with --device cpu" if worker.device == "cpu" else "")
            )
        together = max(together, needed)
    if workers is None and device_names.resolve(worker.device, gpus) == "cpu":
        workers = 1
    return device_names.local_devices(worker.device, workers, together, gpus)


def run_here(opened: Any, wanted: Any, worker: WorkerOptions, devices: Sequence[str]) -> bool:
    """Run these studies by a worker on each device, until they are done or Ctrl-C; whether all
    is done."""
    from batchfront.cli.output.progress import showing
    from batchfront.launch.local import LocalWorkers
    from batchfront.launch.worker_options import Order
    from batchfront.ledger.status import load_status

    order = Order(opened.url, wanted, worker)
    with (
        stop_on_signals() as stop,
        LocalWorkers(opened, order, devices, partial(click.echo, err=True)) as local,
        showing(opened, wanted),
    ):
        local.hold(stop)
    finished = load_status(opened, wanted).finished
    if not finished:
        click.echo("Interrupted; everything is kept. The same command continues.", err=True)
    return finished


def refuse_engine(planned: Any, worker: WorkerOptions) -> None:
    """Raise UsageError where the vectorized engine is asked for and can't compute the studies."""
    if worker.engine == EngineName.VECTORIZED and planned.studies:
        from batchfront.training.devices import following, resolve
        from batchfront.worker.engine_choice import refuse_unfit

        devices = following(resolve(worker.device), worker.devices_per_trial)
        refuse_unfit(planned.studies[0], devices)
