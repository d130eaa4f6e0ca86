"""What does a round of the joint sampler cost to draw, by the trials so far?

    python -m tests.benchmarks.draw_cost

A surrogate is fitted to made-up trials, and a round of four trials at each batch size is drawn from
it: in CPU seconds of one thread, without imports; and how long those take.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from statistics import median
from time import process_time

import numpy as np

from batchfront.surrogate.evidence import Evidence
from batchfront.surrogate.proposal import propose
from batchfront.workload.search_space import quasi_random_points
from tests.batchfront.surrogate.planted import BUDGET, MOMENTUM, ran
from tests.benchmarks.markdown import spread, table

EACH = 4  # trials of a round at a batch size

IMPORTS = "from batchfront.surrogate import feasibility, proposal"


def shown(sizes: Sequence[int], trials: int) -> list[Evidence]:
    """Quasi-random trials, four at a time, each four capped at the best of those before."""
    rng = np.random.default_rng(0)
    found: list[Evidence] = []
    for size in sizes:
        points, cap = quasi_random_points(MOMENTUM, trials, size), BUDGET
        for first in range(0, trials, EACH):
            some = [ran(size, params, rng, cap) for params in points[first : first + EACH]]
            cap = min([cap, *(e.steps for e in some if e.kind == "reached")])
            found += some
    return found


def seconds(sizes: Sequence[int], trials: int, repetitions: int) -> list[float]:
    """CPU seconds of a round, once for each repetition."""
    spaces = dict.fromkeys(sizes, MOMENTUM)
    so_far, wanted, found = shown(sizes, trials), dict.fromkeys(sizes, EACH), []
    for seed in range(repetitions):
        began = process_time()
        propose(spaces, so_far, wanted, seed)
        found.append(process_time() - began)
    return found


def imports() -> float:
    """CPU seconds of importing what the surrogate needs, in a fresh process."""
    code = f"import time, numpy; began = time.process_time(); {IMPORTS}; "
    code += "print(time.process_time() - began)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few trials")
    quick = parser.parse_args(arguments).quick
    cases = [(4, 4), (4, 8)] if quick else [(4, 4), (4, 16), (4, 32), (4, 256)]
    cases += [] if quick else [(10, 4), (10, 16), (10, 32), (10, 64), (10, 256)]
    seconds((8,), 8, 1)  # imports
    rows = []
    for batch_sizes, trials in cases:
        sizes = [2 ** (1 + at) for at in range(batch_sizes)]
        took = seconds(sizes, trials, 1 if quick else 5)
        each = 1000 * median(took) / (EACH * batch_sizes)
        total = f"{batch_sizes * trials:,}"
        rows.append([batch_sizes, trials, total, spread(took, ".2f"), f"{each:.1f}"])
    columns = ("batch sizes", "trials each", "trials so far", "CPU s a round", "CPU ms a trial")
    print(table(columns, rows))
    print(f"\nImports: {imports():.2f} CPU s (scipy.linalg, scipy.optimize).")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
