"""When a trial is given up for what it has shown."""

from dataclasses import dataclass

from batchfront.errors import WorkloadError


@dataclass(frozen=True)
class StoppingRules:
    """When a trial is given up as `diverged` or `stalled`. Conservative: checked against full
    curves to lose no winner (tests/benchmarks).

    diverged_at    -- training loss over this multiple of the untrained loss, or not finite
    patience       -- no rule but the one for non-finite values speaks before this many steps
    worse_by       -- stalled: the mean training loss of the last three quarters of the steps,
                      in both their earlier and later part, is above the untrained loss by
                      this share
    stale_after    -- stalled: neither a better full value of the goal metric nor a lower training
                      loss for all but the first 1/stale_after of the steps
    """

    diverged_at: float = 1e4
    patience: int = 100
    worse_by: float = 0.05
    stale_after: float = 8.0

    def __post_init__(self) -> None:
        if (
            self.diverged_at <= 1
            or self.patience < 1
            or self.worse_by <= 0
            or self.stale_after <= 1
        ):
            raise WorkloadError(
                f"{self}: diverged_at and stale_after must be > 1, patience >= 1, worse_by > 0"
            )
