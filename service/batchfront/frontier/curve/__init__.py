"""How steps to target depend on the batch size: a curve through the frontier, and what it says.

    curve = fit_curve([Observation(2, 1841), Observation(4, 1149), ...])
    curve.useful_until, curve.half_efficiency, curve.predict([48, 96])

It knows numbers alone: no database, no workload.
"""

from dataclasses import dataclass
from math import inf

from batchfront.errors import UsageError
from batchfront.options import option

EXTRA = 0.2
"""Examples beyond those of the smallest batch size that still count as near-perfect scaling."""

SHARE = 0.1
"""Of the steps, which doubling a useful batch size saves at least."""


@dataclass(frozen=True)
class Asked:
    """What a curve is asked: what near-perfect and useful mean.

    By default near-perfect is what Zhang et al. 2024 (arXiv 2410.21676) call the critical batch
    size, but for where it is measured from, which there is batch size 256.

    perfect_from -- None: the smallest batch size that has reached the goal

    Raises UsageError for what can't be.
    """

    extra: float = option(
        float,
        "More examples than at the batch size that it is measured from, as a share, that "
        "near-perfect scaling takes at most.",
        default=EXTRA,
    )
    share: float = option(
        float,
        "Of the steps, which doubling a useful batch size saves at least.",
        default=SHARE,
    )
    perfect_from: int | None = option(
        int,
        "The batch size that near-perfect scaling is measured from, such as 256, as in Zhang et "
        "al. 2024.",
        otherwise="the smallest that has reached the goal",
        flags="--from",
        metavar="B",
    )

    def __post_init__(self) -> None:
        if not 0 < self.extra < inf:
            raise UsageError(f"--extra {self.extra:g}: must be above 0, such as {EXTRA}")
        if not 0 < self.share < 0.5:
            raise UsageError(f"--share {self.share:g}: must be between 0 and 0.5, such as {SHARE}")
        if self.perfect_from is not None and self.perfect_from < 1:
            raise UsageError(f"--from {self.perfect_from}: must be at least 1, such as 256")


USUAL = Asked()
"""What is asked where nobody says otherwise."""
