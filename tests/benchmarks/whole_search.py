"""What does a whole search cost, ours and its peers', until the frontier is good enough?

    python -m tests.benchmarks.whole_search --results whole.json

Every contender looks for the fewest steps at every batch size of a workload, and is told when it
has enough: within 10 % of the reference, which is the median over seeds of the best that a race of
64 trials finds. (The least that anyone ever found would be a lucky draw that moves with how long
one looks.) It goes on at each batch size until then, or up to 64 trials. The data lie in memory,
and all have one process and one thread, and the workload's own step budget where no other is said.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import torch

from batchfront.plan.options import SearchOptions
from tests.benchmarks.markdown import spread, table
from tests.benchmarks.whole_ours import race_on
from tests.benchmarks.whole_peers import fixed_budget, optuna
from tests.benchmarks.whole_tasks import Reference, Result, Search, Spent, Task

TASKS = (
    Task("digits", 0.03, (4, 16, 64, 256), limit=64),
    Task("fc_256", 0.04, (32, 128, 512), limit=64),
)
QUICK = Task("digits", 0.2, (32, 128), limit=4)
EASY = Task("digits", 0.5, (512,), limit=2)

REFERENCE_TRIALS, REFERENCE_SEEDS = 64, (100, 101, 102)

DEFAULT, DOUBLING, GENERATIONS = (32, 64), (8, 16, 32, 64), tuple(range(8, 65, 8))

OURS = "ours, --sampler tpe"
RAY = "Ray Tune: ASHA"
_race = partial(race_on, request=SearchOptions(), engine="auto", batches=DEFAULT)
_tpe = partial(_race, request=SearchOptions(sampler="tpe"), batches=GENERATIONS)
_one_by_one = SearchOptions(sampler="tpe", together=1)
_capped = partial(optuna, incumbent=True)

CONTENDERS: dict[str, Search] = {
    OURS: _tpe,
    "ours, --sampler tpe, --engine sequential": partial(_tpe, engine="sequential"),
    "ours, --sampler tpe, --together 1": partial(_tpe, request=_one_by_one),
    "ours, --sampler gp": partial(_tpe, request=SearchOptions(sampler="gp")),
    "ours, the plain race of 32, then 64": _race,
    "ours, the plain race of 8, 16, 32, 64": partial(_race, batches=DOUBLING),
    "ours, --warm-start": partial(_race, request=SearchOptions(warm_start=True)),
    "Optuna: TPE, MedianPruner": optuna,
    "Optuna: TPE, HyperbandPruner": partial(optuna, hyperband=True),
    "Optuna: TPE, MedianPruner, cap": _capped,
    "cap, looks 5 % apart": partial(_capped, spacing=0.05),
    "cap, told 3× the reference": partial(_capped, told=3.0),
    "fixed budget: 3× the reference": partial(fixed_budget, told=3.0),
}


@dataclass
class Kept:
    """Results by task, contender and seed, in a file if one is named: a run goes on from there."""

    path: Path | None

    def __post_init__(self) -> None:
        self._all: dict[str, dict[str, object]] = {}
        if self.path is not None and self.path.exists():
            self._all = json.loads(self.path.read_text())

    def of(self, task: Task, name: str, seed: int, search: Callable[[], Result]) -> Result:
        """What is kept, or is found now."""
        key = f"{task.make}: {name}: seed {seed}"
        if key not in self._all:
            print(f"{key} …", file=sys.stderr)
            self._all[key] = asdict(search())
            if self.path is not None:
                self.path.write_text(json.dumps(self._all, indent=1))
        found = dict(self._all[key])
        spent = tuple(Spent(**one) for one in found.pop("spent"))  # type: ignore[attr-defined]
        return Result(spent, **found)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Compared:
    """One task: its reference, and each contender's results, one for each seed."""

    task: Task
    reference: Reference
    results: dict[str, list[Result]]

    def within(self, result: Result) -> int:
        """At how many batch sizes a contender had enough."""
        enough = self.reference.enough
        return sum(s.steps is not None and s.steps <= enough(s.batch_size) for s in result.spent)

    def best_peer(self) -> str:
        """That which took the fewest CPU seconds, of those that had enough at as many places as
        ours, or else of those that had it most often."""
        least = min(self.often(OURS), max(map(self.often, self.peers)))
        return min((name for name in self.peers if self.often(name) >= least), key=self.seconds)

    def often(self, name: str) -> int:
        """At how many batch sizes a contender had enough, over all seeds."""
        return sum(map(self.within, self.results[name]))

    @property
    def peers(self) -> list[str]:
        """The contenders that aren't ours."""
        return [name for name in self.results if not name.startswith("ours")]

    def seconds(self, name: str) -> float:
        """Median over the seeds."""
        return median(r.cpu_seconds for r in self.results[name])


