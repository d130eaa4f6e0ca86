"""Seconds that adding up the gradients of several devices takes: as timed, or by the bandwidth and
latency that a machine's owner gives."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import hypot, log

import numpy as np
from scipy.optimize import nnls

from batchfront.advice.machines import Machine
from batchfront.advice.part_times import REACH, Seconds, mean_seconds, own_error, spanning
from batchfront.advice.timings import Timing
from batchfront.errors import UsageError
from batchfront.phrases import listed, several

_GIVEN = 0.3
"""The standard deviation of the logarithm of seconds by a given bandwidth and latency: what real
networks and libraries make of these is within a factor of 1.6, with 90 %."""

_NONE = Seconds(0.0, 0.0)


def ring_seconds(devices: int, size: float, bandwidth: float, latency: float) -> float:
    """An all-reduce over a ring: each device sends 2 (n - 1) messages of an n-th of the gradient
    (Thakur et al. 2005; Patarasuk and Yuan 2009).

    size -- of the gradient, bytes
    """
    messages = 2 * (devices - 1)
    return messages * (size / devices / bandwidth + latency)


@dataclass(frozen=True)
class AllReduce:
    """What adding up gradients takes.

    timed          -- by number of devices: seconds and error
    machine        -- what the devices stand in; None: where they were timed
    gradient_bytes -- None: unknown
    """

    timed: dict[int, tuple[float, float]]
    machine: Machine | None = None
    gradient_bytes: int | None = None

    @classmethod
    def of(
        cls,
        timings: Iterable[Timing],
        machine: Machine | None = None,
        gradient_bytes: int | None = None,
    ) -> "AllReduce":
        """By the timings of all-reduces."""
        found = {one.devices: (mean_seconds(one), own_error(one)) for one in timings}
        return cls(found, machine, gradient_bytes)

    @property
    def where_timed(self) -> "AllReduce":
        """The same over the network that it was timed over."""
        return replace(self, machine=None)

    def at(self, devices: int) -> Seconds:
        """Over so many devices. Raises UsageError where nothing tells: past REACH times as many as
        were timed, and over several machines whose network isn't given."""
        if devices == 1:
            return _NONE
        machine = self.machine
        if machine is None or devices <= machine.devices:
            return self._within(devices)
        nodes = devices // machine.devices
        inside = self._within(machine.devices) if machine.devices > 1 else _NONE
        if machine.bandwidth_between is None or machine.latency_between is None:
            raise UsageError(
                f"{devices} devices are {nodes} of {machine.name}, whose network isn't given: "
                "bandwidth_between and latency_between in the file of machines"
            )
        outside = ring_seconds(
            nodes, self._bytes(), machine.bandwidth_between, machine.latency_between
        )
        note = (
            f"Between the {nodes} machines of {several(machine.devices, 'device')} nothing was "
            "timed: the all-reduce there is computed from the given bandwidth and latency."
        )
        total = inside.value + outside
        error = hypot(inside.value * inside.error, outside * _GIVEN) / total
        return Seconds(total, error, False, " ".join(filter(None, [inside.note, note])))

    def _within(self, devices: int) -> Seconds:
        """In one machine."""
        machine = self.machine
        if (
            machine is not None
            and machine.bandwidth_within is not None
            and machine.latency_within is not None
        ):
            seconds = ring_seconds(
                devices, self._bytes(), machine.bandwidth_within, machine.latency_within
            )
            note = (
                f"What the all-reduce takes on {devices} devices of {machine.name} was not timed: "
                "it is computed from the given bandwidth and latency."
            )
            return Seconds(seconds, _GIVEN, False, note)
        if devices in self.timed:
            return Seconds(*self.timed[devices])
        return self._by_others(devices)

    def _by_others(self, devices: int) -> Seconds:
        """By the all-reduces of other numbers of devices."""
        if not self.timed:
            raise UsageError(
                f"what {devices} devices need to add up their gradients was not timed, on any "
                "number of devices"
            )
        most = max(self.timed)
        if devices > REACH * most:
            raise UsageError(
                f"{several(most, 'device')} at most were timed together, and past twice that "
                "nothing is known"
            )
        numbers = sorted(self.timed)
        error = max(error for _, error in self.timed.values())
        near = min(numbers, key=lambda number: abs(log(number / devices)))
        # Bandwidth alone, and latency alone: seconds lie between.
        bounds = [
            self.timed[near][0] * _bandwidth_part(devices) / _bandwidth_part(near),
            self.timed[near][0] * (devices - 1) / (near - 1),
        ]
        value, width = spanning(min(bounds), max(bounds))
        if len(numbers) > 1:
            value, width = self._fitted(devices), width / 2
        of = listed([f"{number:,}" for number in numbers])
        how = "interpolated" if numbers[0] < devices < most else "extrapolated"
        note = (
            f"An all-reduce over {devices} devices was not timed: its seconds are {how} from "
            f"those of {of}."
        )
        return Seconds(value, hypot(error, width), False, note)

    def _fitted(self, devices: int) -> float:
        """A bandwidth and a latency through all that was timed."""
        numbers = sorted(self.timed)
        seconds = np.array([self.timed[number][0] for number in numbers])
        parts = np.array([[_bandwidth_part(number), number - 1] for number in numbers])
        found, _ = nnls(parts / seconds[:, None], np.ones(len(numbers)))
        return float(found @ [_bandwidth_part(devices), devices - 1])

    def _bytes(self) -> int:
        if self.gradient_bytes is None:
            raise UsageError(
                "how large the gradient is isn't known, as its workload was measured elsewhere; "
                "import the seconds of whole steps on as many devices, and give --price in place "
                "of --machines"
            )
        return self.gradient_bytes


def _bandwidth_part(devices: int) -> float:
    return (devices - 1) / devices
