"""The curve of steps to target against batch size, and the answers it gives."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import exp

import numpy as np
from numpy.typing import NDArray

from service.errors import UsageError
from service.scaling.estimate import REACH, Estimate, answer
from service.scaling.fits import Fit, fit_both
from service.scaling.forms import Array
from service.scaling.noise import SCALE_TO_DEVIATION
from service.scaling.observation import Observation, in_order, logs
from service.scaling.oddities import Outlier, Rise, fall, outliers, rises
from service.scaling.questions import ask
from service.scaling.sample import Sample, draw

FEWEST = 4
"""Batch sizes that a curve needs: two or three parameters, and one to see the noise by."""

DOES_NOT_FALL = "steps do not fall as the batch size grows"


@dataclass(frozen=True)
class Prediction:
    """Steps at some batch sizes, arrays of one shape.

    median, low, high -- the chosen fit, and the 90 % interval of the curve
    new_low, new_high -- the 90 % interval of a new point, measured as the others were
    extrapolated      -- whether the batch size lies outside the measured ones by more than REACH
    """

    batch_sizes: Array
    median: Array
    low: Array
    high: Array
    new_low: Array
    new_high: Array
    extrapolated: NDArray[np.bool_]


@dataclass(frozen=True)
class Curve:
    """What the points say.

    observations    -- by batch size
    refusal         -- why no curve can be drawn through these points; None if one can. Then all
                       estimates are unknown for that reason
    fits            -- both forms, the chosen one first
    noise           -- the standard deviation of log steps around the curve
    outliers, rises -- points that stand out, and where steps rise with the batch size
    warnings        -- what to doubt about the curve, a sentence each
    s_min           -- the steps that no batch size gets below
    e_min           -- s_min·half_efficiency, half the examples that training takes at the
                       half-efficiency batch size. With two parameters that is what small batches
                       need in all; with three no such limit exists, as B·S(B) goes to 0 with B
                       for α < 1, and grows for α > 1
    half_efficiency -- B_c, the batch size at which steps are twice s_min
    perfect_until   -- the largest batch size that takes at most 20 % more examples than the
                       smallest measured one. This needs no limit of small batches, which the
                       three-parameter form lacks, and it is what one would have to pay
    useful_until    -- the batch size beyond which doubling saves less than 10 % of the steps
    """

    observations: tuple[Observation, ...]
    refusal: str | None
    fits: tuple[Fit, ...]
    noise: float | None
    outliers: tuple[Outlier, ...]
    rises: tuple[Rise, ...]
    s_min: Estimate
    e_min: Estimate
    half_efficiency: Estimate
    perfect_until: Estimate
    useful_until: Estimate
    warnings: tuple[str, ...] = ()
    _sample: Sample | None = field(default=None, repr=False, compare=False)

    @property
    def chosen(self) -> Fit:
        """The fit that AICc prefers. Raises UsageError where there is none."""
        if not self.fits:
            raise UsageError(f"no curve: {self.refusal}")
        return self.fits[0]

    def predict(self, batch_sizes: Sequence[float] | Array) -> Prediction:
        """The curve at these batch sizes. Raises UsageError where the curve was refused."""
        if self.refusal or self._sample is None:
            raise UsageError(f"no curve: {self.refusal}")
        wanted = np.asarray(batch_sizes, dtype=np.float64)
        log_batch = np.log(wanted)
        fitted = self.chosen.log_steps(log_batch)
        sample = self._sample
        curves = sample.shapes.log_steps(log_batch) + sample.log_s_min[:, None]
        low, high = sample.quantiles(curves, (0.05, 0.95))
        new_low, new_high = sample.quantiles(curves + sample.new[:, None], (0.05, 0.95))
        smallest, largest = (self.observations[i].batch_size for i in (0, -1))
        return Prediction(
            wanted,
            np.exp(fitted),
            np.exp(np.minimum(low, fitted)),
            np.exp(np.maximum(high, fitted)),
            np.exp(new_low),
            np.exp(new_high),
            (wanted < smallest / REACH) | (wanted > largest * REACH),
        )


def fit_curve(observations: Iterable[Observation], extra: float = 0.2, share: float = 0.1) -> Curve:
    """Fit both forms and answer what they are asked.

    extra -- examples beyond those of the smallest batch size that still count as near-perfect
             scaling, as a share
    share -- of the steps, which doubling a useful batch size saves at least; below a half, which
             is what perfect scaling saves

    Raises UsageError for observations or shares that can't be.
    """
    if not extra > 0:
        raise UsageError(f"extra examples of {extra:g}: must be above 0, such as 0.2")
    if not 0 < share < 0.5:
        raise UsageError(f"a share of steps saved of {share:g}: must be between 0 and 0.5")
    seen = in_order(observations)
    sizes = {one.batch_size for one in seen}
    if len(sizes) < FEWEST:
        there = f"{len(sizes)} batch size{'' if len(sizes) == 1 else 's'}"
        why = f"{there} reached the goal, and {FEWEST} are needed"
        return Curve(seen, why, (), None, (), (), *_unknown(why))
    log_batch, log_steps = logs(seen)
    fits = fit_both(log_batch, log_steps)
    sample = draw(log_batch, log_steps)
    noise = SCALE_TO_DEVIATION * exp(sample.quantiles(sample.log_scale, (0.5,))[0])
    # The noise is of no one form: around a chosen one that bends too little it would be too small.
    around = max(noise, SCALE_TO_DEVIATION * fits[0].scale)
    odd, up = outliers(seen, fits[0], around), rises(seen, noise)
    if fall(log_batch, log_steps) <= 0:
        return Curve(seen, DOES_NOT_FALL, fits, noise, odd, up, *_unknown(DOES_NOT_FALL))
    at = tuple(one.batch_size for one in seen)
    questions = ask(fits[0], sample, log_batch, extra, share)
    s_min, e_min, half, perfect, useful = (answer(one, sample, at) for one in questions)
    return Curve(seen, None, fits, noise, odd, up, s_min, e_min, half, perfect, useful, (), sample)


def _unknown(why: str) -> tuple[Estimate, Estimate, Estimate, Estimate, Estimate]:
    unknown = Estimate(None, None, None, reason=why)
    return unknown, unknown, unknown, unknown, unknown
