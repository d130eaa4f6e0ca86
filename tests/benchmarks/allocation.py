"""How many trials until it is known how far a larger batch is useful: shared out, and in equal
numbers. Generated searches whose truth is known.

    python -m tests.benchmarks.allocation --searches 12

Log steps are those of a generated curve, and more by a square of how far the effective learning
rate lies from its optimum, which moves with the batch size, and of how far the momentum does; one
run has normal noise around them. Where the rate is five times the best, training diverges. Trials
are raced, sampled and shared out by the product's own functions, four of a batch size in a round
of equal shares, up to 32; both ways stop by the same rule, and coverage is the share of intervals
that hold the truth when it stopped them.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from math import exp, inf, log
from statistics import mean, median

import numpy as np

from batchfront.frontier.allocation import Known, Settled, foretold, next_round
from batchfront.frontier.curve.forms import Form
from batchfront.outcomes import cap
from batchfront.surrogate.evidence import Evidence, Kind
from batchfront.surrogate.proposal import propose
from batchfront.workload.search_space import Log, Metaparameters, ReverseLog
from batchfront.workload.seeds import mix
from batchfront.workload.workload import powers_of_two
from tests.benchmarks.generated_curves import draw_truth
from tests.benchmarks.markdown import table

SIZES = powers_of_two(4, 512)
SPACE = {"learning_rate": Log(1e-3, 3.0), "momentum": ReverseLog(0.0, 0.99)}
TOGETHER, MOST = 4, 32
AFTER = (96, 128, 160, 192)
"""Trials, at all batch sizes together, after which the interval is looked at."""

BUDGET = 4.0
"""Of steps, in multiples of what the best metaparameters take at the smallest batch size."""


class World:
    """A workload whose expected steps are known everywhere, as are the rates that break it."""

    def __init__(self, seed: int, finishers: int) -> None:
        self._rng = rng = np.random.default_rng(seed)
        self._finishers, self.truth = finishers, draw_truth(rng, Form.THREE_PARAMETERS, SIZES)
        self._noise, self._rate = rng.uniform(0.2, 0.3), rng.uniform(-1.2, 0.0)
        self._tilt, self._bend = rng.uniform(0.3, 0.8), rng.uniform(0.1, 0.4)
        self._momentum = rng.uniform(0.0, 2.5)
        self._most = BUDGET * exp(self._best(SIZES[0]))
        self._passed: dict[int, list[float]] = {}
        self.examples = 0.0  # trained on, in multiples of E_min

    def _best(self, batch_size: int) -> float:
        return float(self.truth.log_steps(np.array([log(batch_size)]))[0])

    def _steps(self, batch_size: int, point: Metaparameters) -> float:
        """What one run takes; infinite where it diverges."""
        rate, slack = float(point["learning_rate"]), 1 - float(point["momentum"])
        away = log(rate / slack) - self._rate - self._tilt * log(batch_size / 8)
        if away > log(5):
            return inf
        more = self._bend * away**2 + 0.05 * (-log(slack) - self._momentum) ** 2
        return exp(self._best(batch_size) + more + self._noise * self._rng.standard_normal())

    def race(self, batch_size: int, points: Sequence[Metaparameters]) -> list[Evidence]:
        """What trials show that race together, capped as those before them have it."""
        steps = [self._steps(batch_size, point) for point in points]
        passed = self._passed.setdefault(batch_size, [])
        passed += [one for one in steps if one <= self._most]
        until = min(cap(passed, self._finishers) or inf, self._most)
        shown = [_ended(batch_size, *one, until) for one in zip(points, steps, strict=True)]
        trained = batch_size * sum(one.steps for one in shown)
        self.examples += trained / exp(self.truth.log_s_min + self.truth.log_half)
        return shown


def _ended(batch_size: int, point: Metaparameters, steps: float, until: float) -> Evidence:
    if steps == inf:
        return Evidence(batch_size, point, Kind.INFEASIBLE, max(round(until / 10), 1))
    kind = Kind.REACHED if steps <= until else Kind.MORE_THAN
    return Evidence(batch_size, point, kind, max(round(min(steps, until)), 1))


@dataclass
class Search:
    """How one search went.

    trials, examples -- at its end
    factors          -- after how many trials the interval lay within which factor of its value
    known            -- what it knew at its end; None if nothing
    useful_until     -- the truth, as a log
    """

    useful_until: float
    trials: int = 0
    examples: float = 0.0
    factors: dict[int, float] = field(default_factory=dict)
    known: Known | None = None
    why: str = ""

    @property
    def holds(self) -> bool:
        """Whether the interval holds the truth; an end that is open does."""
        found = None if self.known is None else self.known.answer
        low = 0.0 if found is None or found.low is None else found.low
        high = inf if found is None or found.high is None else found.high
        return low <= exp(self.useful_until) <= high


def search(seed: int, finishers: int, *, auto: bool, until: float = 1.3) -> Search:
    """Search until no further trial is needed, or of use."""
    world, spaces = World(seed, finishers), dict.fromkeys(SIZES, SPACE)
    found = Search(float(world.truth.answers(SIZES[0])["useful_until"]))
    shown: list[Evidence] = []
    trials: dict[int, int] = dict.fromkeys(SIZES, 0)
    number = 0
    while True:
        left = {size: MOST - count for size, count in trials.items()}
        found.known = foretold(spaces, shown, finishers)
        given = next_round(found.known, trials, left, together=TOGETHER, until=until)
        found.factors[found.trials] = inf if found.known is None else found.known.factor
        if isinstance(given, Settled):
            found.why = given.why
            return found
        wanted: Mapping[int, int] = given if auto else dict.fromkeys(SIZES, TOGETHER)
        for size, points in propose(spaces, shown, wanted, mix(seed, number)).items():
            shown += world.race(size, points)
            trials[size] += len(points)
        number += 1
        found.trials, found.examples = sum(trials.values()), world.examples


def _run(case: tuple[int, int, bool]) -> Search:
    seed, finishers, auto = case
    return search(seed, finishers, auto=auto)


def show(finishers: int, way: str, found: Sequence[Search]) -> list[object]:
    """A row: how sure the searches were after how many trials, and at their end."""
    row: list[object] = [f"{way}, {finishers} finisher{'s' * (finishers > 1)}"]
    for most in AFTER:
        row.append(f"{median(_factor(one, most) for one in found):.2f}")
    off = [
        abs(log(one.known.answer.value) - one.useful_until)
        for one in found
        if one.known and one.known.answer.value
    ]
    return [
        *row,
        f"{mean(one.trials for one in found):.0f}",
        f"{median(one.examples for one in found):.0f}",
        f"{median(_factor(one, one.trials) for one in found):.2f}",
        f"{exp(median(off)):.2f}" if off else "-",
        f"{mean(one.holds for one in found):.2f}",
    ]


def _factor(one: Search, most: int) -> float:
    """Of the interval, after so many trials, or at the end of a search that had fewer."""
    return one.factors[max(trials for trials in one.factors if trials <= most)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one search, with one finisher")
    parser.add_argument("--searches", type=int, default=12, help="of each kind")
    parser.add_argument("--finishers", type=int, nargs="*", default=[1, 4, 8])
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args(arguments)
    seeds = range(1 if asked.quick else asked.searches)
    kinds = list(product([1] if asked.quick else asked.finishers, (True, False)))
    columns = (
        "factor of the interval",
        *(f"after {most}" for most in AFTER),
        "all trials",
        "examples / E_min",
        "factor",
        "off by",
        "coverage",
    )
    rows = []
    with ProcessPoolExecutor(asked.processes) as pool:
        for finishers, auto in kinds:
            found = list(pool.map(_run, [(seed, finishers, auto) for seed in seeds]))
            rows.append(show(finishers, "shared out" if auto else "equal", found))
            print(rows[-1], file=sys.stderr, flush=True)
    print(table(columns, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
