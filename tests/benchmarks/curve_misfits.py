"""What is said of points that no such curve goes through, and how well they are foretold?

    python -m tests.benchmarks.curve_misfits --check

Generated points, at ten batch sizes from 2 to 1,024, whose truth is no curve of the service's
forms: a drop in one place, steps that rise again, a plateau before the fall, a sharper bend than
any. An answer contradicts the truth where all it allows lies more than one doubling from it. Beside
it: each point between the ends left out, and read off the curve and off the straight line, in logs,
through its neighbours; for real curves too, with the noise of a search, as a comparison.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from math import inf, log

import numpy as np

from batchfront.frontier.curve.curve import Curve, fit_curve
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.curve.fit import Observation
from batchfront.frontier.curve.forms import Array
from tests.benchmarks.curve_holdout import Foretold, Measured, foretell, rms
from tests.benchmarks.markdown import table

SIZES = tuple(2**k for k in range(1, 11))
_FINE = np.linspace(log(2), log(1024), 1801)  # log batch sizes, 200 a doubling

Shape = Callable[[Array, float], Array]
"""Log steps of log batch sizes, and where the shape has its place."""

SHAPES: dict[str, Shape] = {
    "a drop in one place": lambda b, at: 7 - 0.1 * b - 2 * (b > at + 0.3),
    "steps rise again": lambda b, at: 5 + np.log1p(np.exp(at - b) + np.exp(2 * (b - at - 1))),
    "a plateau, then a fall": lambda b, at: 9 - np.maximum(b - at, 0),
    "a sharp bend": lambda b, at: 5 + np.maximum(at - b, 0),
    "no misfit": lambda b, at: 5 + np.log1p(np.exp(at - b)),
}


def points(shape: Shape, at: float, noise: float, rng: np.random.Generator) -> list[Observation]:
    """Measured with this noise of log steps."""
    steps = np.exp(shape(np.log(SIZES), at) + noise * rng.standard_normal(len(SIZES)))
    return [Observation(size, float(one)) for size, one in zip(SIZES, steps, strict=True)]


def truths(shape: Shape, at: float) -> dict[str, float]:
    """The logs of the true answers: the last size of at most 20 % more examples than 2, and the
    last whose doubling saves 10 %; infinite where that lies beyond the measured ones."""
    steps = shape(_FINE, at)
    cheap = _FINE[_FINE + steps - _FINE[0] - steps[0] <= log(1.2)][-1]
    saving = steps - shape(_FINE + log(2), at) >= -log(0.9)
    useful = _FINE[saving][-1] if saving.any() else -inf
    ends = {"perfect_until": float(cheap), "useful_until": float(useful)}
    return {name: inf if end == _FINE[-1] else end for name, end in ends.items()}


def contradicts(estimate: Estimate, truth: float) -> bool:
    """Whether all that it allows lies more than a doubling from the truth."""
    low, high = (end and log(end) for end in (estimate.low, estimate.high))
    return bool(
        (low is not None and low > truth + log(2)) or (high is not None and high < truth - log(2))
    )


def left_out(seen: list[Observation]) -> list[Foretold]:
    """Each point between the ends, from the others."""
    measured = Measured("generated", 0, tuple(seen))
    return [foretell(measured, index) for index in range(1, len(seen) - 1)]


def row(name: str, noise: float, count: int) -> tuple[list[str], dict[str, float]]:
    """A row of the table, and its numbers."""
    curves: list[tuple[Curve, dict[str, float]]] = []
    errors: list[Foretold] = []
    for number in range(count):
        rng = np.random.default_rng([number, round(1000 * noise)])
        at = float(rng.uniform(log(12), log(96)))
        seen = points(SHAPES[name], at, noise, rng)
        curves.append((fit_curve(seen), truths(SHAPES[name], at)))
        errors += left_out(seen) if number < count // 4 else []
    wrong = {
        answer: np.mean(
            [contradicts(getattr(curve, answer), true[answer]) for curve, true in curves]
        )
        for answer in ("perfect_until", "useful_until")
    }
    numbers = {
        "warned": float(np.mean([bool(curve.warnings or curve.refusal) for curve, _ in curves])),
        "perfect wrong": float(wrong["perfect_until"]),
        "useful wrong": float(wrong["useful_until"]),
    }
    curve, line = (rms([getattr(one, kind) for one in errors]) for kind in ("curve", "line"))
    held = np.mean([one.held for one in errors])
    shown = [f"{share:.0%}" for share in numbers.values()]
    return [name, f"{noise:g}", *shown, f"{curve:.3f}", f"{line:.3f}", f"{held:.0%}"], numbers


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate, fit, print the table; with --check 1 where a misfit is silently answered wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few curves")
    parser.add_argument("--curves", type=int, default=100, help="in each row")
    parser.add_argument("--check", action="store_true", help="exit 1 where answers are wrong")
    asked = parser.parse_args(arguments)
    found = [
        row(name, noise, 4 if asked.quick else asked.curves)
        for name in SHAPES
        for noise in (0.02, 0.1)
    ]
    columns = (
        "points|noise|warned|perfect until wrong|useful until wrong|left out: curve|line|in 90 %"
    )
    print(table(columns.split("|"), [cells for cells, _ in found]))
    broken = [
        cells[0]
        for cells, numbers in found
        if max(numbers["perfect wrong"], numbers["useful wrong"]) > 0.1
        or (cells[0] == "no misfit" and numbers["warned"] > 0.05)
    ]
    for name in broken:
        print(f"{name}: answered wrong, or warned of without need", file=sys.stderr)
    return 1 if broken and asked.check else 0


if __name__ == "__main__":
    sys.exit(main())
