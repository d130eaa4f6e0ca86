"""Would the search of another workload help a new one, as its prior?

    python -m tests.benchmarks.prior_elsewhere --keep kept.jsonl

The new one is digits/mlp/momentum at four batch sizes, in rounds of the joint sampler, emulated:
160 trials of each batch size are trained to the goal, or to a rule's end, and a Gaussian process
through them says what any trial takes, with the noise that they have. What is known from elsewhere
is what a search of another workload would leave: 32 quasi-random trials of each batch size, raced.
It is used in two ways:

- `first round`: the points of the first round are drawn from the other's surrogate, at the batch
  sizes and in the ranges of the new one; later rounds know the new one's own trials alone;
- `parameters`: the surrogate's parameters, as estimated from the other, are the middle of their
  prior, which is narrower than without. Of nothing: narrower about its own middle.

Counted are the studies, pairs of seed and batch size, that are within 10 % of the reference, the
median best of 64 random trials.
"""

import argparse
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import exp, inf, log, log1p
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from sklearn import gaussian_process
from sklearn.exceptions import ConvergenceWarning

from batchfront.surrogate.coordinates import Coordinates
from batchfront.surrogate.evidence import Evidence, Kind
from batchfront.surrogate.proposal import propose
from batchfront.surrogate.shape import EDGE, Shape
from batchfront.surrogate.surface import Surface
from batchfront.workload.search_space import Metaparameters, SearchSpace, quasi_random_points
from batchfront.workload.seeds import mix
from batchfront.workload.workload import powers_of_two
from tests.benchmarks.fresh_seeds import ROUND, Case, Kept, fewest, loaded
from tests.benchmarks.markdown import table

Array = NDArray[np.float64]

NEW = Case("digits/mlp/momentum", "sobol", 9000, powers_of_two(4, 512), 160, 160)
SIZES: tuple[int, ...] = (4, 16, 64, 256)

COUNTS = (4, 8, 16, 32)

_SD_EDGE, _NARROWER = 0.6, 0.6
"""With a prior from elsewhere: the deviation of the edge in e-folds, and that of the other
parameters in multiples of what it is without."""

Spaces = Mapping[int, SearchSpace]


def searches(workload: str, seeds: Sequence[int], sizes: Sequence[int], trials: int) -> list[Case]:
    """Searches of another workload, of which each new search knows one."""
    return [Case(workload, "sobol", seed, tuple(sizes), trials) for seed in seeds]


DIGITS = powers_of_two(4, 512)
ELSEWHERE = {
    "digits/mlp/nesterov_momentum": searches(
        "digits/mlp/nesterov_momentum", range(100, 104), DIGITS, 32
    ),
    "mnist/fc_256/momentum": searches("mnist/fc_256/momentum", (7,), (32,), 24),
}


class Emulated:
    """One batch size of a workload, from trials that were recorded."""

    def __init__(self, size: int, every: Sequence[Evidence]) -> None:
        shown = [e for e in every if e.batch_size == size]
        self._size = size
        x = np.array([_smooth(e.params) for e in shown])
        self._low, self._width = x.min(0), np.ptp(x, axis=0)
        x = (x - self._low) / self._width
        works = np.array([e.kind == Kind.REACHED for e in shown])
        steps = np.log([e.steps for e in shown])
        self._level = float(steps[works].mean())
        self._steps = _process(x[works], steps[works] - self._level, 2.5)
        self._works = _process(x, np.where(works, 1.0, -1.0), 1.5)
        self._noise = float(np.sqrt(self._steps.kernel_.k2.noise_level))
        self._failed = [e for e, worked in zip(shown, works, strict=True) if not worked]
        self._at = x[~works]

    def runs(self, points: Sequence[Metaparameters], rng: np.random.Generator) -> list[Evidence]:
        """What trials of some points come to, if nothing caps them: those that don't reach the goal
        end as the nearest of the recorded ones."""
        x = (np.array([_smooth(point) for point in points]) - self._low) / self._width
        log_steps = self._steps.predict(x) + self._level
        log_steps += self._noise * rng.normal(size=len(points))
        works = rng.random(len(points)) < 1 / (1 + np.exp(-4 * self._works.predict(x)))
        found = []
        for at, point in enumerate(points):
            if works[at]:
                ended = (Kind.REACHED, max(1.0, round(exp(log_steps[at]))))
            else:
                nearest = self._failed[int(((self._at - x[at]) ** 2).sum(1).argmin())]
                ended = (nearest.kind, nearest.steps)
            found.append(Evidence(self._size, point, *ended))
        return found

    def reference(self, space: SearchSpace, trials: int, times: int) -> float:
        """The median, over so many times, of the best of so many random trials."""
        rng = np.random.default_rng(self._size)
        ran = self.runs(quasi_random_points(space, trials * times, mix(self._size)), rng)
        steps = [e.steps if e.kind == Kind.REACHED else inf for e in ran]
        shuffled = rng.permutation(steps).reshape(times, trials)
        return float(median(shuffled.min(1).tolist()))


def _smooth(params: Metaparameters) -> list[float]:
    """Where a point of learning rate and momentum lies: log effective rate, -log(1 - momentum)."""
    slower = -log1p(-float(params["momentum"]))
    return [log(float(params["learning_rate"])) + slower, slower]


