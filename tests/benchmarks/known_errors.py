"""Do the curve's intervals hold the truth where the errors of its points are known? Generated
curves, whose points are off by themselves or together, as a surrogate's are.

    python -m tests.benchmarks.known_errors
"""

import argparse
import sys
from collections.abc import Sequence
from math import exp, inf, log
from statistics import mean, median

import numpy as np

from batchfront.frontier.curve.curve import fit_curve
from batchfront.frontier.curve.fit import Observation
from batchfront.frontier.curve.forms import Array, Form
from batchfront.workload.workload import powers_of_two
from tests.benchmarks.generated_curves import draw_truth
from tests.benchmarks.markdown import table

SIZES = powers_of_two(4, 2048)
OFF = (0.03, 0.06, 0.1)


def covariance(off: float, *, smooth: bool) -> Array:
    """Of the points' log steps; smooth: alike at neighbouring batch sizes, and all by 10 %."""
    log_batch = np.log(SIZES)
    if not smooth:
        return off**2 * np.eye(len(SIZES))
    beside = (log_batch[:, None] - log_batch) / 1.5
    found: Array = off**2 * np.exp(-0.5 * beside**2) + 1e-5 * np.eye(len(SIZES)) + 0.1**2
    return found


def judge(errors: Array, curves: int, *, known: bool) -> str:
    """Coverage, and the factor to either side, of the interval of the useful batch size."""
    held, widths = [], []
    for seed in range(curves):
        rng = np.random.default_rng(seed)
        truth = draw_truth(rng, Form.THREE_PARAMETERS, SIZES)
        off = np.linalg.cholesky(errors) @ rng.standard_normal(len(SIZES))
        steps = np.exp(truth.log_steps(np.log(SIZES)) + off).tolist()
        curve = fit_curve(map(Observation, SIZES, steps), errors=errors if known else None)
        found, true = curve.useful_until, exp(truth.answers(SIZES[0])["useful_until"])
        low, high = found.low or 0.0, found.high or inf
        held.append(low <= true <= high)
        widths.append(log(high / low) if low else inf)
    return f"{mean(held):.2f} {exp(median(widths) / 2):.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate, fit, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few curves")
    parser.add_argument("--curves", type=int, default=60, help="of each kind")
    asked = parser.parse_args(arguments)
    curves = 3 if asked.quick else asked.curves
    rows = []
    for off in OFF:
        for smooth in (False, True):
            errors = covariance(off, smooth=smooth)
            how = "together" if smooth else "each by itself"
            judged = [judge(errors, curves, known=known) for known in (False, True)]
            rows.append([f"{100 * off:.0f} %, {how}", *judged])
    print(table(("off by", "by how the points scatter", "by their known errors"), rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
