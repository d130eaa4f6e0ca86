"""Whether the exponents of metaparameters are those of generated searches, within their intervals.

    python -m tests.benchmarks.exponents

The best learning rate goes with the square root of the batch size, beside another metaparameter.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batchfront.frontier.analysis.exponents import SURE, Exponent, line
from batchfront.frontier.analysis.parabola import fit_parabola
from batchfront.workload.sobol import scrambled_sobol
from tests.benchmarks.markdown import table

POWER = 0.5
LOW, HIGH = np.log(1e-3), np.log(3.0)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Kind:
    """A kind of search: what the logarithm of steps is, and what of it is seen.

    cliff -- steps fall as 1 / rate up to the best, and rise steeply beyond
    tilt  -- by how much another metaparameter moves the best rate
    off   -- standard deviation of the logarithm by which the best leaves the power law
    first -- so many trials reach the goal before the others are stopped; None: all
    """

    name: str
    curvature: float = 0.3
    cliff: bool = False
    tilt: float = 0.0
    off: float = 0.0
    noise: float = 0.15
    trials: int = 64
    first: int | None = None
    sizes: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256, 512)


KINDS = (
    Kind("a parabola"),
    Kind("1 / rate, then a cliff", cliff=True),
    Kind("moved by another metaparameter", tilt=0.7),
    Kind("off the power law by 0.4", off=0.4),
    Kind("noise 0.4", noise=0.4),
    Kind("16 trials", trials=16),
    Kind("4 batch sizes, 32 trials", trials=32, sizes=(16, 64, 256, 1024)),
    Kind("the first 16 of 64", first=16),
    Kind("the first 16 of 64, noise 0.4", first=16, noise=0.4),
    Kind("the first 8 of 64", first=8),
    Kind("the first 8 of 64, noise 0.4", first=8, noise=0.4),
    Kind("steps don't depend on it", curvature=0.0),
)


def sample(kind: Kind, batch_size: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """The coordinates [n, 2] and log steps [n] of the trials that reach the goal."""
    drawn = scrambled_sobol(2, kind.trials, int(rng.integers(1 << 30)))
    rate, other = LOW + drawn[:, 0] * (HIGH - LOW), 4 * (drawn[:, 1] - 0.5)
    best = np.log(0.02) + POWER * np.log(batch_size / 4) + kind.off * rng.normal()
    away = rate - best + kind.tilt * other
    shape = np.where(away < 0, -away, 3 * away**2) if kind.cliff else kind.curvature * away**2
    log_steps = shape + 0.3 * other**2 + kind.noise * rng.normal(size=kind.trials)
    fastest = np.argsort(log_steps)[: kind.first]
    within = fastest[log_steps[fastest] < log_steps.min() + np.log(12)]
    return np.column_stack([rate, other])[within], log_steps[within]


def told(kind: Kind, rng: np.random.Generator) -> Exponent | None:
    """The exponent of one search; None where it is too flat to tell."""
    found = fit_parabola([sample(kind, batch_size, rng) for batch_size in kind.sizes])
    if found is None or not found.bowl or min(found.t_statistics) < SURE:
        return None
    return line(kind.sizes, found.bottoms[:, 0], found.covariance(0))


def row(kind: Kind, searches: int) -> tuple[str, ...]:
    rng = np.random.default_rng(1)
    found = [one for _ in range(searches) if (one := told(kind, rng)) is not None]
    if not found:
        return kind.name, "0", "", "", ""
    ends = np.array([(one.low, one.high) for one in found], dtype=float)
    held = np.mean((ends[:, 0] <= POWER) & (ends[:, 1] >= POWER))
    middle = np.mean([one.value for one in found])
    width = np.mean(ends[:, 1] - ends[:, 0])
    return kind.name, f"{len(found)}", f"{middle:.2f}", f"{width:.2f}", f"{held:.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=100)
    searches = parser.parse_args(arguments).searches
    head = ("search", f"told, of {searches}", "mean", "width", "interval holds it")
    print(table(head, [row(kind, searches) for kind in KINDS]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
