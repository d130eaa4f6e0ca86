"""How the best value of each searched metaparameter goes with the batch size, as a power of it.

Measured twice. Of the winners: a line through the logarithms of their values, by least squares.
Of all trials that reached the goal: log steps to target is a parabola in the logarithms of the
metaparameters, with one curvature at all batch sizes and a bottom of its own at each, fitted with
weights (fewest steps / steps)^2; the line goes through the bottoms, weighted by how well each is
known and by how far they lie off any line (random effects, as in a meta-analysis). The bottom may
lie between trials, and doesn't move as the luckiest trial does. Intervals are of 90 %, by Student's
t. The logarithm is of what is natural for the metaparameter: of 1 - x for momentum and betas.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from batchfront.frontier.analysis.parabola import Parabola, fit_parabola
from batchfront.frontier.frontier import Point
from batchfront.frontier.queries import Trial, Trials
from batchfront.phrases import listed
from batchfront.workload.scaling_rules import RULES, Quantity, natural_quantity, optimizer_of
from batchfront.workload.search_space import Choice, Value, dimensions

EFFECTIVE = "effective learning rate"

FEWEST = 3
"""Batch sizes that an interval needs."""

MOST_BEYOND = 1 / 3
"""Of the batch sizes, so many may have their best beyond the searched range: of more, those that
are left tell little."""

SURE = 3.0
"""Standard errors by which the parabola must be curved in a metaparameter for it to have a best."""

_SHARE = 0.95  # of Student's t, on either side

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Exponent:
    """A power of the batch size, with its 90 % interval, of the best at these batch sizes.

    low, high -- None for fewer than three batch sizes
    """

    value: float
    low: float | None
    high: float | None
    batch_sizes: tuple[int, ...]


@dataclass(frozen=True)
class Exponents:
    """How a searched metaparameter goes with the batch size: 1 is linear, 0.5 the square root.

    name      -- of the metaparameter, or `EFFECTIVE`
    quantity  -- what of it: `1 - beta1`
    winners   -- of the winners' values; None where they have fewer than two batch sizes
    finishers -- of what the steps of all trials that reached the goal say is best
    reason    -- why that is None, as a clause
    beyond    -- batch sizes that it leaves out, as by the steps the best lies beyond the range
    edges     -- batch size to the end, "low" or "high", of the range at which the winner lies
    rules     -- the power that each published rule which speaks of such an optimizer has for it: 0
                 where the rule keeps it
    """

    name: str
    quantity: str
    winners: Exponent | None
    finishers: Exponent | None
    reason: str
    beyond: tuple[int, ...]
    edges: Mapping[int, str]
    rules: Mapping[str, float]

    @property
    def notes(self) -> list[str]:
        """What to know about it, clauses."""
        beyond = f"what is best of it lies beyond the searched range at {_sizes(self.beyond)}"
        edge = f"winners lie at an end of the range at {_sizes(self.edges)}: better may lie beyond"
        said = [self.reason, beyond if self.beyond else "", edge if self.edges else ""]
        return [*filter(None, said)]


def _sizes(batch_sizes: Iterable[int]) -> str:
    return listed([f"{batch_size:,}" for batch_size in batch_sizes])


def published(one: Exponents) -> str | None:
    """What the rules say of it: "1 linear; 0.5 square-root"; None if all keep it."""
    powers: dict[float, list[str]] = {}
    for rule, power in one.rules.items():
        if power:
            powers.setdefault(power, []).append(rule)
    said = [f"{power:g} {listed(rules)}" for power, rules in powers.items()]
    return "; ".join(said) or None


@dataclass(frozen=True)
class _Axis:
    """A coordinate of the search: a metaparameter's natural quantity, or the effective rate."""

    name: str
    quantity: Quantity
    parts: tuple[str, ...]

    @classmethod
    def of(cls, name: str, points: Sequence[Point]) -> "_Axis":
        dimension = next(iter(dimensions(point.space)[name] for point in points))
        return cls(name, natural_quantity(name, dimension), (name,))

    def at(self, params: Mapping[str, Value]) -> float | None:
        """The coordinate of metaparameters; None where it has none."""
        if self.name == EFFECTIVE:
            rate, gap = _RATE.at(params), _MOMENTUM.at(params)
            return None if rate is None or gap is None else rate - gap
        value = params.get(self.name)
        if value is None or not self.quantity.holds(value):
            return None
        return log(self.quantity.of(float(value)))

    def ends(self, point: Point) -> tuple[float, float] | None:
        """The ends of the coordinate's range in a study, ascending."""
        space = dimensions(point.space)
        corners: list[dict[str, Value]] = [{}]
        for name in self.parts:
            dimension = space.get(name)
            if dimension is None or isinstance(dimension, Choice):
                return None
            ends = [dimension.at(position) for position in (0.0, 1.0)]
            corners = [{**corner, name: end} for corner in corners for end in ends]
        found = [value for corner in corners if (value := self.at(corner)) is not None]
        return (min(found), max(found)) if found else None


