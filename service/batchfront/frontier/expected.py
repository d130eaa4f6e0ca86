"""What a run at the tuned metaparameters takes: the frontier of expected steps.

The best trial of a search is its luckiest one, and how lucky it was differs from batch size to
batch size. The surrogate of all trials says where the median over seeds is least, and what it is
there.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from batchfront.errors import BatchfrontError
from batchfront.median import variance_of_median
from batchfront.study.shown import evidence_of
from batchfront.surrogate.evidence import Evidence, Kind
from batchfront.surrogate.proposal import unmodelled
from batchfront.vocabulary import Sampler
from batchfront.workload.search_space import Metaparameters, SearchSpace, dimensions

if TYPE_CHECKING:
    from pandas import DataFrame

    from batchfront.frontier.frontier import Point
    from batchfront.surrogate.surface import Surface

FEWEST_REACHED = 4
"""Trials that have reached the goal, without which nothing is expected."""

INTERVAL = 1.6449
"""Standard deviations on either side, of 90 %."""

_WIDER, _MISFIT = 1.5, 0.08
"""What the surrogate's own variance gains, times the batch sizes for each trial that has reached
the goal, as its parameters are estimated, from these above all; and the standard deviation of log
steps by which no surface of its form is right. By searches of digits/mlp/momentum and sgd;
`tests/benchmarks/expected_coverage.py` measures what the intervals then hold."""

FEWEST_TRUSTED, FEWEST_EACH = 3, 2
"""Trials that have reached the goal, of a batch size on average and at each, from which on the
expected steps are more to be trusted than the fastest trials'. With fewer, the noise of a run is
little more than assumed."""

WIDEST_TRUSTED = 2.0
"""The ratio of the ends of every point's interval up to which they are: metaparameters may explain
little of what trials take."""

MOST = 400
"""Trials that the surrogate is shown, at most; of more than that, of every batch size as many,
evenly over the search: not the fastest, which would make all of them look faster."""

_AT_ONCE = 256  # trials of which the steps are foretold, as memory grows with their square


@dataclass(frozen=True)
class ExpectedPoint:
    """What a run takes at one batch size with the metaparameters that are recommended.

    They are those of the trial, of all that have reached the goal there, whose expected steps are
    the fewest: what nobody has trained with isn't recommended.

    steps          -- to target: the median over seeds
    low, high      -- its 90 % interval
    noise          -- the standard deviation of the logarithm of one run's steps around it
    metaparameters -- the recommended ones, the fixed ones included
    trial          -- the number of the recommended trial
    trials         -- how many trials of this batch size were evidence
    reached        -- how many of them have reached the goal
    """

    batch_size: int
    steps: float
    low: float
    high: float
    noise: float
    metaparameters: Metaparameters
    trial: int
    trials: int
    reached: int

    def of_seeds(self, count: int) -> tuple[float, float]:
        """The 90 % interval of the median of so many fresh seeds, which scatters itself."""
        own = INTERVAL * self.noise * math.sqrt(variance_of_median(count))
        below = math.hypot(math.log(self.steps / self.low), own)
        above = math.hypot(math.log(self.high / self.steps), own)
        return self.steps * math.exp(-below), self.steps * math.exp(above)

    def to_dict(self) -> dict[str, Any]:
        """The point as plain data."""
        return {**vars(self), "metaparameters": dict(self.metaparameters)}


@dataclass(frozen=True)
class ExpectedFrontier:
    """The expected steps at the batch sizes where a trial has reached the goal.

    points     -- by batch size
    refusal    -- why nothing can be expected, as a clause; None if something can
    covariance -- of the logarithms of the points' steps, [n][n]: they are known together
    """

    points: tuple[ExpectedPoint, ...] = ()
    refusal: str | None = None
    covariance: tuple[tuple[float, ...], ...] = field(default=(), repr=False)

    @property
    def by_batch_size(self) -> dict[int, ExpectedPoint]:
        """The points by their batch sizes."""
        return {point.batch_size: point for point in self.points}

    @property
    def widest(self) -> float:
        """The largest ratio of the ends of a point's interval."""
        return max((point.high / point.low for point in self.points), default=1.0)

    @property
    def trusted(self) -> bool:
        """Whether they are more to be trusted than the steps of the fastest trials."""
        return enough(point.reached for point in self.points) and self.widest <= WIDEST_TRUSTED

    def to_frame(self) -> "DataFrame":
        """The points as a pandas DataFrame; see
        `batchfront.frontier.dataframes.expected_frame`."""
        from batchfront.frontier.dataframes import expected_frame

        return expected_frame(self)

    def to_dict(self) -> dict[str, Any]:
        """As plain data: `points`, `refusal` and `trusted`."""
        points = [point.to_dict() for point in self.points]
        return {"points": points, "refusal": self.refusal, "trusted": self.trusted}


def enough(reached: Iterable[int]) -> bool:
    """Whether so many trials at each batch size have reached the goal that the expected steps are
    more to be trusted than the fastest trials'."""
    counts = list(reached)
    if len(counts) < 2:
        return False
    return min(counts) >= FEWEST_EACH and sum(counts) >= FEWEST_TRUSTED * len(counts)


