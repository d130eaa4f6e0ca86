"""Does the curve foretell points that it has not seen? Measured curves of our own workloads.

    python -m tests.benchmarks.curve_holdout --check

Each batch size between the ends is left out in turn and read off the curve through the others,
beside the straight line, in logs, between its neighbours; then the largest is left out and read
off the curve's continuation, beside the line through the two before it. The points, and how they
were made, are in `measured_curves.json`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from pathlib import Path
from statistics import mean, median

import numpy as np

from batchfront.frontier.curve.curve import fit_curve
from batchfront.frontier.curve.fit import Observation
from tests.benchmarks.markdown import table

MEASURED = Path(__file__).with_name("measured_curves.json")


@dataclass(frozen=True)
class Measured:
    """One search of a workload."""

    workload: str
    seed: int
    points: tuple[Observation, ...]


@dataclass(frozen=True)
class Foretold:
    """Errors of log steps, of the curve and of the straight line, at one point left out; whether
    the 90 % interval for a new point held it."""

    workload: str
    curve: float
    line: float
    held: bool


def measured_curves() -> list[Measured]:
    """The committed points."""
    return [
        Measured(one["workload"], one["seed"], tuple(Observation(*p) for p in one["points"]))
        for one in json.loads(MEASURED.read_text())["curves"]
    ]


def foretell(measured: Measured, index: int) -> Foretold:
    """The point at `index` from all others; the line from two neighbours, or the two before."""
    out = measured.points[index]
    others = [*measured.points[:index], *measured.points[index + 1 :]]
    shown = fit_curve(others).predict([out.batch_size])
    near = others[index - 1 : index + 1] if index < len(others) else others[-2:]
    true = log(out.middle)
    return Foretold(
        measured.workload,
        log(shown.median[0]) - true,
        _line(near[0], near[1], out.batch_size) - true,
        bool(shown.new_low[0] <= out.middle <= shown.new_high[0]),
    )


def _line(first: Observation, second: Observation, batch_size: int) -> float:
    slope = log(second.middle / first.middle) / log(second.batch_size / first.batch_size)
    return log(first.middle) + slope * log(batch_size / first.batch_size)


def rows(name: str, found: Sequence[Foretold]) -> list[list[str]]:
    """One row a workload, and one of all."""
    workloads = [*dict.fromkeys(one.workload for one in found), "all"]
    shown = []
    for workload in workloads:
        some = [one for one in found if workload in (one.workload, "all")]
        curve, line = ([getattr(one, kind) for one in some] for kind in ("curve", "line"))
        shown.append(
            [
                f"{name}: {workload}",
                str(len(some)),
                *(f"{rms(errors):.3f}" for errors in (curve, line)),
                *(f"{median(map(abs, errors)):.3f}" for errors in (curve, line)),
                f"{exp(mean(curve)):.2f}×",
                f"{mean(one.held for one in some):.0%}",
            ]
        )
    return shown


def rms(errors: Sequence[float]) -> float:
    """The root of the mean square."""
    return sqrt(float(np.mean(np.square(errors))))


def main(arguments: Sequence[str] | None = None) -> int:
    """Leave out, foretell, print the table; with --check 1 where a line does better."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the first curve alone")
    parser.add_argument("--check", action="store_true", help="exit 1 where a line does better")
    asked = parser.parse_args(arguments)
    curves = measured_curves()[: 1 if asked.quick else None]
    kinds = {
        "between": [foretell(c, i) for c in curves for i in range(1, len(c.points) - 1)],
        "beyond": [foretell(c, len(c.points) - 1) for c in curves],
    }
    columns = "left out|points|rms error: curve|line|median error: curve|line|bias|in 90 %"
    print(
        table(columns.split("|"), [row for name, some in kinds.items() for row in rows(name, some)])
    )
    worse = [
        f"{name}: {rms([f.curve for f in some]):.3f} against the line's "
        f"{rms([f.line for f in some]):.3f}"
        for name, some in kinds.items()
        if rms([f.curve for f in some]) > rms([f.line for f in some])
    ]
    for line in worse:
        print(line, file=sys.stderr)
    return 1 if worse and asked.check else 0


if __name__ == "__main__":
    sys.exit(main())
