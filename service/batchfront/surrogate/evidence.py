"""What trials have shown, as a surrogate is told of it."""

from dataclasses import dataclass
from enum import StrEnum

from batchfront.workload.search_space import Metaparameters


class Kind(StrEnum):
    """What is known of the steps to target at a trial's metaparameters."""

    REACHED = "reached"
    MORE_THAN = "more than"  # capped, dropped or exhausted before it got there
    INFEASIBLE = "infeasible"  # diverged or stalled: no number of steps would do


@dataclass(frozen=True)
class Evidence:
    """One trial that ran.

    steps  -- to target, if it got there; or that it had without getting there; or at which it was
              given up
    """

    batch_size: int
    params: Metaparameters
    kind: Kind
    steps: float
