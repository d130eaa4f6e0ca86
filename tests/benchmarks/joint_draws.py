"""How good are the draws of the joint sampler, by trials at a batch size?

    python -m tests.benchmarks.joint_draws

digits/mlp/momentum at four batch sizes, trained for real: rounds of trials, each raced to the first
that passes the goal and capped at the best of the rounds before, as `batchfront run` races them,
without its database. What differs is how the points of a round are drawn: quasi-random, by a
surrogate for each batch size, by one for all. Counted are the studies, pairs of seed and batch
size, that are within 10 % of the reference.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import process_time

import torch

from batchfront.outcomes import Outcome, TrialResult
from batchfront.surrogate.evidence import Evidence, Kind
from batchfront.surrogate.proposal import propose
from batchfront.training.heat import Heat
from batchfront.training.model_run import ModelRun
from batchfront.workload.search_space import Metaparameters, SearchSpace, quasi_random_points
from batchfront.workload.seeds import mix, trial_seed
from tests.benchmarks.markdown import table
from tests.benchmarks.protocols import Entry, Setting, run_to_the_end
from tests.benchmarks.whole_tasks import Task

REFERENCE = {4: 813, 16: 259, 64: 80, 256: 43.5}
"""The median best of 64 quasi-random trials over 20 seeds."""

TASK = Task("digits", 0.03, tuple(REFERENCE), limit=32)

COUNTS = (8, 12, 16, 24, 32)

KINDS = {
    Outcome.REACHED: Kind.REACHED,
    Outcome.DIVERGED: Kind.INFEASIBLE,
    Outcome.STALLED: Kind.INFEASIBLE,
}

Spaces = Mapping[int, SearchSpace]
Drawn = Mapping[int, Sequence[Metaparameters]]
Draw = Callable[[Spaces, Sequence[Evidence], Mapping[int, int], int, int], Drawn]


def at_random(
    spaces: Spaces, shown: Sequence[Evidence], wanted: Mapping[int, int], seed: int, number: int
) -> Drawn:
    """The next points of a quasi-random sequence of each batch size."""
    first = {size: sum(e.batch_size == size for e in shown) for size in wanted}
    return {
        size: quasi_random_points(spaces[size], count, mix(seed, size), first[size])
        for size, count in wanted.items()
    }


def each_alone(
    spaces: Spaces, shown: Sequence[Evidence], wanted: Mapping[int, int], seed: int, number: int
) -> Drawn:
    """By a surrogate for each batch size."""
    found: dict[int, Sequence[Metaparameters]] = {}
    for size, count in wanted.items():
        mine = [evidence for evidence in shown if evidence.batch_size == size]
        found |= propose({size: spaces[size]}, mine, {size: count}, mix(seed, size, number))
    return found


def jointly(
    spaces: Spaces, shown: Sequence[Evidence], wanted: Mapping[int, int], seed: int, number: int
) -> Drawn:
    """By one surrogate for all batch sizes."""
    return propose(spaces, shown, wanted, mix(seed, number))


@dataclass
class Search:
    """One search, as far as it has come."""

    draw: Draw
    seed: int
    sizes: Sequence[int]
    shown: list[Evidence] = field(default_factory=list)
    enough: dict[int, int] = field(default_factory=dict)
    drawing: float = 0.0

    def until(self, limit: int, each: int) -> "Search":
        """Go on until all batch sizes have enough, or so many trials."""
        rounds = 0
        while rounds * each < limit and len(self.enough) < len(self.sizes):
            self._round(rounds, each)
            rounds += 1
        return self

    def _round(self, number: int, each: int) -> None:
        workload = TASK.workload()
        spaces = {size: workload.space(size) for size in self.sizes}
        began = process_time()
        drawn = self.draw(spaces, self.shown, dict.fromkeys(self.sizes, each), self.seed, number)
        self.drawing += process_time() - began
        for size, points in drawn.items():
            self.shown += self._race(size, points, number * each)
            if (best := self._best(size)) and best <= 1.1 * REFERENCE[size]:
                self.enough.setdefault(size, (number + 1) * each)

    def _best(self, size: int) -> int | None:
        mine = (e for e in self.shown if e.batch_size == size and e.kind == Kind.REACHED)
        return min((int(e.steps) for e in mine), default=None)

    def _race(self, size: int, points: Sequence[Metaparameters], first: int) -> list[Evidence]:
        setting = Setting(TASK.workload(), TASK.workload().data(), size, self.seed, len(points))
        make = partial(ModelRun, setting.workload, setting.splits, size)
        seeds = [trial_seed(setting.study_seed, first + at) for at in range(len(points))]
        runs = [
            (Entry(at), make(params, seed, torch.device("cpu")))
            for at, (params, seed) in enumerate(zip(points, seeds, strict=True))
        ]
        heat = Heat(setting.rules(), runs)
        heat.lower_cap(self._best(size))
        ended = {entry.number: result for entry, result in run_to_the_end(heat)}
        return [_evidence(size, params, ended[at]) for at, params in enumerate(points)]


def _evidence(size: int, params: Metaparameters, result: TrialResult) -> Evidence:
    kind = KINDS.get(result.outcome, Kind.MORE_THAN)
    steps = result.steps if result.steps_to_target is None else result.steps_to_target
    return Evidence(size, params, kind, steps)


DRAWS: dict[str, Draw] = {
    "quasi-random": at_random,
    "a surrogate for each batch size": each_alone,
    "one for all": jointly,
}


def row(name: str, each: int, seeds: Sequence[int], sizes: Sequence[int], limit: int) -> list[str]:
    """What so many searches come to."""
    searches = [Search(DRAWS[name], seed, sizes).until(limit, each) for seed in seeds]
    taken = [s.enough.get(size, limit + 1) for s in searches for size in sizes]
    shares = [sum(n <= count for n in taken) / len(taken) for count in COUNTS if count <= limit]
    mean = sum(min(n, limit) for n in taken) / len(taken)
    drawing = sum(s.drawing for s in searches) / len(searches)
    told = [f"{share:.2f}" for share in shares]
    return [name, str(each), *told, f"{mean:.1f}", f"{drawing:.2f}"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one search of two batch sizes")
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--together", type=int, nargs="*", default=[4], help="sizes of a round")
    parser.add_argument("--draws", nargs="*", choices=list(DRAWS), default=list(DRAWS))
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    seeds, sizes, limit = (
        (range(1), (64, 256), 8)
        if asked.quick
        else (
            range(asked.seeds),
            TASK.batch_sizes,
            TASK.limit,
        )
    )
    counts = [str(count) for count in COUNTS if count <= limit]
    columns = ["drawn", "a round", *counts, "mean trials", "CPU s drawing"]
    rows = [row(name, each, seeds, sizes, limit) for name in asked.draws for each in asked.together]
    print(table(columns, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
