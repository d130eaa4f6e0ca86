"""Planned studies run by workers on this machine, their progress shown."""

from collections.abc import Sequence
from typing import Any

from batchfront.cli.output.lines import pass_on, say
from batchfront.vocabulary import EngineName
from batchfront.worker.options import WorkerOptions
from batchfront.worker.signals import stop_on_signals


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
        LocalWorkers(opened, order, devices, pass_on) as local,
        showing(opened, wanted, profiled=True),
    ):
        local.hold(stop)
    finished = load_status(opened, wanted).finished
    if not finished:
        say("Interrupted; everything is kept. The same command continues.")
    return finished


def named_code(planned: Any) -> tuple[str, ...]:
    """The file of the workload that was planned just now, which its workers may run."""
    from batchfront.workload.source import find_source

    source = find_source(planned.studies[0].spec)
    return () if source is None else (str(source.file),)


def refuse_engine(planned: Any, worker: WorkerOptions) -> None:
    """Raise UsageError where the vectorized engine is asked for and can't compute the studies."""
    if worker.engine == EngineName.VECTORIZED and planned.studies:
        from batchfront.study.code import spec_here
        from batchfront.training.devices import following, resolve
        from batchfront.worker.engine_choice import refuse_unfit
        from batchfront.workload.trust import Trust

        devices = following(resolve(worker.device), worker.devices_per_trial)
        study = planned.studies[0]
        refuse_unfit(study, spec_here(study, Trust.of(worker.code)), devices)
