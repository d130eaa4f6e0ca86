"""What does a whole search cost, ours and its peers', until the frontier is good enough?

    python -m tests.benchmarks.whole_search --results whole.jsonl

Every contender looks for the fewest steps at every batch size of a workload, and is told when it
has enough: within 10 % of the reference, which is the median over seeds of the best that a race of
64 trials finds. (The least that anyone ever found would be a lucky draw that moves with how long
one looks.) It goes on at each batch size until then, or up to 32 trials. The data lie in memory,
and all have one process and one thread, and the workload's own step budget where no other is said.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from batchfront.plan.options import JOINT_TOGETHER, LEARNING_TOGETHER, SearchOptions
from tests.benchmarks.whole_kept import Kept
from tests.benchmarks.whole_ours import race_on
from tests.benchmarks.whole_peers import fixed_budget, optuna
from tests.benchmarks.whole_tables import Compared, cost_table, steps_table, verdicts
from tests.benchmarks.whole_tasks import Reference, Result, Search, Task, together

REFERENCE, REFERENCE_TRIALS, FIRST_SEED = "reference", 64, 100


@dataclass(frozen=True)
class Contender:
    """A search and what is to be known of it.

    each  -- whether it looks at one batch size after another, so that they are kept one by one
    told  -- whether it is told something that nobody knows beforehand
    seeds -- with how many it is run at most, where it is slow or no rival; None: with all
    """

    search: Search
    each: bool = False
    told: bool = False
    seeds: int | None = None


def _ours(batches: Sequence[int], **asked: Any) -> Search:
    return partial(race_on, request=SearchOptions(**asked), batches=batches)


OURS = "ours, --sampler joint"
LIMIT, FEW = 32, 5  # trials at a batch size; seeds of what is slow
GENERATIONS = range(LEARNING_TOGETHER, LIMIT + 1, LEARNING_TOGETHER)
ROUNDS = range(JOINT_TOGETHER, LIMIT + 1, JOINT_TOGETHER)

_capped = partial(optuna, incumbent=True)

CONTENDERS = {  # the first is what the others are measured by
    OURS: Contender(_ours(ROUNDS, sampler="joint")),
    "ours, --sampler tpe": Contender(_ours(GENERATIONS, sampler="tpe")),
    "ours, --sampler tpe, --together 1": Contender(
        _ours(GENERATIONS, sampler="tpe", together=1), seeds=FEW
    ),
    "ours, --sampler gp": Contender(_ours(GENERATIONS, sampler="gp"), seeds=FEW),
    "ours, the plain race of 32": Contender(_ours((LIMIT,))),
    "ours, the plain race of 8, 16, 32": Contender(_ours((8, 16, LIMIT)), seeds=FEW),
    "ours, --warm-start": Contender(_ours((LIMIT,), warm_start=True), seeds=FEW),
    "Optuna: TPE, MedianPruner": Contender(optuna, each=True, seeds=FEW),
    "Optuna: TPE, HyperbandPruner": Contender(
        partial(optuna, hyperband=True), each=True, seeds=FEW
    ),
    "Optuna: TPE, MedianPruner, cap": Contender(_capped, each=True),
    "cap, looks 5 % apart": Contender(partial(_capped, spacing=0.05), each=True, seeds=FEW),
    "cap, told 3× the reference": Contender(partial(_capped, told=3.0), each=True, told=True),
    "fixed budget: 3× the reference": Contender(
        partial(fixed_budget, told=3.0), each=True, told=True
    ),
}


@dataclass(frozen=True)
class Elsewhere:
    """A contender in a module of its own, for which a package is needed that we don't install."""

    package: str
    requirement: str
    module: str
    function: str
    each: bool


ELSEWHERE = {
    "Ax": Elsewhere("ax", "ax-platform", "whole_ax", "ax", each=True),
    "Syne Tune: BOHB": Elsewhere("syne_tune", "syne-tune", "whole_syne_tune", "bohb", each=True),
    "Ray Tune: ASHA": Elsewhere("ray", "ray[tune]", "whole_ray", "asha", each=False),
}


@dataclass(frozen=True)
class Bench:
    """A task, and how it is measured.

    references -- races of 64 trials that the reference is the median of
    seeds      -- of every contender
    only       -- the contenders, where all would take too long
    """

    task: Task
    references: int
    seeds: int
    only: tuple[str, ...] | None = None


CHEAP = (
    OURS,
    "ours, --sampler tpe",
    "ours, the plain race of 32",
    "Optuna: TPE, MedianPruner, cap",
    "cap, told 3× the reference",
    "fixed budget: 3× the reference",
)
"""The contenders of the longer tasks: ours, and the peers that come nearest on digits."""

BENCHES = {
    "digits": Bench(Task("digits", 0.03, (4, 16, 64, 256), limit=LIMIT), 20, 20),
    "digits-ten": Bench(
        Task("digits", 0.03, tuple(2**k for k in range(1, 11)), limit=LIMIT), 20, 20, CHEAP
    ),
    "fc_256": Bench(Task("fc_256", 0.04, (32, 128, 512), limit=LIMIT), 8, 5, CHEAP),
    "books": Bench(Task("books", 4.0, (8, 32, 128), limit=LIMIT), 5, 3, CHEAP),
}
QUICK = {"quick": Bench(Task("digits", 0.2, (32, 128), limit=4), 1, 1)}
EASY = Task("digits", 0.5, (512,), limit=2)


