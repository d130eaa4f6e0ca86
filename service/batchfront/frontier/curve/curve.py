"""The curve of steps to target against batch size, and the answers it gives."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import exp, inf, isfinite, sqrt

import numpy as np
from numpy.typing import NDArray

from batchfront.displayed import Displayed
from batchfront.errors import UsageError
from batchfront.frontier.curve import EXTRA, SHARE, USUAL, Asked
from batchfront.frontier.curve.deviation import Replicates, replicates, rises_from
from batchfront.frontier.curve.estimates import (
    REACH,
    Bracket,
    Estimate,
    Question,
    answer,
    ask,
    log_from,
    perfect_bracket,
    useful_bracket,
)
from batchfront.frontier.curve.fit import Fit, Observation, in_order, interval_error, logs
from batchfront.frontier.curve.forms import Array
from batchfront.frontier.curve.noise import FINEST, STANDS_OUT
from batchfront.frontier.curve.outliers import (
    MATTERS,
    Outlier,
    Rise,
    contradiction,
    drops,
    fall,
    lies_off,
    outliers,
    rises,
    rises_again,
)
from batchfront.frontier.curve.posterior import Sample, error_of
from batchfront.frontier.curve.quantities import curve_tables
from batchfront.frontier.curve.reading import Reading, read
from batchfront.table import Table

Answers = tuple[Estimate, Estimate, Estimate, Estimate, Estimate]
"""Of s_min, e_min, half_efficiency, perfect_until and useful_until."""

_ASKED = {
    "perfect_until": "scaling is near-perfect",
    "useful_until": "a larger batch is useful",
}


def along(
    reading: Reading,
    seen: Sequence[Observation],
    repeated: Replicates | None,
    asked: Asked,
) -> tuple[Answers, tuple[str, ...]]:
    """The answers, none of which contradicts the points, and the warnings."""
    dropped, off = tuple(drops(reading)), tuple(lies_off(reading, repeated))
    # Where the curves are no guide the likelier answer of the points is better than a sure one.
    margin = reading.margin / 3 if dropped else reading.margin
    if off and repeated is not None:  # then what the points differ by is no noise
        margin = min(margin, STANDS_OUT * sqrt(2) * max(repeated.error, FINEST))
    questions = _questions(reading, seen, asked, margin, inf)
    if dropped:
        questions |= {name: replace(questions[name], alone=True) for name in _ASKED}
    otherwise = () if dropped or off else tuple(_contradictions(reading, questions))
    estimates = _answer(reading, seen, questions)
    if dropped or off or otherwise:
        estimates |= _without_curve(reading, "the points follow no such curve")
    return _in_order(estimates), (*dropped, *off, *otherwise)


def while_falling(
    reading: Reading,
    seen: Sequence[Observation],
    kept: Sequence[Observation],
    worse: int,
    asked: Asked,
) -> tuple[Answers, tuple[str, ...]]:
    """The answers where steps rise again: those of the smaller batch sizes, up to the best one."""
    best = int(np.argmin(reading.log_steps))
    most = float(reading.log_batch[best])
    estimates = _answer(reading, kept, _questions(reading, kept, asked, reading.margin, most))
    estimates |= _without_curve(reading, f"steps rise again from batch size {worse:,} on")
    return _in_order(estimates), (rises_again(seen, worse),)


def _without_curve(reading: Reading, why: str) -> dict[str, Estimate]:
    """The answers that only a curve gives, but for the fewest steps measured."""
    best = int(np.argmin(reading.log_steps))
    size, steps = (exp(one[best]) for one in (reading.log_batch, reading.log_steps))
    none = Estimate(None, None, None, reason=why)
    return {
        "s_min": Estimate(None, None, steps, (round(size),), why),
        "e_min": none,
        "half_efficiency": none,
    }


def _questions(
    reading: Reading,
    seen: Sequence[Observation],
    asked: Asked,
    margin: float,
    most: float,
) -> dict[str, Question]:
    points = reading.log_batch, reading.log_steps
    begin = log_from(logs(seen)[0], asked)
    brackets = {
        "perfect_until": perfect_bracket(*points, begin, asked.extra, margin).capped(most),
        "useful_until": useful_bracket(*points, asked.share, margin).capped(most),
        "s_min": Bracket(cap=float(reading.log_steps.min()) + margin),
    }
    return ask(reading.sample, logs(seen)[0], asked, brackets)


def _contradictions(reading: Reading, questions: dict[str, Question]) -> Iterable[str]:
    for name, asked in _ASKED.items():
        if questions[name].agreeing(reading.sample) is None:
            yield contradiction(asked, questions[name], reading.sample)


def _answer(
    reading: Reading, seen: Sequence[Observation], questions: dict[str, Question]
) -> dict[str, Estimate]:
    at = tuple(one.batch_size for one in seen)
    return {name: answer(question, reading.sample, at) for name, question in questions.items()}


def _in_order(estimates: dict[str, Estimate]) -> Answers:
    return (
        estimates["s_min"],
        estimates["e_min"],
        estimates["half_efficiency"],
        estimates["perfect_until"],
        estimates["useful_until"],
    )


def unknown(why: str) -> Answers:
    """No answer, for this reason."""
    none = Estimate(None, None, None, reason=why)
    return none, none, none, none, none


FEWEST = 4
"""Batch sizes that a curve needs: two or three parameters, and one to see the noise by."""

_LIKELIER = 2.0
"""Evidence that neighbouring points leave the curve together, from which predictions follow them.
Less than it takes to say so, as predictions lose less by it on noise than they gain elsewhere."""

DOES_NOT_FALL = "steps do not fall as the batch size grows"


@dataclass(frozen=True)
class Prediction:
    """Steps at some batch sizes, arrays of one shape.

    median, low, high -- of all likely curves, and their 90 % interval. Between measured batch
                         sizes they bend to where the points leave such curves together, and go with
                         them where that is likelier than noise
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
class Curve(Displayed):
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
    half_efficiency -- B_c, the batch size at which steps are twice s_min: the critical batch size
                       of McCandlish et al. 2018 (arXiv 1812.06162)
    perfect_until   -- the largest batch size that takes at most 20 % more examples than the one
                       that it is measured from, the smallest measured one: the critical batch size
                       of Zhang et al. 2024 (arXiv 2410.21676), who measure it from 256. This needs
                       no limit of small batches, which the three-parameter form lacks, and it is
                       what one would have to pay
    useful_until    -- the batch size beyond which doubling saves less than 10 % of the steps; a
                       definition of our own
    asked           -- what these shares are, and where near-perfect is measured from
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
    asked: Asked = USUAL
    _reading: Reading | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        sizes = len({one.batch_size for one in self.observations})
        found = f"useful up to {self.useful_until}"
        return f"<Curve through {sizes} batch sizes: {self.refusal or found}>"

    def as_tables(self) -> Sequence[Table]:
        return curve_tables(self)

    @property
    def perfect_from(self) -> int:
        """The batch size that near-perfect scaling is measured from."""
        return self.asked.perfect_from or self.observations[0].batch_size

    @property
    def sample(self) -> Sample:
        """The likely curves. Raises UsageError where the curve was refused."""
        return self._known().sample

    def predict(self, batch_sizes: Sequence[float] | Array) -> Prediction:
        """The curve at these batch sizes. Raises UsageError for one below 1, and where the curve
        was refused."""
        reading = self._known()
        wanted = np.asarray(batch_sizes, dtype=np.float64)
        bad = wanted[~((wanted >= 1) & np.isfinite(wanted))]
        if bad.size:
            raise UsageError(f"steps at batch size {bad[0]:g}: must be a number of at least 1")
        (median, low, high), (_, new_low, new_high) = reading.steps(np.log(wanted))
        smallest, largest = (self.observations[i].batch_size for i in (0, -1))
        reach = REACH if self.worse_from is None else 1.0  # nobody knows how a rise goes on
        return Prediction(
            wanted,
            np.exp(median),
            np.exp(low),
            np.exp(high),
            np.exp(new_low),
            np.exp(new_high),
            (wanted < smallest / REACH) | (wanted > largest * reach),
        )

    def _known(self) -> Reading:
        if self.refusal or self._reading is None:
            raise UsageError(f"no curve: {self.refusal}")
        return self._reading


