"""What a probe is asked, and what it has shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from batchfront.advice.noise_scale import Probe
from batchfront.options import DURATION, SOME_TIME, at_least, check, option
from batchfront.worker.options import code_option, device_option
from batchfront.workload.search_space import Log

Say = Callable[[str], None]
"""Says what is being done."""


@dataclass(frozen=True)
class ProbeOptions:
    """What is to be probed, and where.

    Raises UsageError, with all that is wrong, for values that an option doesn't have.
    """

    batch_size: int | None = option(
        int,
        "How many examples a step of the run takes.",
        must=at_least(1),
        otherwise="of the batch sizes that have a winner, or else the workload's, the middle one",
    )
    max_time: float = option(
        DURATION,
        "How long a run without a winner's metaparameters may take; what it has read by then "
        "counts.",
        must=SOME_TIME,
        default=600.0,
    )
    device: str = device_option()
    code: tuple[str, ...] = code_option()

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Tested:
    """What the learning-rate range test of a probe's own run has shown: see `RangeTest`.

    lowest   -- the learning rate at which its mean loss was lowest
    diverged -- at which it diverged; None if it didn't
    rates    -- the learning rates that are worth a search
    varies   -- whether the workload's search space is a function of the batch size
    """

    lowest: float
    diverged: float | None
    rates: Log
    varies: bool


@dataclass(frozen=True)
class Probed:
    """What probing has shown.

    planned     -- the words that `plan` takes for the workload, from any folder
    expected    -- the steps in which the winner reached the goal; None: a run of the probe's own
    passed      -- whether the run has passed the goal where it ended
    ended       -- why it ended, where it has not passed
    extra       -- examples that were computed for readings alone, of those in `examples`
    examples    -- that were computed in all, also in a range test
    largest     -- batch size that there can be: that of the training set
    tested      -- None where no range test was needed, or none could be
    batch_sizes -- to search; none where the noise scale isn't known
    closer      -- a batch size whose run would tell more, as this one's lies far above B_c
    """

    probe: Probe
    planned: tuple[str, ...]
    expected: int | None
    passed: bool
    ended: str
    extra: int
    examples: int
    largest: int
    tested: Tested | None = None
    batch_sizes: tuple[int, ...] = ()
    closer: int | None = None


def middle(batch_sizes: Sequence[int]) -> int:
    """The middle one of some batch sizes; of two, the larger."""
    return sorted(batch_sizes)[len(batch_sizes) // 2]
