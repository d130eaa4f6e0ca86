"""Planned studies run by workers on this machine, their progress shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from batchfront.cli.commands import same_command
from batchfront.cli.output.lines import complain, pass_on, say
from batchfront.cli.streams import others_aside
from batchfront.options import DURATION
from batchfront.phrases import listed
from batchfront.vocabulary import EngineName
from batchfront.worker.options import RunLimits, WorkerOptions
from batchfront.worker.signals import stop_on_signals, time_limit


@dataclass(frozen=True)
class Ended:
    """How running studies ended.

    undone     -- what was left undone, in words; empty where all is done
    stopped_by -- the option that stopped it, as it was said; empty where none did
    waits      -- whether it waits for studies that weren't to be run
    """

    undone: str
    stopped_by: str = ""
    waits: bool = False

    @property
    def interrupted(self) -> bool:
        """Whether it was stopped by a person, or a signal, before all was done."""
        return bool(self.undone) and not (self.stopped_by or self.waits)


def run_here(
    opened: Any,
    wanted: Any,
    worker: WorkerOptions,
    devices: Sequence[str],
    limits: RunLimits | None = None,
    *,
    stalled: Callable[[Any, str], None] = lambda *_: None,
) -> Ended:
    """Run these studies by a worker on each device, until they are done, a limit or Ctrl-C.

    stalled -- is told, with the status and in words, that nothing gets on
    """
    from batchfront.cli.notification import StallWatch
    from batchfront.cli.output.progress import TimeWatch, Watch, showing
    from batchfront.cli.output.standing import Here
    from batchfront.launch.local import LocalWorkers
    from batchfront.launch.worker_options import Order
    from batchfront.ledger.status import load_status
    from batchfront.study.stopped import note_stop

    limits = RunLimits() if limits is None else limits
    if limits.max_steps is not None:
        # One that ends before the others have used up theirs gives them its trials.
        worker = replace(worker, max_steps=ceil(limits.max_steps / len(devices)))
    order = Order(opened.url, wanted, worker)
    watches: list[Watch] = [TimeWatch(opened), StallWatch(stalled)]
    with (
        stop_on_signals() as stop,
        time_limit(limits.max_time, stop) as over,
        LocalWorkers(opened, order, devices, pass_on) as local,
        showing(opened, wanted, Here(lambda: local.running, stop.is_set), watches),
    ):
        local.hold(stop)
    status = load_status(opened, wanted)
    undone = status.undone
    for line in () if undone else status.shared_out:
        say(line)
    waits = bool(undone) and not stop.is_set() and say_what_waits(opened, wanted)
    by = None
    if undone and not waits:
        by = _stopped_by(limits, over.is_set(), stop.is_set())
    note_stop(opened, wanted, by)
    if by is not None or waits:
        return Ended(undone, by or "", waits)
    if undone:
        say("Interrupted; everything is kept. The same command continues.")
    return Ended(undone)


def _stopped_by(limits: RunLimits, is_over: bool, told: bool) -> str | None:
    """The option that stopped a run, as it was said; None where it was a person, or a signal.

    is_over -- whether its time was
    told    -- whether it was told to stop, by its time or otherwise
    """
    if is_over:
        return f"--max-time {DURATION.text(limits.max_time)}"
    return None if limits.max_steps is None or told else f"--max-steps {limits.max_steps}"


def say_what_waits(opened: Any, wanted: Any) -> bool:
    """Say which trials of these studies can't be sampled before others of their search have ended,
    which weren't meant; whether there are any."""
    from batchfront.study.rounds import waited_for

    with opened.read() as conn:
        found = waited_for(conn, wanted)
    for workload, sizes in found.items():
        complain(
            f"trials of {workload} are left: they wait for those of batch size "
            f"{listed([str(size) for size in sizes])}, as each round is sampled from what all of "
            f"the one before have shown; {same_command(without='--batch-sizes')} runs them too"
        )
    return bool(found)


def say_if_empty(opened: Any) -> None:
    """Say of a database without studies what makes some: workers find nothing to do there."""
    from batchfront.frontier.queries import without_studies

    if (said := without_studies(opened)) is not None:
        complain(said)


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
        with others_aside():
            refuse_unfit(study, spec_here(study, Trust.of(worker.code)), devices)