def fit_curve(
    observations: Iterable[Observation],
    extra: float = EXTRA,
    share: float = SHARE,
    errors: Array | None = None,
    perfect_from: int | None = None,
) -> Curve:
    """Draw the likely curves of both forms and answer what they are asked.

    By default the points' errors are estimated from how they scatter around a curve. A surrogate's
    points hardly scatter, as it smooths them, and it knows how far off they may be together.

    extra -- examples beyond those of the smallest batch size that still count as near-perfect
             scaling, as a share
    share -- of the steps, which doubling a useful batch size saves at least; below a half, which
             is what perfect scaling saves
    errors -- the covariance of the observations' log steps, which are finite, one at each batch
             size, and in its order
    perfect_from -- the batch size that near-perfect scaling is measured from; by default the
             smallest

    Raises UsageError for observations, shares or a batch size that can't be.
    """
    asked = Asked(extra, share, perfect_from)
    given = in_order(observations)
    seen = tuple(one for one in given if isfinite(one.steps))
    sizes = sorted({one.batch_size for one in seen})
    unreached = tuple(sorted({one.batch_size for one in given} - set(sizes)))
    if len(sizes) < FEWEST:
        there = f"{len(sizes)} batch size{'' if len(sizes) == 1 else 's'}"
        why = f"{there} reached the goal, and {FEWEST} are needed"
        return Curve(seen, why, (), None, (), (), *unknown(why), (), unreached, asked=asked)
    repeated = replicates(seen)
    error = max(repeated.error if repeated else 0.0, interval_error(seen))
    if errors is not None:
        error = max(error, error_of(errors))
    reading, kept, worse = read(seen, seen, error, errors), seen, None
    after = rises_from(reading.log_steps, reading.noise)
    if after is not None:
        worse = sizes[after]
        kept = tuple(one for one in seen if one.batch_size < worse)
        if after >= FEWEST:
            some = None if errors is None else errors[:after, :after]
            reading = read(kept, seen, error, some)
    refusal = _refusal(reading, kept, after, worse)
    warnings: tuple[str, ...] = ()
    answers = unknown(refusal or "")
    no_start = None if refusal else _no_start(asked, sizes, reading, worse)
    told = asked if no_start is None else replace(asked, perfect_from=None)
    if refusal is None and worse is not None:
        answers, warnings = while_falling(reading, seen, kept, worse, told)
    elif refusal is None:
        answers, warnings = along(reading, kept, repeated, told)
    curve = Curve(
        seen,
        refusal,
        reading.fits,
        reading.scatter,
        outliers(kept, reading.sample.median(logs(kept)[0]), reading.around),
        rises(seen, reading.scatter),
        *answers,
        warnings,
        unreached,
        worse,
        asked,
        replace(reading, followed=bool(warnings) or reading.deviation.evidence > _LIKELIER),
    )
    if no_start is None:
        return curve
    return replace(curve, perfect_until=Estimate(None, None, None, reason=no_start))


