"""Seconds per step at any batch size on any number of devices, from what was timed.

A step is `accumulation` micro-batches, forward and backward, the last of which the all-reduce of
the gradients may overlap, and the optimizer's step; the next batch may be loaded meanwhile. What of
this goes on at the same time is told by the whole steps that were timed, which the model is brought
to, too: near them it is a way to interpolate between them. Where none was, the interval spans from
everything overlapping to nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import hypot, log
from statistics import mean, median, pstdev

import numpy as np

from batchfront.advice.all_reduce import AllReduce
from batchfront.advice.intervals import Interval
from batchfront.advice.machines import Machine
from batchfront.advice.part_times import (
    REACH,
    PartTimes,
    Seconds,
    mean_seconds,
    own_error,
    spanning,
    weighted_error,
)
from batchfront.advice.timings import PEAK, Timing
from batchfront.errors import UsageError
from batchfront.frontier.recipe import Layout, lay_out
from batchfront.phrases import listed, several
from batchfront.vocabulary import TimedPart

_BACKWARD = 2 / 3
"""Of a forward and a backward pass, the share that the all-reduce may overlap: the backward one,
which takes twice as many operations."""

_UNCHECKED = 0.10
"""The standard deviation of the logarithm by which the sum of the parts is off, where no whole step
on as many devices was timed to check it."""

_UNSHARED = 0.4
"""The same on several devices, where no whole step on any number of them was: what processes lose
by handing over gradients and waiting for each other is in no part (`tests/benchmarks/hours.py`)."""

_CHECKED = 0.03
"""The same between whole steps that were timed, on as many devices, at the least."""

_FASTER = 0.8
"""Of what one device takes for its share of a batch: all of them together can't be so fast, as each
has that share to compute, whatever noise there is."""

_NOTHING = Seconds(0.0, 0.0)


@dataclass(frozen=True)
class StepTime:
    """What a step takes at a batch size on so many devices.

    seconds  -- of training one step, without evaluations
    error    -- the standard deviation of their logarithm, which the interval comes from
    layout   -- how the batch is shared out
    measured -- whether such a step was timed, or all of its parts were at these sizes, and other
                whole steps on as many devices to check their sum by
    notes    -- what is extrapolated, and from what, a sentence each
    outside  -- whether it lies outside of the batches, or micro-batches, that were timed
    """

    seconds: Interval
    layout: Layout
    measured: bool
    notes: tuple[str, ...] = ()
    error: float = 0.0
    outside: bool = False


@dataclass(frozen=True)
class _Overlap:
    """What goes on at the same time."""

    loading: bool
    all_reduce: bool


@dataclass(frozen=True)
class _Parts:
    """The parts of one step, before it is known what overlaps."""

    layout: Layout
    one_pass: Seconds
    update: Seconds
    loading: Seconds
    all_reduce: Seconds

    def seconds(self, overlap: _Overlap) -> float:
        """Of the whole step."""
        one = self.one_pass.value
        exposed = self.all_reduce.value
        if overlap.all_reduce:
            exposed = max(exposed - _BACKWARD * one, 0.0)
        computing = self.layout.accumulation * one + exposed + self.update.value
        loading = self.layout.accumulation * self.loading.value
        return max(computing, loading) if overlap.loading else computing + loading

    @property
    def error(self) -> float:
        """The standard deviation of the logarithm of the whole step, from those of its parts."""
        passes = self.layout.accumulation * self.one_pass.value  # which err together
        together = Seconds(passes, self.one_pass.error)
        return weighted_error([together, self.update, self.all_reduce])

    @property
    def known(self) -> bool:
        """Whether all were timed at these sizes."""
        return self.one_pass.known and self.loading.known and self.all_reduce.known

    @property
    def notes(self) -> Iterable[str]:
        """What was derived, and from what."""
        return (one.note for one in (self.one_pass, self.all_reduce) if one.note)


@dataclass(frozen=True)
class _Check:
    """A whole step that was timed, and its parts."""

    parts: _Parts
    seconds: float

    @property
    def devices(self) -> int:
        return self.parts.layout.devices


@dataclass(frozen=True, kw_only=True)
class StepTimes:
    """The timings of one workload on one kind of device, as a model of its steps.

    passes         -- of micro-batches on one device; where none were timed, of whole steps there;
                      None where neither was
    update         -- the optimizer's step
    loading        -- of micro-batches
    all_reduce     -- over any number of devices
    steps          -- whole steps, by number of devices
    of_whole_steps -- whether `passes` are whole steps, which nothing is known to be cut into
    accumulations  -- in how many micro-batches such a step was computed, by devices and batch size,
                      where that is known
    micro_batch    -- the most examples that a device holds at once, of what was timed
    held           -- the same where they were timed, whose memory may be another
    whole          -- why a batch must be computed at once; None: it may be cut
    group          -- of so many examples, which must stay together where it is cut
    machine        -- what the devices stand in; None: where they were timed
    memory_unknown -- whether its memory is given, and what passes take of it isn't known
    """

    passes: PartTimes | None
    update: Seconds
    loading: PartTimes | None
    all_reduce: AllReduce
    steps: Mapping[int, PartTimes]
    of_whole_steps: bool
    accumulations: Mapping[tuple[int, int], int]
    micro_batch: int | None = None
    held: int | None = None
    whole: str | None = None
    group: int = 1
    machine: Machine | None = None
    memory_unknown: bool = False

    @classmethod
    def of(
        cls,
        timings: Sequence[Timing],
        machine: Machine | None = None,
        *,
        gradient_bytes: int | None = None,
        whole: str | None = None,
        group: int = 1,
    ) -> "StepTimes":
        """Of the timings of a workload on one kind of device.

        gradient_bytes -- for an all-reduce over a network of which only the speed is given
        whole          -- why a batch must be computed at once
        group          -- of so many examples, which must stay together where it is cut

        Raises UsageError where the machine's devices don't hold the smallest micro-batch.
        """

        def of(part: TimedPart) -> list[Timing]:
            return [one for one in timings if one.part is part]

        wholes, updates = of(TimedPart.STEP), of(TimedPart.UPDATE)
        steps = {
            devices: found
            for devices in sorted({one.devices for one in wholes})
            if (found := PartTimes.of("batches", [s for s in wholes if s.devices == devices]))
        }
        parts, stated = of(TimedPart.PASS), _stated_limit(wholes)
        passes = PartTimes.of("micro-batches", parts)
        of_whole_steps = passes is None
        reduced = of(TimedPart.ALL_REDUCE)
        update, loading = _NOTHING, None
        if of_whole_steps:
            passes = steps.get(1)
            reduced = [] if passes is None else list(_what_sharing_adds(wholes, passes))
        else:
            loading = PartTimes.of("micro-batches", of(TimedPart.LOADING))
            update = Seconds(mean_seconds(updates[0]), own_error(updates[0])) if updates else update
        return cls(
            passes=passes,
            update=update,
            loading=loading,
            all_reduce=AllReduce.of(reduced, machine, gradient_bytes),
            steps=steps,
            of_whole_steps=of_whole_steps,
            accumulations={
                (one.devices, one.examples): int(one.versions["accumulation"])
                for one in wholes
                if one.versions.get("accumulation", "").isdecimal()
            },
            micro_batch=stated if of_whole_steps else micro_batch_limit(parts, machine),
            held=stated if of_whole_steps else micro_batch_limit(parts, None),
            whole=whole,
            group=group,
            machine=machine,
            memory_unknown=machine is not None
            and machine.memory is not None
            and not any(PEAK in one.versions for one in parts),
        )

    @property
    def devices(self) -> tuple[int, ...]:
        """The numbers of devices that were timed."""
        alone = () if self.passes is None else (1,)
        return tuple(sorted({*alone, *self.steps, *self.all_reduce.timed}))

    @property
    def too_fast(self) -> Layout | None:
        """The layout of a whole step that took clearly less than one of its devices takes for its
        share alone; None where none did, or passes were timed."""
        for check in self._shared:
            if check.seconds < _FASTER * check.parts.one_pass.value:
                return check.parts.layout
        return None

    @property
    def slower_than_one(self) -> Layout | None:
        """The layout of a whole step that took longer than one device takes for all of it; None
        where none did, or passes were timed."""
        alone = self.steps.get(1)
        for check in self._shared:
            layout = check.parts.layout
            batch_size = layout.devices * layout.per_device
            if alone is None or batch_size not in alone.sizes:
                continue
            if check.seconds > alone.at(batch_size).value:
                return layout
        return None

    @property
    def _shared(self) -> list[_Check]:
        """The whole steps on several devices, where passes are whole steps on one."""
        known = self.of_whole_steps and self.passes is not None
        return [check for check in self._checks if check.devices > 1] if known else []

    def at(self, batch_size: int, devices: int = 1) -> StepTime:
        """A step with a batch of so many examples, over so many devices.

        Raises UsageError for a batch that can't be shared or cut so, and past twice the range of
        devices, batch sizes and micro-batches that were timed, but for devices whose network is
        given.
        """
        layout = self._layout(batch_size, devices)
        alike = devices == 1 or not self._other_network(devices)
        alike = alike and layout == self._where_timed._layout(batch_size, devices)
        timed = self.steps.get(devices) if alike else None
        if timed is not None and batch_size in timed.sizes:
            return _step_time(timed.at(batch_size), layout)
        if self.passes is not None:
            return self._modelled(layout)
        if timed is not None:
            return _step_time(timed.at(batch_size), layout)
        there = listed([f"{number:,}" for number in self.steps])
        raise UsageError(
            f"whole steps were timed on {there} devices, and what tells those of another number, "
            "steps on one device, or their parts, was not"
        )

    def _layout(self, batch_size: int, devices: int) -> Layout:
        if self.whole is not None:
            if devices > 1:
                raise UsageError(f"{devices} devices can't share its batches: {self.whole}")
            return lay_out(batch_size)
        parts = self.accumulations.get((devices, batch_size))
        if parts is not None and batch_size % (devices * parts) == 0:
            known = Layout(devices, batch_size // devices // parts, parts)
            if self.micro_batch is None or known.micro_batch <= self.micro_batch:
                return known
        groups, left = divmod(batch_size, self.group)
        if self.group > 1 and (left or groups % devices):
            raise UsageError(
                f"a batch of {batch_size:,} examples does not divide among "
                f"{several(devices, 'device')} in groups of {self.group}, which its ghost batch "
                "normalization keeps together"
            )
        most = None if self.micro_batch is None else max(self.micro_batch // self.group, 1)
        shared = lay_out(groups, devices, most)
        return replace(shared, micro_batch=shared.micro_batch * self.group)

    def _other_network(self, devices: int) -> bool:
        """Whether so many devices are connected otherwise than those that were timed."""
        machine = self.machine
        if machine is None:
            return False
        return machine.bandwidth_within is not None or devices > machine.devices

    def _modelled(self, layout: Layout) -> StepTime:
        parts = self._parts(layout)
        took = [parts.seconds(overlap) for overlap in self._overlaps]
        value, width = spanning(min(took), max(took))
        correction = self._correction(layout)
        error = hypot(parts.error, width, correction.error)
        known = parts.known and correction.known and not self.of_whole_steps
        found = Seconds(value * correction.value, error, known)
        notes = [*parts.notes, *filter(None, [correction.note])]
        if self.of_whole_steps and layout.devices > 1:
            notes.append(
                f"No step with {layout.per_device:,} examples on each of {layout.devices} devices "
                "was timed: it is one on one device, and what sharing added to others."
            )
        return _step_time(found, layout, notes, outside=parts.one_pass.outside)

    def _parts(self, layout: Layout) -> _Parts:
        assert self.passes is not None
        if self.of_whole_steps:  # each with all of its micro-batches
            layout = Layout(layout.devices, layout.per_device, 1)
        at_once = layout.micro_batch
        loading = _NOTHING if self.loading is None else self.loading.at(at_once)
        all_reduce = self.all_reduce.at(layout.devices)
        return _Parts(layout, self.passes.at(at_once), self.update, loading, all_reduce)

    @cached_property
    def _where_timed(self) -> "StepTimes":
        """The same on the devices, and over the network, that were timed."""
        reduced = self.all_reduce.where_timed
        return replace(self, machine=None, micro_batch=self.held, all_reduce=reduced)

    @cached_property
    def _checks(self) -> list[_Check]:
        """The whole steps that were timed beside the sums of their parts."""
        where_timed = self._where_timed
        found = []
        for devices, timed in self.steps.items():
            for batch_size, seconds in zip(timed.sizes, timed.seconds, strict=True):
                try:
                    layout = where_timed._layout(batch_size, devices)
                    found.append(_Check(where_timed._parts(layout), seconds))
                except UsageError:  # what can't be put together can't be checked
                    continue
        return found

    @cached_property
    def _overlaps(self) -> list[_Overlap]:
        """What may overlap, by the whole steps that were timed."""
        alone = [check for check in self._checks if check.devices == 1]
        shared = [check for check in self._checks if check.devices > 1]
        loading: tuple[bool, ...] = (True, False)
        all_reduce: tuple[bool, ...] = (True, False)
        if alone:
            loading = (_likelier(alone, [_Overlap(hidden, True) for hidden in loading]).loading,)
        if shared and self.of_whole_steps:
            all_reduce = (False,)  # what sharing added was not hidden
        elif shared:
            some = [_Overlap(loading[0], hidden) for hidden in all_reduce]
            all_reduce = (_likelier(shared, some).all_reduce,)
        return [_Overlap(a, b) for a in loading for b in all_reduce]

    def _correction(self, layout: Layout) -> Seconds:
        """By what a whole step differs from its parts, by those that were timed: on as many
        devices, or on the nearest number, at the batch sizes on either side."""
        numbers = sorted({check.devices for check in self._checks})
        devices = layout.devices
        unshared = devices > 1 and not any(number > 1 for number in numbers)
        note = ""
        if unshared:
            note = (
                "No whole step was timed on several devices: what sharing a batch adds to it "
                "beside the all-reduce isn't known, and short steps may take several times as long."
            )
        if not numbers:
            note = note or "No whole step was timed, to check the sum of its parts by."
            return Seconds(1.0, _UNSHARED if unshared else _UNCHECKED, False, note)
        near = min(numbers, key=lambda number: abs(log(number / devices)))
        checks = [check for check in self._checks if check.devices == near]
        overlap = self._overlaps[0]
        at = [log(check.parts.layout.per_device) for check in checks]
        off = [log(check.seconds / check.parts.seconds(overlap)) for check in checks]
        value = float(np.exp(np.interp(log(layout.per_device), at, off)))
        scatter = pstdev(off) if len(off) > 1 else _UNCHECKED / 2
        if near == devices:
            return Seconds(value, hypot(_CHECKED, scatter / 2))
        if unshared:
            return Seconds(value, hypot(_UNSHARED, scatter), False, note)
        note = (
            f"No whole step was timed on {several(devices, 'device')}: the sum of its parts is "
            f"corrected as on {near}."
        )
        return Seconds(value, hypot(_UNCHECKED, scatter), False, note)


def micro_batch_limit(passes: Sequence[Timing], machine: Machine | None) -> int | None:
    """The most examples that a device holds at once, as far as was timed; None where no passes
    were. On a device with less memory than that takes, by the memory that the passes took.

    Raises UsageError where such a device doesn't hold the smallest.
    """
    if not passes:
        return None
    sizes = sorted(one.examples for one in passes)
    took = {one.examples: int(one.versions[PEAK]) for one in passes if PEAK in one.versions}
    if machine is None or machine.memory is None or not took:
        return sizes[-1]
    held = [size for size in sizes if size in took and took[size] <= machine.memory]
    if not held:
        raise UsageError(
            f"{machine.name}: its devices have {machine.memory:,} bytes of memory, and "
            f"micro-batches of {min(took):,} examples take {took[min(took)]:,}"
        )
    return held[-1]


def _stated_limit(wholes: Sequence[Timing]) -> int | None:
    """The most examples that a device had at once, of steps that say in how many micro-batches they
    were computed; None where none was in several, so that nothing tells a limit."""
    stated = [
        (one.examples // one.devices // parts, parts)
        for one in wholes
        if (parts := int(one.versions.get("accumulation", "0")))
    ]
    return max(stated)[0] if any(parts > 1 for _, parts in stated) else None


def _what_sharing_adds(wholes: Sequence[Timing], alone: PartTimes) -> Iterator[Timing]:
    """What a step takes longer on several devices than that of each one's share alone: as timings
    of an all-reduce, where no more is known of it."""
    numbers = sorted({one.devices for one in wholes if one.devices > 1})
    for number in numbers:
        added = []
        for one in wholes:
            share, left = divmod(one.examples, number)
            if one.devices == number and not left and _in_reach(alone, share):
                added.append(max(one.seconds - alone.at(share).value, 1e-3 * one.seconds))
        if added:
            example = next(one for one in wholes if one.devices == number)
            part = TimedPart.ALL_REDUCE
            yield replace(
                example, part=part, examples=0, seconds=median(added), low=None, high=None
            )


def _in_reach(times: PartTimes, size: int) -> bool:
    return times.sizes[0] / REACH <= size <= times.sizes[-1] * REACH


def _likelier(checks: Sequence[_Check], overlaps: Sequence[_Overlap]) -> _Overlap:
    """By which the sums of the parts come closest to the whole steps."""
    return min(
        overlaps,
        key=lambda overlap: mean(abs(log(c.seconds / c.parts.seconds(overlap))) for c in checks),
    )


def _step_time(
    found: Seconds, layout: Layout, notes: Sequence[str] = (), *, outside: bool = False
) -> StepTime:
    said = tuple(filter(None, [*notes, found.note]))
    seconds = Interval.around(found.value, found.error)
    return StepTime(seconds, layout, found.known, said, found.error, outside or found.outside)