_RATE = _Axis("learning_rate", natural_quantity("learning_rate"), ("learning_rate",))
_MOMENTUM = _Axis("momentum", natural_quantity("momentum"), ("momentum",))
_EFFECTIVE = _Axis(EFFECTIVE, natural_quantity(EFFECTIVE), ("learning_rate", "momentum"))


def exponents(won: Sequence[Point], trials: Trials) -> tuple[Exponents, ...]:
    """The exponents of every metaparameter that is searched at all batch sizes with a winner and
    has a logarithm there, and of the effective learning rate; none for a single batch size.

    won -- the points that have a winner, by batch size
    """
    searched = _searched(won)
    if len(won) < 2 or not searched:
        return ()
    reached = [_reached(trials.get(point.study.id, ())) for point in won]
    found = _measured(searched, searched, won, reached)
    if {"learning_rate", "momentum"} <= {axis.name for axis in searched}:
        turned = [_EFFECTIVE if axis.name == "learning_rate" else axis for axis in searched]
        found += _measured([_EFFECTIVE], turned, won, reached)
    return tuple(found)


def _searched(won: Sequence[Point]) -> list[_Axis]:
    """The learning rate and momentum first."""
    spaces = [dimensions(point.space) for point in won]
    names = [name for name in (spaces[0] if spaces else ()) if all(name in s for s in spaces)]
    axes = [_Axis.of(name, won) for name in names]
    known = [axis for axis in axes if all(axis.at(point.params) is not None for point in won)]
    first = ("learning_rate", "momentum")
    return sorted(known, key=lambda axis: first.index(axis.name) if axis.name in first else 2)


def _reached(trials: Sequence[Trial]) -> list[Trial]:
    return [t for t in trials if t.steps_to_target is not None and t.steps_to_target > 0]


def _measured(
    told: Sequence[_Axis],
    axes: Sequence[_Axis],
    won: Sequence[Point],
    reached: Sequence[Sequence[Trial]],
) -> list[Exponents]:
    """The exponents of some of the axes, the others of which are part of the parabola."""
    fitted = _fitted(axes, reached)
    optimizer = optimizer_of(won[0].study.identity, won[0].params)
    rules = [rule for rule in RULES.values() if rule.speaks_of(optimizer, won[0].params)]
    found = []
    for axis in told:
        finishers, beyond, reason = _of_bottoms(fitted, axis, won)
        edges = {p.batch_size: p.edges[n] for p in won for n in axis.parts if n in p.edges}
        powers = {rule.name: rule.power_of(axis.parts[0]) for rule in rules}
        name = axis.quantity.named(axis.name)
        winners = _of_winners(axis, won)
        found.append(Exponents(axis.name, name, winners, finishers, reason, beyond, edges, powers))
    return found


def _of_winners(axis: _Axis, won: Sequence[Point]) -> Exponent | None:
    values = np.array([axis.at(point.params) for point in won], dtype=float)
    return line([point.batch_size for point in won], values)


def line(batch_sizes: Sequence[int], values: Array, covariance: Array | None = None) -> Exponent:
    """The slope of values over log batch size, at least two of them.

    values     -- [n], logarithms of what is best
    covariance -- of their errors, [n, n]; None: they are alike and independent. What they lie off
                  the line by beyond that is taken for more of it, alike for all and independent

    Of n values the interval is by Student's t of n - 2 degrees of freedom.
    """
    n = len(batch_sizes)
    design = np.column_stack([np.ones(n), np.log(np.array(batch_sizes, dtype=float))])
    known = np.zeros((n, n)) if covariance is None else covariance
    scatter = _scatter(design, values, known) if n >= FEWEST else 1.0
    slope, variance, _ = _least_squares(design, values, known + scatter * np.eye(n))
    if n < FEWEST:
        return Exponent(slope, None, None, tuple(batch_sizes))
    half = float(stdtrit(n - 2, _SHARE)) * variance**0.5
    return Exponent(slope, slope - half, slope + half, tuple(batch_sizes))


