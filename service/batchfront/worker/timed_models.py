"""Times what batchfront trains: every part of a training step, as a trial computes it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import torch

from batchfront.advice.timings import PEAK, Timing
from batchfront.phrases import listed
from batchfront.store.database import Storage
from batchfront.store.retry import impatient
from batchfront.study.identity import refuse_other_identity
from batchfront.training.device_names import refuse_more_processes
from batchfront.training.devices import describe, following, resolve, use_one_thread
from batchfront.training.distributed.gradient import share_of
from batchfront.training.distributed.leader import LeaderRun
from batchfront.training.model_run import ModelRun
from batchfront.training.preflight.wording import naming
from batchfront.training.timing import Alone, time_alone, time_together
from batchfront.vocabulary import TimedPart
from batchfront.worker.microbatch_sizes import KnownMicroBatchSizes
from batchfront.worker.setup import Found, LoadedWorkload, Wanted
from batchfront.worker.timed import SECONDS, Conditions, Say, Subject, Timed, TimingOptions
from batchfront.workload.search_space import point_at
from batchfront.workload.workload import powers_of_two

ACCUMULATION = "accumulation"
"""In a step's versions: in how many micro-batches it was computed, where that is known."""

_SMALLER = 8  # times smaller than here are the shares of a batch that more devices would have

_SMALLEST = 2  # examples of a micro-batch that nobody has asked for: some code can't do with one


def time_models(storage: Storage, subject: Subject, options: TimingOptions, say: Say) -> Timed:
    """Time a workload on one device, and then on every other number of them: see
    `time_workload`."""
    use_one_thread()
    device = resolve(options.device)
    if device.type == "cpu":
        refuse_more_processes(max(options.devices_per_trial))
    groups = [following(device, count) for count in options.devices_per_trial]
    found = _found(subject, options.batch_sizes)
    found.checked.refuse_devices(max(map(len, groups)))
    session = _Session(storage, subject, found, None if options.batch_sizes else SECONDS)
    with naming(found.workload, "its training fails"):
        timings = [one for devices in groups for one in session.on(devices, groups, say)]
    return Timed(subject.name, describe(device), tuple(timings), tuple(session.notes))


def _found(subject: Subject, batch_sizes: Sequence[int] | None) -> Found:
    """The workload's code, checked at all batch sizes that are timed."""
    studies = subject.studies
    if studies:
        sizes = batch_sizes or [study.batch_size for study in studies]
        return Found(replace(Wanted.by(studies[0]), batch_sizes=sizes), subject.spec)
    from batchfront.workload import catalog

    sizes = batch_sizes or catalog.load_trained(subject.spec).batch_sizes
    return Found(Wanted(subject.spec, sizes), subject.spec)


