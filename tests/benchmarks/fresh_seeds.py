"""Metaparameters trained with fresh seeds, and searches to take them from, without a database."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from math import inf
from pathlib import Path
from threading import Event
from typing import Any

import torch

from batchfront.median import median
from batchfront.outcomes import TrialResult
from batchfront.surrogate.evidence import Evidence, Kind
from batchfront.surrogate.proposal import propose
from batchfront.training.heat import Heat
from batchfront.training.model_run import ModelRun
from batchfront.training.vectorized.engine import Vectorized
from batchfront.vocabulary import Outcome
from batchfront.workload import catalog
from batchfront.workload.search_space import Metaparameters, SearchSpace, quasi_random_points
from batchfront.workload.seeds import mix, trial_seed
from batchfront.workload.workload import Workload
from tests.benchmarks.protocols import Entry, Setting

ROUND = 4
"""Trials of a batch size in a round of the joint search."""

_FRESH = 1 << 20  # numbers of trials that no search has

_KINDS = {
    Outcome.REACHED: Kind.REACHED,
    Outcome.DIVERGED: Kind.INFEASIBLE,
    Outcome.STALLED: Kind.INFEASIBLE,
}


@cache
def loaded(name: str) -> Workload:
    """A workload of the catalog, its data loaded once a process."""
    workload = catalog.load(name)
    splits = workload.data()
    return replace(workload, data=lambda: splits)


@dataclass(frozen=True)
class Case:
    """One search: the sampler, `sobol` or `joint`, and the seed that it is planned with; races go
    on until so many `finishers` have reached the goal."""

    workload: str
    sampler: str
    seed: int
    batch_sizes: tuple[int, ...]
    trials: int = 32
    finishers: int = 1

    def setting(self, batch_size: int) -> Setting:
        """The study of a batch size."""
        workload = loaded(self.workload)
        return Setting(workload, workload.data(), batch_size, self.seed, self.trials)


Race = Callable[[int, Sequence[Metaparameters], int, float | None], list[Evidence]]
"""What some points at a batch size show: raced, from the trial of this number on, up to the best so
far."""


def searched(
    sampler: str,
    spaces: Mapping[int, SearchSpace],
    trials: int,
    seeds: Mapping[int, int],
    race: Race,
) -> list[Evidence]:
    """What a search of so many trials at each batch size has shown: `sobol`, all of a batch size
    raced at once, or `joint`, in rounds of all sizes.

    spaces, seeds -- by batch size
    """
    if sampler == "sobol":
        return [
            one
            for b, space in spaces.items()
            for one in race(b, quasi_random_points(space, trials, seeds[b]), 0, None)
        ]
    shown: list[Evidence] = []
    for first in range(0, trials, ROUND):
        drawn = propose(spaces, shown, dict.fromkeys(spaces, ROUND), mix(first, *seeds.values()))
        shown += [
            one for b, points in drawn.items() for one in race(b, points, first, fewest(shown, b))
        ]
    return shown


def search(case: Case) -> list[Evidence]:
    """What the trials of a case have shown."""
    spaces = {b: loaded(case.workload).space(b) for b in case.batch_sizes}

    def race(
        batch_size: int, points: Sequence[Metaparameters], first: int, cap: float | None
    ) -> list[Evidence]:
        return _race(case.setting(batch_size), points, case.finishers, first, cap)

    seeds = {b: case.setting(b).study_seed for b in case.batch_sizes}
    return searched(case.sampler, spaces, case.trials, seeds, race)


def fewest(shown: Sequence[Evidence], batch_size: int) -> float | None:
    """The steps of the winner at a batch size; None where no trial has reached the goal."""
    mine = [e.steps for e in shown if e.batch_size == batch_size and e.kind is Kind.REACHED]
    return min(mine, default=None)


def _race(
    setting: Setting,
    points: Sequence[Metaparameters],
    finishers: int,
    first: int = 0,
    cap: float | None = None,
) -> list[Evidence]:
    seeds = [trial_seed(setting.study_seed, first + n) for n in range(len(points))]
    rules = setting.rules(finishers=finishers)
    running = Heat(rules, _runs(setting, points, seeds), engine=Vectorized())
    running.lower_cap(None if cap is None else int(cap))
    return [_evidence(setting, points[n], ended) for n, ended in sorted(_all(running))]


def _runs(
    setting: Setting, points: Sequence[Metaparameters], seeds: Sequence[int]
) -> Iterator[tuple[Entry, ModelRun]]:
    for number, (point, seed) in enumerate(zip(points, seeds, strict=True)):
        run = ModelRun(
            setting.workload, setting.splits, setting.batch_size, point, seed, torch.device("cpu")
        )
        yield Entry(number), run


def _all(running: Heat[Entry, ModelRun]) -> Iterator[tuple[int, TrialResult]]:
    while running.live:
        for entry, ended in running.round(Event()):
            yield entry.number, ended


def _evidence(setting: Setting, point: Metaparameters, ended: TrialResult) -> Evidence:
    steps = ended.steps if ended.steps_to_target is None else ended.steps_to_target
    kind = _KINDS.get(ended.outcome, Kind.MORE_THAN)
    return Evidence(setting.batch_size, dict(point), kind, steps)


def median_of_fresh(setting: Setting, point: Metaparameters, seeds: int, beyond: float) -> float:
    """The median steps to target of metaparameters over so many fresh seeds, an odd number;
    infinite where most have not reached the goal within `beyond` steps. They race until it is
    known."""
    given = [trial_seed(setting.study_seed, _FRESH + n) for n in range(seeds)]
    rules = setting.rules(finishers=(seeds + 1) // 2)
    running = Heat(rules, _runs(setting, [point] * seeds, given), engine=Vectorized())
    running.lower_cap(int(beyond))
    passed = [e.steps_to_target for _, e in _all(running) if e.steps_to_target is not None]
    return median([*passed, *[inf] * (seeds - len(passed))])


class Kept:
    """What was trained, in a file of JSON lines, so that no run is made twice; without a path,
    kept as long as this lives."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._rows: dict[str, Any] = {}
        for line in path.read_text().splitlines() if path and path.exists() else ():
            self._rows.update([json.loads(line)])

    def evidence(self, case: Case) -> list[Evidence]:
        """What a search has shown."""
        told = asdict(case)
        told.pop("finishers") if case.finishers == 1 else None
        key = json.dumps(["search", told])
        if key not in self._rows:
            self._keep(key, [asdict(one) for one in search(case)])
        rows = self._rows[key]
        return [Evidence(**{**row, "kind": Kind(row["kind"])}) for row in rows]

    def fresh(self, setting: Setting, point: Metaparameters, seeds: int, beyond: float) -> float:
        """As `median_of_fresh`."""
        at = [setting.workload.name, setting.batch_size, setting.seed, seeds]
        key = json.dumps(["fresh", *at, dict(point)])
        if key not in self._rows:
            self._keep(key, median_of_fresh(setting, point, seeds, beyond))
        return float(self._rows[key])

    def _keep(self, key: str, value: object) -> None:
        self._rows[key] = value
        if self._path:
            with self._path.open("a") as file:
                file.write(json.dumps([key, value]) + "\n")
            print(key[:120], file=sys.stderr, flush=True)