def expected_frontier(
    points: Sequence["Point"], shown: Mapping[tuple[int, int], Evidence] | None = None
) -> ExpectedFrontier:
    """What is expected of a frontier's points. Never fails: it may be refused.

    shown -- by batch size and number of the trial, where it isn't what the trials have shown of
             their own goal
    """
    if shown is None:
        reached = sum(point.steps is not None for point in points)
    else:
        reached = len({size for (size, _), one in shown.items() if one.kind is Kind.REACHED})
    why = _refused(points, reached)
    if why is not None:
        return ExpectedFrontier(refusal=why)
    if shown is None:
        shown = {
            (point.batch_size, trial.number): one
            for point in points
            for trial in point.shown
            if (one := evidence_of(point.study, trial)) is not None
        }
    return expect({point.batch_size: point.space for point in points}, shown)


def expect(
    spaces: Mapping[int, SearchSpace], shown: Mapping[tuple[int, int], Evidence]
) -> ExpectedFrontier:
    """What is expected by what trials have shown, at the batch sizes where one has reached the
    goal. Never fails: it may be refused.

    spaces -- by batch size
    shown  -- by batch size and number of the trial
    """
    from batchfront.surrogate.surface import Surface

    reached = {at: one for at, one in shown.items() if one.kind is Kind.REACHED}
    why = _too_little(spaces, len(reached))
    if why is not None:
        return ExpectedFrontier(refusal=why)
    sizes = sorted({size for size, _ in reached})
    try:
        surface = Surface.fit(spaces, list(_evenly(shown)))
        chosen = _least(surface, reached)
        known = surface.expected([(size, reached[size, chosen[size]].params) for size in sizes])
        covariance = (1 + _WIDER * len(sizes) / len(reached)) * known.covariance
        covariance[np.diag_indices_from(covariance)] += _MISFIT**2
    except (BatchfrontError, ArithmeticError, ValueError) as error:  # LinAlgError is a ValueError
        return ExpectedFrontier(refusal=f"the surrogate can't be fitted to the trials ({error})")
    reach = INTERVAL * np.sqrt(covariance.diagonal())
    ends = np.exp([known.mean, known.mean - reach, known.mean + reach]).T.tolist()
    points = [
        ExpectedPoint(
            batch_size=size,
            steps=steps,
            low=low,
            high=high,
            noise=noise,
            metaparameters=reached[size, chosen[size]].params,
            trial=chosen[size],
            trials=sum(at[0] == size for at in shown),
            reached=sum(at[0] == size for at in reached),
        )
        for size, (steps, low, high), noise in zip(sizes, ends, known.noise.tolist(), strict=True)
    ]
    return ExpectedFrontier(tuple(points), covariance=tuple(map(tuple, covariance.tolist())))


def _least(surface: "Surface", reached: Mapping[tuple[int, int], Evidence]) -> dict[int, int]:
    """By batch size, the number of the trial of which the fewest steps are expected; of equals the
    lowest."""
    found: dict[int, tuple[float, int]] = {}
    numbered = sorted(reached)
    for start in range(0, len(numbered), _AT_ONCE):
        some = numbered[start : start + _AT_ONCE]
        mean = surface.expected([(at[0], reached[at].params) for at in some]).mean
        for (size, number), steps in zip(some, mean.tolist(), strict=True):
            found[size] = min(found.get(size, (math.inf, number)), (steps, number))
    return {size: number for size, (_, number) in found.items()}


def _evenly(shown: Mapping[tuple[int, int], Evidence]) -> Iterator[Evidence]:
    """At most MOST of the trials, of every batch size as many, evenly by number."""
    sizes = sorted({size for size, _ in shown})
    share = max(MOST // len(sizes), 1)
    for size in sizes:
        mine = [shown[at] for at in sorted(shown) if at[0] == size]
        kept = min(share, len(mine))
        yield from (mine[n * len(mine) // kept] for n in range(kept))


def _refused(points: Sequence["Point"], reached: int) -> str | None:
    """Why nothing can be expected, as far as that is known without the trials; so many batch sizes
    have reached the goal."""
    if any(point.measured_elsewhere for point in points):
        return "its points are steps that were measured elsewhere, without metaparameters"
    if any(point.study.sampler == Sampler.IMPORTED for point in points):
        return "its trials ran elsewhere, by rules that nobody knows here"
    if reached < 2:
        there = f"{reached} batch size{'s' * (reached != 1)}"
        return f"{there} reached the goal, and 2 are needed"
    for point in points:
        why = unmodelled(point.space)
        if why is not None:
            return f"at batch size {point.batch_size:,} {why}"
    return None


def _too_little(spaces: Mapping[int, SearchSpace], reached: int) -> str | None:
    if not any(dimensions(space) for space in spaces.values()):
        return "no metaparameter was searched"
    if reached >= FEWEST_REACHED:
        return None
    count = f"{reached} trial{'s' * (reached != 1)}"
    return f"{count} reached the goal, and {FEWEST_REACHED} are needed"