def compare(task: Task, kept: Kept, searches: dict[str, Search], seeds: Sequence[int]) -> Compared:
    """The reference, and then every contender with every seed."""
    careful = partial(_race, reference=None, batches=(REFERENCE_TRIALS,))
    best: dict[int, list[int]] = {}
    for seed in REFERENCE_SEEDS[: 1 if task == QUICK else None]:
        for s in kept.of(task, "reference", seed, partial(careful, task, seed)).spent:
            if s.steps is None:
                raise SystemExit(f"{task.make}, batch size {s.batch_size}: no trial got there")
            best.setdefault(s.batch_size, []).append(s.steps)
    reference = Reference({b: median(steps) for b, steps in best.items()})
    results: dict[str, list[Result]] = {name: [] for name in searches}
    for seed in seeds:
        for name, search in searches.items():
            found = kept.of(task, name, seed, partial(search, task, seed, reference))
            results[name].append(found)
    return Compared(task, reference, results)


def cost_table(compared: Compared) -> str:
    """One row a contender: medians and ranges over the seeds."""
    ours = compared.results[OURS]
    columns = [f"{compared.task.make}: contender", "trials", "training examples"]
    columns += ["evaluated examples", "examples in all", "CPU s", "CPU s / the first", "wall s"]
    columns += ["within 10 %"]
    rows = []
    for name, results in compared.results.items():
        trained = [_sum(r, lambda s: s.trained) for r in results]
        evaluated = [_sum(r, lambda s: s.evaluated) for r in results]
        both = [t + e for t, e in zip(trained, evaluated, strict=True)]
        beside = [r.cpu_seconds / o.cpu_seconds for r, o in zip(results, ours, strict=True)]
        within = sum(map(compared.within, results))
        rows.append(
            [
                name,
                spread([_sum(r, lambda s: s.trials) for r in results], ".0f"),
                *(
                    spread([n / 1e6 for n in counts], ".2f") + " M"
                    for counts in (trained, evaluated, both)
                ),
                spread([r.cpu_seconds for r in results], ".1f"),
                spread(beside, ".2f"),
                spread([r.wall_seconds for r in results], ".0f"),
                f"{within} of {len(results) * len(compared.task.batch_sizes)}",
            ]
        )
    return table(columns, rows)


def _sum(result: Result, count: Callable[[Spent], int]) -> int:
    return sum(map(count, result.spent))


def steps_table(compared: Compared) -> str:
    """One row a batch size: the reference, and the steps each contender ended with."""
    columns = ["batch size", "reference", "enough", *compared.results]
    rows = []
    for index, b in enumerate(compared.task.batch_sizes):
        row = [str(b), f"{compared.reference.steps[b]:.0f}", str(compared.reference.enough(b))]
        for results in compared.results.values():
            steps = [r.spent[index].steps for r in results]
            row.append(", ".join("–" if s is None else str(s) for s in steps))
        rows.append(row)
    return table(columns, rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables; with --check 1 where a peer did better."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="digits, few trials, an easy goal")
    parser.add_argument("--seeds", default="0,1,2", help="such as 0,1,2 (default)")
    parser.add_argument("--results", type=Path, help="a file to keep results in, and to go on from")
    parser.add_argument("--check", action="store_true", help="exit 1 where a peer did better")
    asked = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    searches, tasks = dict(CONTENDERS), TASKS
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    if asked.quick:
        tasks, seeds = (QUICK,), seeds[:1]
    elif find_spec("ray") is None:
        print("Ray Tune left out: it isn't installed (pip install 'ray[tune]')", file=sys.stderr)
    else:
        from tests.benchmarks.whole_ray import asha

        searches[RAY] = asha
    for search in () if asked.quick else searches.values():
        search(EASY, 0, Reference({512: 1000}))  # what is loaded or set up once is no part of it
    kept = Kept(asked.results)
    all_compared = [compare(task, kept, searches, seeds) for task in tasks]
    torch.set_num_threads(threads)
    worse = []
    for compared in all_compared:
        print(cost_table(compared), steps_table(compared), sep="\n\n", end="\n\n")
        peer = compared.best_peer()
        ratio = compared.seconds(peer) / compared.seconds(OURS)
        print(f"{compared.task.make}: the best peer, {peer}, took {ratio:.2f} times as long\n")
        better = [p for p in compared.peers if compared.often(p) > compared.often(OURS)]
        worse += [f"{compared.task.make}: {p} had enough more often than ours" for p in better]
        if ratio < 1:
            worse.append(f"{compared.task.make}: {peer} took {ratio:.2f} of our time")
    for line in worse if asked.check else ():
        print(line, file=sys.stderr)
    return 1 if asked.check and worse else 0


if __name__ == "__main__":
    sys.exit(main())
