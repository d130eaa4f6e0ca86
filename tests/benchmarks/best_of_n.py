"""How much does the best of n trials flatter? Its steps beside the median of fresh seeds there.

    python -m tests.benchmarks.best_of_n --keep kept.jsonl

At each batch size 160 random trials race until 16 have reached the goal. Each of these trains again
with fresh seeds. Of all the ways to take n of the 160, the one with rank i is the best in a known
share; over these the log of median over steps is averaged.
"""

import argparse
import sys
from collections.abc import Sequence
from math import comb, exp, inf, isfinite, log
from pathlib import Path

import torch

from batchfront.surrogate.evidence import Evidence, Kind
from tests.benchmarks.fresh_seeds import Case, Kept
from tests.benchmarks.markdown import table

WORKLOADS = ("digits/mlp/momentum", "digits/mlp/sgd")
BATCH_SIZES = (16, 64, 256)
COUNTS = (16, 32, 64)

BEYOND = 20
"""A fresh seed is given up at this multiple of the trial's own steps; most are long there."""


def flattery(shown: Sequence[Evidence], medians: Sequence[float], n: int) -> tuple[float, float]:
    """The geometric mean of median over steps of the best of n, and the share of the ways to take
    n in which that one is known.

    medians -- of fresh seeds, of those of `shown` that reached the goal, by their steps
    """
    steps = sorted(one.steps for one in shown if one.kind is Kind.REACHED)[: len(medians)]
    shares = [
        comb(len(shown) - rank, n - 1) / comb(len(shown), n) for rank in range(1, len(steps) + 1)
    ]
    known = [
        (share, log(fresh / own))
        for share, fresh, own in zip(shares, medians, steps, strict=True)
        if isfinite(fresh)
    ]
    covered = sum(share for share, _ in known)
    return exp(sum(share * ratio for share, ratio in known) / covered), covered


def main(arguments: Sequence[str] | None = None) -> int:
    """Race, train again, and print a table for each workload."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one batch size, few trials")
    parser.add_argument("--workloads", nargs="*", default=WORKLOADS)
    parser.add_argument("--trials", type=int, default=160)
    parser.add_argument("--finishers", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=15, help="fresh ones, of each finisher")
    parser.add_argument("--keep", type=Path, help="what was trained, so that none is trained twice")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    sizes, counts = BATCH_SIZES, COUNTS
    if asked.quick:
        sizes, counts = (256,), (2, 4)
        asked.workloads, asked.trials, asked.finishers, asked.seeds = WORKLOADS[:1], 12, 3, 3
    kept = Kept(asked.keep)
    for workload in asked.workloads:
        rows = []
        for size in sizes:
            case = Case(workload, "sobol", 500, (size,), asked.trials, asked.finishers)
            shown = kept.evidence(case)
            reached = sorted((e for e in shown if e.kind is Kind.REACHED), key=lambda e: e.steps)
            first = reached[: asked.finishers]
            beyond = BEYOND * first[0].steps
            setting = case.setting(size)
            medians = [kept.fresh(setting, one.params, asked.seeds, beyond) for one in first]
            cells = [flattery(shown, medians, n) for n in counts]
            never = sum(m == inf for m in medians)
            rows.append([size, *(f"{ratio:.2f} ({share:.0%})" for ratio, share in cells), never])
        print(f"\n{workload}\n")
        columns = ["batch size", *(f"best of {n}" for n in counts), "never, of all finishers"]
        print(table(columns, rows), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
