"""A made-up device whose step times are known exactly, and the timings that it would give."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from batchfront.advice.timings import Timing
from batchfront.vocabulary import TimedPart

NAME = "clouds/mlp/momentum"


@dataclass(frozen=True)
class Truth:
    """Seconds of every part of a step.

    start, each     -- of a pass: start + each * examples
    bandwidth_part  -- of the all-reduce, times (n - 1) / n on n devices
    latency_part    -- of the all-reduce, times n - 1
    overlap         -- whether the all-reduce goes on during the last backward pass
    contention      -- by what share passes take longer for each further device
    most            -- examples that a device holds at once
    """

    start: float = 0.004
    each: float = 0.0001
    update: float = 0.001
    bandwidth_part: float = 0.004
    latency_part: float = 0.0005
    overlap: bool = False
    contention: float = 0.0
    most: int = 128

    def one_pass(self, examples: int) -> float:
        """Forward and backward."""
        return self.start + self.each * examples

    def all_reduce(self, devices: int) -> float:
        """Over so many devices."""
        return self.bandwidth_part * (devices - 1) / devices + self.latency_part * (devices - 1)

    def step(self, batch_size: int, devices: int = 1) -> float:
        """A whole step, in as few equal micro-batches as fit."""
        share = batch_size // devices
        at_once = next(n for n in range(min(share, self.most), 0, -1) if share % n == 0)
        passes = share // at_once * self.one_pass(at_once) * (1 + self.contention * (devices - 1))
        exposed = self.all_reduce(devices)
        if self.overlap:
            exposed = max(exposed - 2 / 3 * self.one_pass(at_once), 0)
        return passes + exposed + self.update

    def timings(
        self,
        passes: Iterable[int] = (8, 16, 32, 64, 128),
        steps: Iterable[tuple[int, int]] = (),
        devices: Iterable[int] = (),
        evaluation: float | None = None,
    ) -> list[Timing]:
        """What would be timed.

        steps   -- batch size and devices of whole ones
        devices -- of all-reduces
        """
        found = [timing(TimedPart.PASS, n, self.one_pass(n)) for n in passes]
        if found:
            found.append(timing(TimedPart.UPDATE, 0, self.update))
        found += [timing(TimedPart.STEP, b, self.step(b, n), n) for b, n in steps]
        found += [timing(TimedPart.ALL_REDUCE, 0, self.all_reduce(n), n) for n in devices]
        if evaluation is not None:
            found.append(timing(TimedPart.EVALUATION, 100, evaluation))
        return found


def timing(
    part: TimedPart,
    examples: int,
    seconds: float,
    devices: int = 1,
    device: str = "NVIDIA H200",
    **versions: str,
) -> Timing:
    """One that scatters by a percent."""
    low, high = 0.995 * seconds, 1.005 * seconds
    told = (NAME, "float32", device, devices, part, examples, seconds, low, high, 20)
    return Timing(*told, versions)


def elsewhere(steps: Sequence[tuple[int, int, float]], device: str = "TPU v5") -> list[Timing]:
    """Whole steps, by batch size and devices, that were imported."""
    return [
        Timing(NAME, "float32", device, devices, TimedPart.STEP, size, seconds)
        for size, devices, seconds in steps
    ]


def curve_file(steps: Mapping[int, Sequence[float | None]], name: str = NAME) -> str:
    """Steps to target by batch size, one of each seed, as a file to import; None: not reached."""
    rows = [
        f"{name},{size},{seed},{'' if one is None else round(one)}"
        for size, seeds in steps.items()
        for seed, one in enumerate(seeds)
    ]
    return "\n".join(["workload,batch_size,seed,steps", *rows, ""])
