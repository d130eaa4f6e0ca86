"""The curve of steps to target against batch size, and the answers it gives."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import exp, inf, isfinite, log

import numpy as np
from numpy.typing import NDArray

from service.errors import UsageError
from service.scaling.bracket import Bracket, perfect_bracket, useful_bracket
from service.scaling.estimate import REACH, Estimate, answer
from service.scaling.fits import Fit
from service.scaling.forms import Array
from service.scaling.misfit import contradiction, drops, lies_off, rises_again
from service.scaling.observation import Observation, in_order, logs
from service.scaling.oddities import Outlier, Rise, fall, outliers, rises
from service.scaling.questions import ask
from service.scaling.reading import Reading, read
from service.scaling.replicates import Replicates, replicates
from service.scaling.valley import rises_from

FEWEST = 4
"""Batch sizes that a curve needs: two or three parameters, and one to see the noise by."""

DOES_NOT_FALL = "steps do not fall as the batch size grows"

_ASKED = {
    "perfect_until": "scaling is near-perfect",
    "useful_until": "a larger batch is useful",
}


@dataclass(frozen=True)
class Prediction:
    """Steps at some batch sizes, arrays of one shape.

    median, low, high -- of all likely curves, and their 90 % interval. Between measured batch
                         sizes, where the points leave such curves together, they bend towards them
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

    observations    -- those that reached the goal, by batch size
    unreached       -- the batch sizes at which none did
    refusal         -- why no curve can be drawn through these points; None if one can. Then all
                       estimates are unknown for that reason
    fits            -- the likeliest curve of each form, the one that AICc prefers first. The
                       answers are of no one fit, but of all likely curves
    noise           -- the standard deviation of log steps around the curve
    worse_from      -- the batch size from which steps rise again; None where they don't. The curve
                       is then that of the smaller ones
    outliers, rises -- points that stand out, and where steps rise with the batch size
    warnings        -- what to doubt about the curve, a sentence each
    s_min           -- the steps that large batches level off at
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
    unreached: tuple[int, ...] = ()
    worse_from: int | None = None
    _reading: Reading | None = field(default=None, repr=False, compare=False)

    def predict(self, batch_sizes: Sequence[float] | Array) -> Prediction:
        """The curve at these batch sizes. Raises UsageError for one below 1, and where the curve
        was refused."""
        if self.refusal or self._reading is None:
            raise UsageError(f"no curve: {self.refusal}")
        wanted = np.asarray(batch_sizes, dtype=np.float64)
        bad = wanted[~((wanted >= 1) & np.isfinite(wanted))]
        if bad.size:
            raise UsageError(f"steps at batch size {bad[0]:g}: must be a number of at least 1")
        (median, low, high), (_, new_low, new_high) = self._reading.steps(np.log(wanted))
        smallest, largest = (self.observations[i].batch_size for i in (0, -1))
        reach = REACH if self.worse_from is None else 1.0  # nobody knows how a rise goes on
        return Prediction(
            wanted,
            *(np.exp(ends) for ends in (median, low, high, new_low, new_high)),
            (wanted < smallest / REACH) | (wanted > largest * reach),
        )