def _process(x: Array, y: Array, smooth: float) -> Any:
    kernels: Any = gaussian_process.kernels
    regressor: Any = gaussian_process.GaussianProcessRegressor
    kernel = kernels.ConstantKernel(1.0, (0.05, 30))
    kernel *= kernels.Matern([0.3] * x.shape[1], (0.05, 5), nu=smooth)
    noise = kernels.WhiteKernel(0.1, (0.01, 1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # at an end of these ranges, or nearly
        return regressor(kernel + noise, random_state=0).fit(x, y)


def raced(ran: Sequence[Evidence], cap: float | None) -> list[Evidence]:
    """The same trials, raced to the first that reaches the goal and capped."""
    reached = [e.steps for e in ran if e.kind == Kind.REACHED]
    best = min([*reached, inf if cap is None else cap])
    return [
        e
        if e.steps < best or (e.kind == Kind.REACHED and e.steps == best)
        else replace(e, kind=Kind.MORE_THAN, steps=best)
        for e in ran
    ]


@dataclass(frozen=True)
class New:
    """The new workload: its emulated batch sizes, their ranges and references."""

    sizes: Mapping[int, Emulated]
    spaces: Spaces
    references: Mapping[int, float]

    def taken(self, seed: int, limit: int, first: Sequence[Evidence] | None) -> list[int]:
        """How many trials of each batch size it takes until one is within 10 % of the reference;
        more than the limit where none is.

        first -- what the first round's points are drawn from
        """
        rng = np.random.default_rng(seed)
        shown: list[Evidence] = []
        enough: dict[int, int] = {}
        for before in range(0, limit, ROUND):
            known = first if first and not before else shown
            wanted = dict.fromkeys(self.spaces, ROUND)
            drawn = propose(self.spaces, known, wanted, mix(seed, before))
            for size, points in drawn.items():
                shown += raced(self.sizes[size].runs(points, rng), fewest(shown, size))
                if (fewest(shown, size) or inf) <= 1.1 * self.references[size]:
                    enough.setdefault(size, before + ROUND)
            if len(enough) == len(self.spaces):
                break
        return [enough.get(size, limit + 1) for size in self.spaces]


def new_workload(kept: Kept, case: Case, sizes: Sequence[int], times: int) -> New:
    """Record a workload, and emulate it at some of its batch sizes."""
    shown = kept.evidence(case)
    spaces = {size: loaded(case.workload).space(size) for size in sizes}
    emulated = {size: Emulated(size, shown) for size in sizes}
    references = {size: emulated[size].reference(spaces[size], 64, times) for size in sizes}
    return New(emulated, spaces, references)


@contextmanager
def parameters_from(spaces: Spaces, shown: Sequence[Evidence]) -> Iterator[None]:
    """Let the prior of the surrogate's parameters be narrower, about what they are where all this
    was shown; where nothing was, about what they are anyway, but for the edge, which stays as
    uncertain as it is."""
    plain = Shape.of
    theta = Surface.fit(spaces, shown)._steps.theta if shown else None

    def narrowed(coordinates: Coordinates, batch_sizes: Sequence[int]) -> Shape:
        shape = plain(coordinates, batch_sizes)
        sd = _NARROWER * shape.sd
        sd[EDGE] = shape.sd[EDGE] if theta is None else _SD_EDGE
        return replace(shape, mean=shape.mean if theta is None else theta.copy(), sd=sd)

    with patch.object(Shape, "of", narrowed):
        yield


def misleading(shown: Sequence[Evidence], factor: float) -> list[Evidence]:
    """The same, had it been found at so many times the learning rate."""
    rates = [factor * float(e.params["learning_rate"]) for e in shown]
    return [
        replace(e, params={**e.params, "learning_rate": rate})
        for e, rate in zip(shown, rates, strict=True)
    ]


WAYS = ("first round", "parameters")


def row(
    new: New, label: str, way: str, known: Sequence[Sequence[Evidence]], seeds: range, limit: int
) -> list[str]:
    """What new searches come to that know one or the other search from elsewhere."""
    taken = []
    for seed in seeds:
        shown = known[seed % len(known)] if known else []
        if way == "parameters":
            with parameters_from(new.spaces, shown):
                taken.append(new.taken(seed, limit, None))
        else:
            taken.append(new.taken(seed, limit, shown))
    every = [n for of_seed in taken for n in of_seed]
    shares = [f"{sum(n <= c for n in every) / len(every):.2f}" for c in COUNTS if c <= limit]
    means = [mean(min(n, limit) for n in of_seed) for of_seed in taken]
    error = stdev(means) / len(means) ** 0.5
    return [label, way, *shares, f"{mean(means):.1f} ± {error:.1f}"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small searches, two seeds")
    parser.add_argument("--seeds", type=int, default=48)
    parser.add_argument("--keep", type=Path, help="what was trained, so that none is trained twice")
    asked = parser.parse_args(arguments)
    kept = Kept(asked.keep)
    case, sizes, limit, seeds, times = NEW, SIZES, 32, range(asked.seeds), 200
    elsewhere = ELSEWHERE
    if asked.quick:
        sizes, limit, seeds, times = (256,), 8, range(2), 5
        case = replace(NEW, batch_sizes=sizes, trials=24, finishers=24)
        other = "digits/mlp/nesterov_momentum"
        elsewhere = {other: searches(other, (0,), sizes, 8)}
    new = new_workload(kept, case, sizes, times)
    rows = [row(new, "nothing", way, [], seeds, limit) for way in ("", "parameters")]
    for name, cases in elsewhere.items():
        known = [kept.evidence(one) for one in cases]
        rows += [row(new, name, way, known, seeds, limit) for way in WAYS]
    for factor in (10, 0.1):
        wrong = [misleading(one, factor) for one in known]
        label = f"{name}, rates x {factor}"
        rows += [row(new, label, way, wrong, seeds, limit) for way in WAYS]
    counts = [str(count) for count in COUNTS if count <= limit]
    print(table(["from elsewhere", "as", *counts, "mean trials"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
