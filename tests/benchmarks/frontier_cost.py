"""What does a frontier cost? Racing beside one-by-one, the paper's fixed budget, and plain Optuna.

    python -m tests.benchmarks.frontier_cost

Racing, one-by-one with a cap and the fixed budget run exactly the same trials of
digits/mlp/momentum and must find the same frontier: steps and winner at every batch size. The
fixed-budget run also asks, at every look, whether the pruning rules would have ended a trial, and
follows it to see what they would have lost.
"""

import argparse
import sys
from collections.abc import Sequence
from statistics import median

from batchfront.workload.workload import powers_of_two
from tests.benchmarks.frontier_runs import (
    BUDGET,
    FIXED,
    GENEROUS,
    GENEROUS_FROM,
    ONE_BY_ONE,
    OPTUNA,
    OPTUNA_CAPPED,
    RACING,
    TWICE,
    Plan,
    Run,
    measure_all,
    total_steps,
)
from tests.benchmarks.markdown import spread, table

PROMISE = 0.25
"""The most of the fixed budget's steps that racing may take."""


def cost_table(runs: Sequence[Run]) -> str:
    """One row a protocol, summed over batch sizes; median and range over seeds."""
    rows = []
    for name in (RACING, ONE_BY_ONE, FIXED, TWICE, OPTUNA, OPTUNA_CAPPED):
        trained = [r.total(name, lambda f: f.cost.trained) for r in runs]
        evaluated = [r.total(name, lambda f: f.cost.evaluated) for r in runs]
        steps = [total_steps(r.found[name]) for r in runs]
        fixed = [total_steps(r.found[FIXED]) for r in runs]
        both = [t + e for t, e in zip(trained, evaluated, strict=True)]
        ratios = [ratio for r in runs for ratio in r.beside_ours(name)]
        same = name in (RACING, ONE_BY_ONE, FIXED)
        unreached = sum(f.winner is None for r in runs for f in r.found[name])
        rows.append(
            [
                name,
                spread(steps, ",.0f"),
                spread([s / f for s, f in zip(steps, fixed, strict=True)], ".2f"),
                spread(trained, ",.0f"),
                spread(evaluated, ",.0f"),
                spread(both, ",.0f"),
                "– (followed further)" if name == FIXED else spread(_seconds(runs, name), ".0f"),
                "identical" if same and not _disagreements(runs) else spread(ratios, ".2f"),
                str(unreached),
            ]
        )
    columns = "protocol|training steps|share of fixed|training examples|evaluated examples"
    columns += "|examples in all|CPU s|best steps / racing's|batch sizes without a winner"
    return table(columns.split("|"), rows)


def _seconds(runs: Sequence[Run], name: str) -> list[float]:
    return [r.seconds[name] for r in runs]


def frontier_table(runs: Sequence[Run]) -> str:
    """Steps to target and winner of racing, and the steps that plain Optuna found."""
    columns = ["batch size"]
    for r in runs:
        columns += [f"seed {r.seed}: steps (trial)", "Optuna", "Optuna, capped"]
    rows = []
    for index, found in enumerate(runs[0].found[RACING]):
        row = [str(found.cost.batch_size)]
        for r in runs:
            winner = r.found[RACING][index].winner
            row.append(f"{winner.steps} ({winner.number})" if winner else "–")
            for name in (OPTUNA, OPTUNA_CAPPED):
                other = r.found[name][index].winner
                row.append(str(other.steps) if other else "–")
        rows.append(row)
    return table(columns, rows)


def rules_table(runs: Sequence[Run]) -> str:
    """What the pruning rules would have done to the full curves."""
    rows = []
    for r in runs:
        best = [f.winner.steps for f in r.found[FIXED] if f.winner]
        in_time = pruned = 0
        within = {BUDGET: 0, GENEROUS: 0}
        for steps, curves in zip(best, r.curves, strict=True):
            for curve in curves:
                if curve.pruned_first and curve.pruned and curve.pruned[0] <= BUDGET * steps:
                    pruned += 1
                    in_time += curve.pruned[0] <= steps
                    for factor in within:
                        within[factor] += curve.passed is not None and (
                            curve.passed <= factor * steps
                        )
        generous = r.generous_share()
        rows.append(
            [
                f"seed {r.seed}",
                f"{r.share():.3f}",
                "–" if generous is None else f"{generous:.3f}",
                f"{pruned} of {sum(map(len, r.curves))}",
                str(in_time),
                str(within[BUDGET]),
                str(within[GENEROUS]),
                str(r.winners_pruned()),
            ]
        )
    columns = f"|racing / {BUDGET}×|racing / {GENEROUS}× (b ≥ {GENEROUS_FROM})"
    columns += f"|pruned within {BUDGET}×|before the winner won|reach the goal within {BUDGET}×"
    columns += f"|within {GENEROUS}× (b ≥ {GENEROUS_FROM}; else {BUDGET}×)|winners lost"
    return table(columns.split("|"), rows)


def _disagreements(runs: Sequence[Run]) -> list[str]:
    return [text for r in runs for text in r.winners_differ()]


def broken_promises(runs: Sequence[Run]) -> list[str]:
    """What does not depend on chance or the machine's speed, and did not hold."""
    broken = [f"another frontier: {text}" for text in _disagreements(runs)]
    broken += [f"seed {r.seed}: a winner would be pruned" for r in runs if r.winners_pruned()]
    return broken


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables; 1 if a frontier differs or, with --check, costs too much."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few trials, an easy goal")
    parser.add_argument("--seeds", default="0,1,2", help="such as 0,1,2 (default)")
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--processes", type=int, default=2, help="seeds run side by side")
    parser.add_argument("--check", action="store_true", help=f"exit 1 above {PROMISE}")
    asked = parser.parse_args(arguments)
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    plan = Plan(powers_of_two(2, 1024), asked.trials)
    if asked.quick:
        plan, seeds = Plan((16, 64), 8, goal=0.1), seeds[:1]
    runs = measure_all(plan, seeds, asked.processes)
    print(cost_table(runs), frontier_table(runs), rules_table(runs), sep="\n\n")
    broken = broken_promises(runs)
    share = median(r.share() for r in runs)
    if asked.check and share > PROMISE:
        broken.append(f"racing took {share:.3f} of the fixed budget's steps, not {PROMISE}")
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
