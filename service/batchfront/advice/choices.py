"""The ways to train a workload: on so many devices at a batch size, with hours and cost."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from batchfront.advice.evaluations import Evaluations
from batchfront.advice.intervals import Interval
from batchfront.advice.machines import Machine
from batchfront.advice.run_steps import RunSteps, Steps
from batchfront.advice.spot import with_losses
from batchfront.advice.step_time import StepTime, StepTimes
from batchfront.errors import UsageError
from batchfront.frontier.recipe import Layout
from batchfront.phrases import listed, percent

_AS_GOOD = 1.02
"""By so much longer a batch size may take that was measured than one that was not: a difference
that nobody could tell."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A number of devices with the batch size that takes the least time on them.

    devices          -- that share each batch
    machine          -- the name of the kind of machine; None where no machines were given
    nodes            -- how many of these machines
    layout           -- how the batch is shared out
    steps            -- that one run takes to the goal
    seconds_per_step -- of training, without evaluations
    hours            -- the whole run: training, evaluations, and what is repeated where spot
                        devices are taken away
    cost             -- of all devices for these hours, in the unit of the price; None without one
    evaluations      -- how many the run makes until the goal; None where nobody knows
    evaluation_hours -- what they add, as part of `hours`; None where no evaluation was timed, and
                        `hours` are without
    repeated_hours   -- what losses of spot devices add, as part of `hours`
    measured         -- whether both the steps of this batch size were measured and such a step was
                        timed, or all of its parts: nothing is interpolated or extrapolated
    notes            -- what it rests on that was not measured, a sentence each
    """

    devices: int
    batch_size: int
    layout: Layout
    steps: Interval
    seconds_per_step: Interval
    hours: Interval
    cost: Interval | None = None
    machine: str | None = None
    nodes: int = 1
    evaluations: int | None = None
    evaluation_hours: float | None = None
    repeated_hours: float = 0.0
    measured: bool = False
    notes: tuple[str, ...] = ()

    @property
    def device_hours(self) -> Interval:
        """The hours of all devices together."""
        return self.hours.times(self.devices)

    @property
    def training_hours(self) -> float:
        """The median of the hours that training takes alone."""
        return self.hours.median - (self.evaluation_hours or 0.0) - self.repeated_hours

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "devices": self.devices,
            "machine": self.machine,
            "nodes": self.nodes,
            "batch_size": self.batch_size,
            "layout": self.layout.to_dict(),
            "steps": self.steps.to_dict(),
            "seconds_per_step": self.seconds_per_step.to_dict(),
            "hours": self.hours.to_dict(),
            "device_hours": self.device_hours.to_dict(),
            "cost": None if self.cost is None else self.cost.to_dict(),
            "evaluations": self.evaluations,
            "evaluation_hours": self.evaluation_hours,
            "repeated_hours": self.repeated_hours,
            "measured": self.measured,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True)
class Choices:
    """All ways to train a workload on one kind of machine.

    steps       -- of one run, by batch size
    times       -- of one step, by batch size and devices
    evaluations -- None where they aren't known
    machine     -- None where none was given
    price       -- of a device for an hour
    spot        -- the probability that a device is taken away within an hour
    """

    steps: RunSteps
    times: StepTimes
    evaluations: Evaluations | None = None
    machine: Machine | None = None
    price: float | None = None
    spot: float | None = None

    def best(self, devices: int) -> Choice:
        """The batch size that takes the least time on so many devices, which costs the least, too.

        One outside of those that were measured, or of the batches and micro-batches that were
        timed, only where none of these can be shared out. Raises UsageError where nothing can be
        said of any.
        """
        nodes = self._nodes(devices)
        inside, outside = self._candidates(devices)
        timed, untimed = self._timed(inside, devices)
        if not timed:
            timed, beyond = self._timed(outside, devices)
            untimed = untimed or beyond
        if not timed:
            raise [*untimed.values(), self._none_divides(devices)][0]
        steps = self.steps.of(list(timed))
        found = {
            size: self._choice(size, devices, nodes, steps[size], timed[size]) for size in timed
        }
        within = [one for size, one in found.items() if not timed[size].outside]
        best = _preferred(within or [*found.values()], self.steps.sizes)
        best = replace(best, notes=(*best.notes, *self._not_compared(untimed)))
        fastest = min(found.values(), key=lambda one: one.hours.median)
        if fastest.hours.median >= best.hours.median / _AS_GOOD:
            return best
        note = (
            f"Batch size {fastest.batch_size:,} may take "
            f"{percent(1 - fastest.hours.median / best.hours.median)} less time, by seconds that "
            "are extrapolated: its steps were not timed."
        )
        return replace(best, notes=(*best.notes, note))

    def _nodes(self, devices: int) -> int:
        machine = self.machine
        if machine is None or devices <= machine.devices:
            return 1
        nodes, left = divmod(devices, machine.devices)
        if left:
            raise UsageError(
                f"{devices} devices are more than one {machine.name} and no whole number of them: "
                f"each has {machine.devices}"
            )
        return nodes

    def _candidates(self, devices: int) -> tuple[list[int], list[int]]:
        """The batch sizes to compare: those that were measured, and the multiples of the devices by
        1, 2, 3, 4, 6, 8, 12, ... examples each; within what was measured, and outside of that."""
        first, last = self.steps.reach
        shares = {n << k for n in (2, 3) for k in range(last.bit_length())} | {1}
        sizes = {*self.steps.sizes, *(devices * share for share in shares)}
        allowed = [
            size
            for size in sorted(sizes)
            if first <= size <= last and size % devices == 0 and self.steps.allows(size)
        ]
        smallest, largest = self.steps.sizes[0], self.steps.sizes[-1]
        inside = [size for size in allowed if smallest <= size <= largest]
        return inside, [size for size in allowed if size not in inside]

    def _timed(
        self, sizes: Iterable[int], devices: int
    ) -> tuple[dict[int, StepTime], dict[int, UsageError]]:
        """The step times of those batch sizes that have one, and why each of the others has
        none."""
        found, why = {}, {}
        for size in sizes:
            try:
                found[size] = self.times.at(size, devices)
            except UsageError as error:
                why[size] = error
        return found, why

    def _not_compared(self, untimed: Mapping[int, UsageError]) -> Iterator[str]:
        """Which batch sizes of known steps are not among those that the best was chosen from."""
        sizes = [size for size in untimed if size in self.steps.sizes]
        if sizes:
            those = listed([f"{size:,}" for size in sizes])
            which = f"Batch size {those} was" if len(sizes) == 1 else f"Batch sizes {those} were"
            yield f"{which} not compared: {untimed[sizes[-1]]}."

    def _none_divides(self, devices: int) -> UsageError:
        first, last = self.steps.reach
        return UsageError(
            f"no batch size from {first:,} to {last:,}, of which steps are known, can be shared by "
            f"{devices} devices"
        )

    def _choice(
        self, batch_size: int, devices: int, nodes: int, steps: Steps, time: StepTime
    ) -> Choice:
        training = steps.interval.product(time.seconds).times(1 / 3600)
        count = evaluation_hours = None
        hours = training
        if self.evaluations is not None:
            count = self.evaluations.count(steps.interval.median)
            added = self.evaluations.seconds(batch_size, steps.interval.median)
            evaluation_hours = added.value / 3600
            hours = training.plus(evaluation_hours, added.error)
        without = hours.median
        if self.spot is not None:
            hours = with_losses(hours, devices, self.spot)
        return Choice(
            devices=devices,
            batch_size=batch_size,
            layout=time.layout,
            steps=steps.interval,
            seconds_per_step=time.seconds,
            hours=hours,
            cost=None if self.price is None else hours.times(devices * self.price),
            machine=None if self.machine is None else self.machine.name,
            nodes=nodes,
            evaluations=count,
            evaluation_hours=evaluation_hours,
            repeated_hours=hours.median - without,
            measured=steps.measured and time.measured,
            notes=(*steps.notes, *time.notes),
        )


def _preferred(choices: Sequence[Choice], sizes: Collection[int]) -> Choice:
    """The one that takes the least time; or one of hardly more that was measured, or is at least of
    one of these batch sizes."""
    least = min(one.hours.median for one in choices)
    return min(
        (one for one in choices if one.hours.median <= least * _AS_GOOD),
        key=lambda one: (not one.measured, one.batch_size not in sizes, one.hours.median),
    )