def fit_curve(observations: Iterable[Observation], extra: float = 0.2, share: float = 0.1) -> Curve:
    """Draw the likely curves of both forms and answer what they are asked.

    extra -- examples beyond those of the smallest batch size that still count as near-perfect
             scaling, as a share
    share -- of the steps, which doubling a useful batch size saves at least; below a half, which
             is what perfect scaling saves

    Raises UsageError for observations or shares that can't be.
    """
    if not 0 < extra < inf:
        raise UsageError(f"extra examples of {extra:g}: must be above 0, such as 0.2")
    if not 0 < share < 0.5:
        raise UsageError(f"a share of steps saved of {share:g}: must be between 0 and 0.5")
    given = in_order(observations)
    seen = tuple(one for one in given if isfinite(one.steps))
    sizes = sorted({one.batch_size for one in seen})
    unreached = tuple(sorted({one.batch_size for one in given} - set(sizes)))
    if len(sizes) < FEWEST:
        there = f"{len(sizes)} batch size{'' if len(sizes) == 1 else 's'}"
        return _refused(seen, unreached, f"{there} reached the goal, and {FEWEST} are needed")
    repeated = replicates(seen)
    error = repeated.error if repeated else 0.0
    reading, kept, worse = read(seen, seen, error), seen, None
    after = rises_from(reading.log_steps, reading.noise)
    if after is not None:
        worse = sizes[after]
        kept = tuple(one for one in seen if one.batch_size < worse)
        if after >= FEWEST:
            reading = read(kept, seen, error)
    curve = Curve(
        seen,
        _refusal(kept, after, worse),
        reading.fits,
        reading.scatter,
        outliers(kept, reading.sample.median(logs(kept)[0]), reading.around),
        rises(seen, reading.scatter),
        **_unknown(""),
        unreached=unreached,
        worse_from=worse,
        _reading=reading,
    )
    if curve.refusal:
        return replace(curve, **_unknown(curve.refusal))
    return _answered(curve, reading, kept, repeated, extra, share)


def _refusal(kept: Sequence[Observation], after: int | None, worse: int | None) -> str | None:
    if after == 1 or fall(*logs(kept)) <= 0:
        return DOES_NOT_FALL
    if after is not None and after < FEWEST:
        return (
            f"steps rise again from batch size {worse:,} on, and of the {FEWEST} batch sizes that "
            f"a curve needs only {after} are smaller"
        )
    return None


def _answered(
    curve: Curve,
    reading: Reading,
    kept: Sequence[Observation],
    repeated: Replicates | None,
    extra: float,
    share: float,
) -> Curve:
    """The curve with its answers, none of which contradicts the points, and its warnings."""
    points = reading.log_batch, reading.log_steps
    least = float(reading.log_steps.min())
    most = inf
    if curve.worse_from is None:
        dropped, off = tuple(drops(reading)), tuple(lies_off(reading, repeated))
    else:
        dropped, off = (), (rises_again(curve.observations, curve.worse_from),)
        most = float(reading.log_batch[np.argmin(reading.log_steps)])
    # Where the curves are no guide the likelier answer of the points is better than a sure one.
    margin = reading.margin / 3 if dropped else reading.margin
    brackets = {
        "perfect_until": perfect_bracket(*points, extra, margin).capped(most),
        "useful_until": useful_bracket(*points, share, margin).capped(most),
        "s_min": Bracket(cap=least + margin),
    }
    questions = ask(reading.sample, logs(kept)[0], extra, share, brackets)
    for name in _ASKED:
        questions[name] = replace(questions[name], alone=bool(dropped))
    at = tuple(one.batch_size for one in kept)
    estimates = {name: answer(question, reading.sample, at) for name, question in questions.items()}
    otherwise = tuple(
        contradiction(asked, questions[name], reading.sample)
        for name, asked in _ASKED.items()
        if questions[name].agreeing(reading.sample) is None and not (dropped or off)
    )
    if curve.worse_from is not None:
        why = f"steps rise again from batch size {curve.worse_from:,} on"
        estimates["s_min"] = Estimate(None, None, exp(least), at[-1:], why)
        estimates |= dict.fromkeys(("e_min", "half_efficiency"), _unknown(why)["e_min"])
    elif dropped or otherwise:
        why = _unknown("the points follow no such curve")
        estimates |= {name: why[name] for name in ("e_min", "half_efficiency")}
    return replace(
        curve,
        warnings=(*dropped, *off, *otherwise),
        _reading=replace(reading, followed=bool(dropped or off)),
        **estimates,
    )


def _refused(seen: tuple[Observation, ...], unreached: tuple[int, ...], why: str) -> Curve:
    return Curve(seen, why, (), None, (), (), **_unknown(why), unreached=unreached)


def _unknown(why: str) -> dict[str, Estimate]:
    names = ("s_min", "e_min", "half_efficiency", "perfect_until", "useful_until")
    return dict.fromkeys(names, Estimate(None, None, None, reason=why))
