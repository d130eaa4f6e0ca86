"""How sure a best trial is: what fewer trials would have found, and what another draw would.

A race ends when some trials have passed the goal, the lowest order statistics of all its trials'
steps; the others are only known to be no better. Everything here is computed from those, and says
how much hangs on the trials that nobody has followed to their end.
"""

from service.certainty.expected_best import (
    LITTLE,
    ExpectedBest,
    MoreTrials,
    expected_best,
    more_trials,
)
from service.certainty.flagged import Flag, flags
from service.certainty.noise import FEWEST, Noise, noise_of_best
from service.certainty.order_statistics import Sample, sample
from service.certainty.points import PointCertainty, point_certainties, why_unknown

__all__ = [
    "FEWEST",
    "LITTLE",
    "ExpectedBest",
    "Flag",
    "MoreTrials",
    "Noise",
    "PointCertainty",
    "Sample",
    "expected_best",
    "flags",
    "more_trials",
    "noise_of_best",
    "point_certainties",
    "sample",
    "why_unknown",
]
