"""When a trial is given up for what it has shown."""

from dataclasses import asdict, dataclass
from typing import Any

from batchfront.errors import WorkloadError
from batchfront.workload.given import take_numbers


@dataclass(frozen=True)
class StoppingRules:
    """When a trial is given up as `diverged` or `stalled`. Conservative: checked against full
    curves to lose no winner (tests/benchmarks).

    diverged_at     -- training loss over this multiple of the untrained loss, or not finite
    patience        -- no rule but those for values not finite, or beyond a bound, speaks before
                       this many steps
    worse_by        -- stalled: the mean training loss of the last three quarters of the steps, in
                       both their earlier and later part, is above the untrained loss by this share
    stale_after     -- stalled: neither a better full value of the goal metric nor a lower training
                       loss for all but the first 1/stale_after of the steps
    diverged_beyond -- diverged: the goal metric is worse than this bound, from which no run comes
                       back
    """

    diverged_at: float = 1e4
    patience: int = 100
    worse_by: float = 0.05
    stale_after: float = 8.0
    diverged_beyond: float | None = None

    def __post_init__(self) -> None:
        bound = () if self.diverged_beyond is None else ("diverged_beyond",)
        rules = ("diverged_at", "patience", "worse_by", "stale_after", *bound)
        take_numbers(self, *rules, infinite=True)  # which a rule is that never speaks
        if (
            self.diverged_at <= 1
            or self.patience < 1
            or self.worse_by <= 0
            or self.stale_after <= 1
        ):
            raise WorkloadError(
                f"{self}: diverged_at and stale_after must be > 1, patience >= 1, worse_by > 0"
            )

    def describe(self) -> dict[str, Any]:
        """The rules as plain data, for a study's identity: without one that isn't there."""
        return {name: value for name, value in asdict(self).items() if value is not None}