class Sweep:
    """Measures what isn't kept yet.

    run  -- whether to search at all
    calm -- whether to search again where the processes had to wait for a core
    """

    def __init__(self, kept: Kept, *, run: bool, calm: bool) -> None:
        self._kept, self._run, self._calm = kept, run, calm
        self._warm: set[str] = set()

    def compare(
        self, bench: Bench, contenders: Mapping[str, Contender], seeds: Sequence[int]
    ) -> Compared | None:
        """Returns the reference, and of every contender the seeds that there are; None if there is
        nothing to compare."""
        best = {b: self._best(bench, b) for b in bench.task.batch_sizes}
        if not all(best.values()):
            return None
        compared = Compared(
            bench.task,
            best,
            results={name: {} for name in contenders},
            told=frozenset(name for name, contender in contenders.items() if contender.told),
        )
        for seed in seeds:
            for name, contender in contenders.items():
                if contender.seeds is None or seed < contender.seeds:
                    found = self._search(bench.task, name, contender, seed, compared.reference)
                    if found is not None:
                        compared.results[name][seed] = found
        there = {name: by_seed for name, by_seed in compared.results.items() if by_seed}
        return replace(compared, results=there) if there else None

    def _best(self, bench: Bench, batch_size: int) -> list[int]:
        """The best of every race at a batch size."""
        task = replace(bench.task.alone(batch_size), limit=REFERENCE_TRIALS)
        best = []
        for seed in range(FIRST_SEED, FIRST_SEED + bench.references):
            search = partial(_ours((REFERENCE_TRIALS,)), task, seed, None)
            found = self._kept.get(task, REFERENCE, seed)
            if found is None and self._run:
                found = self._kept.put(task, REFERENCE, seed, search)
            if found is not None and found.spent[0].steps is None:
                raise SystemExit(f"{task.name}, seed {seed}: no trial got there")
            best += [s.steps for s in found.spent if s.steps is not None] if found else []
        return best

    def _search(
        self, task: Task, name: str, contender: Contender, seed: int, reference: Reference
    ) -> Result | None:
        """A search, or its searches of one batch size after another."""
        apart = [task.alone(b) for b in task.batch_sizes] if contender.each else [task]
        found = []
        for one in apart:
            enough = ", ".join(str(reference.enough(b)) for b in one.batch_sizes)
            known_as = f"{name}: enough at {enough}"  # with another reference it ends elsewhere
            result = self._kept.get(one, known_as, seed)
            if self._run and (result is None or (self._calm and not result.calm)):
                if name not in self._warm:  # what is loaded or set up once is no part of it
                    contender.search(EASY, 0, Reference({512: 1000}))
                    self._warm.add(name)
                search = partial(contender.search, one, seed, reference)
                result = self._kept.put(one, known_as, seed, search)
            if result is None:
                return None
            found.append(result)
        return together(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables; with --check 1 where a promise isn't kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="digits, few trials, an easy goal")
    parser.add_argument("--task", action="append", choices=BENCHES, help="one of these; several")
    names = [*CONTENDERS, *ELSEWHERE]
    several = "one contender; several"
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=several)
    parser.add_argument("--seeds", type=int, help="at most so many, from 0 on")
    parser.add_argument("--results", type=Path, help="a file to keep results in, and to go on from")
    parser.add_argument("--tables", action="store_true", help="print what is kept; run nothing")
    parser.add_argument("--calm", action="store_true", help="run again what had to wait for a core")
    parser.add_argument("--check", action="store_true", help="exit 1 where a promise isn't kept")
    asked = parser.parse_args(arguments)
    benches = QUICK if asked.quick else {n: BENCHES[n] for n in asked.task or BENCHES}
    contenders = CONTENDERS if asked.quick else {**CONTENDERS, **elsewhere(run=not asked.tables)}
    if asked.only is not None:
        contenders = {n: c for n, c in contenders.items() if n in asked.only}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    sweep, kept = Sweep(Kept(asked.results), run=not asked.tables, calm=asked.calm), True
    for title, bench in benches.items():
        chosen = {n: c for n, c in contenders.items() if bench.only is None or n in bench.only}
        seeds = range(min(bench.seeds, asked.seeds or bench.seeds))
        compared = sweep.compare(bench, chosen, seeds)
        if compared is None:
            print(f"{title}: nothing is kept", end="\n\n")
            continue
        races = min(map(len, compared.best.values()))
        print(f"{title}: {bench.task.name}; the reference is that of {races} races", end="\n\n")
        print(cost_table(compared), steps_table(compared), sep="\n\n", end="\n\n")
        for line, holds in verdicts(compared) if OURS in compared.results else ():
            print(f"- {line}{'' if holds else ' **not reached**'}")
            kept = kept and holds
        print()
    torch.set_num_threads(threads)
    return 1 if asked.check and not kept else 0


def elsewhere(run: bool) -> dict[str, Contender]:
    """Returns the contenders whose packages are installed; of the others a line is printed.

    run -- False: those that aren't too, for what is kept of them
    """
    found = {}
    for name, where in ELSEWHERE.items():
        if run and find_spec(where.package) is None:
            missing = f"it isn't installed (pip install '{where.requirement}')"
            print(f"{name} left out: {missing}", file=sys.stderr)
            continue
        found[name] = Contender(partial(_imported, where), each=where.each, seeds=FEW)
    return found


def _imported(where: Elsewhere, task: Task, seed: int, reference: Reference) -> Result:
    search: Search = getattr(import_module(f"tests.benchmarks.{where.module}"), where.function)
    return search(task, seed, reference)


if __name__ == "__main__":
    sys.exit(main())
