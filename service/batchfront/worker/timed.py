"""What is timed, and what comes of it: of a workload of any kind."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from statistics import median, quantiles

from batchfront.advice.options import DEVICES
from batchfront.advice.timings import Timing
from batchfront.frontier.frontier import Frontier, Point
from batchfront.options import BATCH_SIZES, Must, check, option
from batchfront.study.study import Study
from batchfront.vocabulary import TimedPart
from batchfront.worker.options import code_option, device_option

Say = Callable[[str], None]
"""Says what is being timed."""

SECONDS = 60.0
"""About what timing takes for each number of devices."""

_WITH_ONE: Must = (lambda counts: 1 in counts, "must begin with 1, as in 1,2,4")


@dataclass(frozen=True)
class TimingOptions:
    """What is to be timed.

    Raises UsageError, with all that is wrong, for values that an option doesn't have.
    """

    batch_sizes: tuple[int, ...] | None = option(
        BATCH_SIZES,
        "The batch sizes whose steps are timed, such as 2,8,32 or 2..1024 (the powers of two), "
        "however long that takes.",
        otherwise="those of its studies, or the workload's own, as far as a minute goes",
    )
    devices_per_trial: tuple[int, ...] = option(
        DEVICES,
        "How many devices share a batch, such as 1,2,4: each number of them is timed.",
        must=_WITH_ONE,
        default=(1,),
    )
    device: str = device_option()
    code: tuple[str, ...] = code_option()

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Subject:
    """A workload that is to be timed.

    studies  -- its searches, by batch size; none of one that hasn't been planned
    frontier -- what these have found; None without
    spec     -- the one by which its code is loaded here
    code     -- the files and folders whose code may run
    """

    name: str
    spec: str
    code: tuple[str, ...] = ()
    studies: tuple[Study, ...] = ()
    frontier: Frontier | None = None

    def nearest(self, batch_size: int) -> Point | None:
        """The point at this batch size or, if no trial has reached the goal there, at the nearest;
        None if none has anywhere."""
        points = () if self.frontier is None else self.frontier.reached
        return min(points, key=lambda p: abs(log(p.batch_size / batch_size)), default=None)


@dataclass(frozen=True)
class Timed:
    """What was timed of a workload, on one kind of device.

    notes -- what to know about it, a sentence each
    """

    workload: str
    device: str
    timings: tuple[Timing, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conditions:
    """Of what and where timings are, which all that are made here have in common."""

    workload: str
    precision: str
    device: str
    versions: Mapping[str, str]

    def timing(
        self,
        part: TimedPart,
        examples: int,
        seconds: Sequence[float],
        devices: int = 1,
        **more: int,
    ) -> Timing:
        """The timing that several repetitions make.

        more -- what else is to stand beside its versions: see `StepTimes`
        """
        low, _, high = quantiles(seconds, n=4, method="inclusive")
        return Timing(
            self.workload,
            self.precision,
            self.device,
            devices,
            part,
            examples,
            median(seconds),
            low,
            high,
            len(seconds),
            {**self.versions, **{name: str(value) for name, value in more.items()}},
        )