def _no_start(
    asked: Asked, sizes: Sequence[int], reading: Reading, worse: int | None
) -> str | None:
    """Why near-perfect scaling can't be measured from the batch size that was asked for; None if
    it can."""
    start = asked.perfect_from
    if start is None:
        return None
    if not sizes[0] <= start <= sizes[-1]:
        return (
            f"batch size {start:,}, which it is measured from, lies outside of those that reached "
            f"the goal, {sizes[0]:,} to {sizes[-1]:,}"
        )
    best = exp(reading.log_batch[np.argmin(reading.log_steps)])
    if worse is not None and start >= round(best):
        return f"steps rise again from batch size {worse:,} on"
    return None


def _refusal(
    reading: Reading, kept: Sequence[Observation], after: int | None, worse: int | None
) -> str | None:
    falling = reading.measured[:after]
    # Most pairs of points may show no fall where all of it is at the smallest batch sizes.
    fallen = falling[0] - falling[-1] > max(reading.margin, MATTERS)
    if after == 1 or (fall(*logs(kept)) <= 0 and not fallen):
        return DOES_NOT_FALL
    if after is not None and after < FEWEST:
        return (
            f"steps rise again from batch size {worse:,} on, and of the {FEWEST} batch sizes that "
            f"a curve needs only {after} are smaller"
        )
    return None