def _scatter(design: Array, values: Array, known: Array) -> float:
    """The variance with which the line leaves what is expected of it (Paule and Mandel 1982)."""
    free = len(values) - 2
    least = 1e-12 * (1 + float(np.ptp(values)) ** 2)  # exact points have no error to divide by
    below, above = least, least + 10 * float(np.var(values))
    if _least_squares(design, values, known + below * np.eye(len(values)))[2] <= free:
        return below
    for _ in range(60):
        middle = (below * above) ** 0.5
        left = _least_squares(design, values, known + middle * np.eye(len(values)))[2]
        below, above = (middle, above) if left > free else (below, middle)
    return above


def _least_squares(design: Array, values: Array, covariance: Array) -> tuple[float, float, float]:
    """The slope, its variance, and the sum of squares left, in units of the covariance."""
    weights = np.linalg.inv(covariance)
    inverse = np.linalg.inv(design.T @ weights @ design)
    fitted = inverse @ design.T @ weights @ values
    left = values - design @ fitted
    return float(fitted[1]), float(inverse[1, 1]), float(left @ weights @ left)


@dataclass(frozen=True)
class _Fitted:
    """The parabola in those axes in which it is surely curved, fitted to the points at these
    places; or, where there are too few trials, the reason why there is none."""

    parabola: Parabola | None
    axes: tuple[_Axis, ...]
    places: tuple[int, ...]
    reason: str = ""


def _fitted(axes: Sequence[_Axis], reached: Sequence[Sequence[Trial]]) -> _Fitted:
    """The parabola, without the axes that aren't told from flat, the flattest first, and those
    that take fewer than three values, which make no parabola."""
    some = [mine for mine in reached if len(mine) >= FEWEST]
    kept = [axis for axis in axes if _values(axis, some) >= FEWEST or len(some) < FEWEST]
    while kept:
        places, samples = _samples(kept, reached)
        if len(places) < FEWEST:
            needed = len(kept) + 2
            reason = f"fewer than {FEWEST} batch sizes have {needed} trials that reached the goal"
            return _Fitted(None, tuple(kept), (), reason)
        parabola = fit_parabola(samples)
        if parabola is None:
            return _Fitted(None, tuple(kept), (), "too few trials have reached the goal")
        if parabola.bowl and min(parabola.t_statistics) >= SURE:
            return _Fitted(parabola, tuple(kept), tuple(places))
        kept.pop(int(np.argmin(parabola.t_statistics)))
    return _Fitted(None, (), ())


def _values(axis: _Axis, reached: Sequence[Sequence[Trial]]) -> int:
    """How many different values an axis takes at the batch size where they are the fewest."""
    counts = (len({axis.at(trial.params) for trial in mine}) for mine in reached)
    return min(counts, default=0)


def _samples(
    axes: Sequence[_Axis], reached: Sequence[Sequence[Trial]]
) -> tuple[list[int], list[tuple[Array, Array]]]:
    """The points with enough trials, and their coordinates [n, axes] and log steps [n]."""
    places, samples = [], []
    for place, mine in enumerate(reached):
        rows = [
            ([axis.at(trial.params) for axis in axes], log(trial.steps_to_target or 1))
            for trial in mine
        ]
        whole = [(row, steps) for row, steps in rows if None not in row]
        if len(whole) >= len(axes) + 2:
            places.append(place)
            coordinates = np.array([row for row, _ in whole], dtype=float)
            samples.append((coordinates, np.array([steps for _, steps in whole])))
    return places, samples


def _of_bottoms(
    fitted: _Fitted, axis: _Axis, won: Sequence[Point]
) -> tuple[Exponent | None, tuple[int, ...], str]:
    """The exponent of the bottoms on an axis, the batch sizes that it leaves out, as theirs lies
    beyond the range, and why there is none."""
    if fitted.reason:
        return None, (), fitted.reason
    if fitted.parabola is None or axis not in fitted.axes:
        return None, (), "its range is too flat to tell what is best of it"
    at = fitted.axes.index(axis)
    inside: list[int] = []
    beyond: list[int] = []
    for n, place in enumerate(fitted.places):
        ends = axis.ends(won[place])
        bottom = fitted.parabola.bottoms[n, at]
        within = ends is None or ends[0] <= bottom <= ends[1]
        (inside if within else beyond).append(n)
    left_out = tuple(won[fitted.places[n]].batch_size for n in beyond)
    if len(inside) < FEWEST or len(beyond) > MOST_BEYOND * len(fitted.places):
        return None, left_out, "too few batch sizes tell what is best of it"
    values = fitted.parabola.bottoms[:, at][inside]
    covariance = fitted.parabola.covariance(at)[np.ix_(inside, inside)]
    sizes = [won[fitted.places[n]].batch_size for n in inside]
    return line(sizes, values, covariance), left_out, ""