class _Session:
    """Times one workload on one number of devices after another.

    within -- seconds that each may take; None: any
    notes  -- what is to be known about what was timed, a sentence each
    """

    def __init__(
        self, storage: Storage, subject: Subject, found: Found, within: float | None
    ) -> None:
        self._storage, self._subject, self._found = storage, subject, found
        self._within = within
        self._batch_sizes = sorted(found.wanted.batch_sizes)
        self._too_long: Collection[int] = ()
        self.notes: list[str] = []

    def on(
        self,
        devices: Sequence[torch.device],
        groups: Sequence[Sequence[torch.device]],
        say: Say,
    ) -> list[Timing]:
        """The timings on these devices, which together compute a trial.

        groups -- all that are timed
        """
        first, count = devices[0], len(devices)
        sizes = KnownMicroBatchSizes(self._storage, impatient, first, devices.count(first))
        loaded = self._found.on(devices, sizes.recall)
        for study in self._subject.studies[:1]:
            refuse_other_identity(study, loaded.workload, loaded.identity_parts)
        precision = loaded.workload.execution.precision
        conditions = Conditions(self._subject.name, precision, describe(first), loaded.versions)
        try:
            if count > 1:
                return [*self._together(loaded, count, conditions, say)]
            run = self._run(loaded, self._batch_sizes[0])
            passes = self._passes(run, [len(group) for group in groups])
            say(f"Timing {self._subject.name} on {conditions.device}: passes, updates, steps …")
            alone = time_alone(run, passes, self._batch_sizes, self._stretch, self._within)
            self._too_long = alone.too_long
            self._take_note(alone, loaded)
            return [*self._alone(alone, run, conditions)]
        finally:
            loaded.close()

    def _alone(self, alone: Alone, run: ModelRun, conditions: Conditions) -> Iterator[Timing]:
        for (part, examples), took in alone.seconds.items():
            more = {}
            if part is TimedPart.PASS and examples in alone.peaks:
                more = {PEAK: alone.peaks[examples]}
            elif part is TimedPart.STEP:
                more = _accumulation(run, examples)
            yield conditions.timing(part, examples, took, **more)

    def _together(
        self, loaded: LoadedWorkload, count: int, conditions: Conditions, say: Say
    ) -> Iterator[Timing]:
        sizes = [size for size in self._batch_sizes if size not in self._too_long]
        each = None if self._within is None else self._within / max(len(sizes), 1)
        all_reduces: list[float] = []
        for batch_size in sizes:
            say(f"Timing {self._subject.name} on {count} devices: batches of {batch_size:,} …")
            run = self._run(loaded, batch_size)
            assert isinstance(run, LeaderRun)
            found = time_together(run, self._stretch(batch_size), each)
            for (part, examples), took in found.items():
                if part is TimedPart.ALL_REDUCE:  # the same, whatever the batch size
                    all_reduces += took
                else:
                    share = len(share_of(batch_size, 0, count, run.alone.quantum))
                    yield conditions.timing(
                        part, examples, took, count, **_accumulation(run, share)
                    )
        if all_reduces:
            yield conditions.timing(TimedPart.ALL_REDUCE, 0, all_reduces, count)

    def _take_note(self, alone: Alone, loaded: LoadedWorkload) -> None:
        """Say what wasn't timed, and why."""
        limit = loaded.micro_batches.micro_batch(self._batch_sizes[-1])
        if limit is not None:
            self.notes.append(
                f"Memory holds micro-batches of {limit:,} examples: larger batches are computed in "
                "several."
            )
        if loaded.workload.update is not None:
            self.notes.append(
                "Only whole steps are timed, as the workload's update= alone knows their parts."
            )
        if alone.too_large:
            self.notes.append(
                f"Memory is too small for batches of {_listed(alone.too_large)}, which can't be "
                "split."
            )
        if alone.too_long:
            self.notes.append(
                f"Batches and micro-batches of {_listed(alone.too_long)} examples were left out, "
                "as timing them would take more than a minute; batches that --batch-sizes names "
                "are timed however long it takes."
            )

    def _run(self, loaded: LoadedWorkload, batch_size: int) -> ModelRun:
        """A trial with the winner's metaparameters or, without any, those in the middle of the
        search space."""
        won = self._subject.nearest(batch_size)
        if won is not None:
            return loaded.run(batch_size, won.params, seed=0)
        workload = loaded.workload
        middle = [0.5] * len(workload.searched(batch_size))
        return loaded.run(batch_size, point_at(workload.space(batch_size), middle), seed=0)

    def _stretch(self, batch_size: int) -> int:
        """The steps from one evaluation to the next: on average, in a run as long as the winner's
        or, without one, as the step budget."""
        workload = self._found.workload
        near = min(self._batch_sizes, key=lambda size: abs(size - batch_size))
        won = self._subject.nearest(batch_size)
        steps = workload.steps_allowed(near) if won is None else round(won.steps or 1)
        return max(round(steps / len(workload.grid.steps(max(steps, workload.grid.first)))), 1)

    def _passes(self, run: ModelRun, counts: Sequence[int]) -> set[int]:
        """Sizes of micro-batches: the shares that devices have of the batches, and the powers of
        two from below the smallest to the largest, as far as they may be cut."""
        if run.alone.whole_batches:
            return {*self._batch_sizes}
        quantum = run.alone.quantum
        shares = {
            len(share_of(batch_size, rank, count, quantum))
            for batch_size in self._batch_sizes
            for count in counts
            for rank in range(count)
        } - {0}
        between = powers_of_two(max(min(shares) // _SMALLER, _SMALLEST), max(shares))
        return shares | {size for size in between if size % quantum == 0}


def _accumulation(run: ModelRun, share: int) -> dict[str, int]:
    """In how many micro-batches a device's share of a batch is computed, where it is in several."""
    gradient = run.alone
    at_once = gradient.micro_batch_size.size(share, gradient.quantum)
    return {} if at_once >= share else {ACCUMULATION: -(-share // at_once)}


def _listed(sizes: Sequence[int]) -> str:
    return listed([f"{size:,}" for size in sizes])
