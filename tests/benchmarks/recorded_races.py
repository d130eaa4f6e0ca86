"""Races that went on past their winner, recorded, so that rules for dropping trials can be replayed
over them.

A trial's course depends on nothing beside it: what a rule would have dropped, when, and what would
have been left to win, follows from the recorded looks.
"""

import json
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event

from batchfront.outcomes import Evaluation, TrialResult
from batchfront.training.heat import Heat
from batchfront.training.vectorized.engine import Vectorized
from batchfront.workload import catalog
from tests.benchmarks.protocols import Setting


@dataclass(frozen=True)
class Course:
    """One trial of a recorded race.

    outcome   -- how it ended by itself; `capped`: it did not, up to the end of the recording
    steps     -- where it ended
    looks     -- its full looks
    evaluated -- examples evaluated so far, at each evaluated step in turn
    """

    number: int
    outcome: str
    steps: int
    looks: tuple[Evaluation, ...]
    evaluated: tuple[int, ...]


@dataclass(frozen=True)
class Recorded:
    """One study: which it is, and the courses of its trials."""

    workload: str
    goal: float
    batch_size: int
    seed: int
    courses: tuple[Course, ...]


@dataclass(frozen=True)
class Case:
    """A study to record, up to `beyond` times its winner's steps; a goal of None is the workload's
    own."""

    workload: str
    goal: float | None
    batch_size: int
    seed: int
    trials: int = 32
    beyond: float = 2.5

    def setting(self) -> Setting:
        workload = catalog.load(self.workload)
        if self.goal is not None:
            workload = workload.with_goal(self.goal)
        return Setting(workload, workload.data(), self.batch_size, self.seed, self.trials)


def record(case: Case) -> Recorded:
    """Race a study, and on past its winner."""
    setting = case.setting()
    running = Heat(setting.rules(finishers=0), setting.runs(), engine=Vectorized())
    evaluated: dict[int, list[int]] = {entry.number: [] for entry, _ in running.live}
    ended: list[tuple[int, TrialResult]] = []
    while running.live:
        before = list(running.live)
        for entry, ending in running.round(Event()):
            ended.append((entry.number, ending))
            if ending.steps_to_target is not None:
                running.lower_cap(int(case.beyond * ending.steps_to_target))
        for entry, run in before:
            if len(evaluated[entry.number]) < bisect_right(run.evaluation_steps.steps, run.step):
                evaluated[entry.number].append(run.cost.evaluated_examples)
    courses = [
        Course(number, e.outcome, e.steps, e.evaluations, tuple(evaluated[number]))
        for number, e in sorted(ended)
    ]
    goal = setting.workload.goal.value
    return Recorded(case.workload, goal, case.batch_size, case.seed, tuple(courses))


def record_into(path: Path, cases: Iterable[Case]) -> list[Recorded]:
    """The recordings of these cases: those that a file of JSON lines lacks are made, and added."""
    known = {_key(r.workload, r.goal, r.batch_size, r.seed): r for r in _read(path)}
    found = []
    for case in cases:
        goal = catalog.load(case.workload).goal.value if case.goal is None else case.goal
        key = _key(case.workload, goal, case.batch_size, case.seed)
        if key not in known:
            known[key] = record(case)
            with path.open("a") as file:
                file.write(json.dumps(asdict(known[key])) + "\n")
            print(f"recorded {key}", file=sys.stderr, flush=True)
        found.append(known[key])
    return found


def _key(workload: str, goal: float, batch_size: int, seed: int) -> tuple[str, float, int, int]:
    return workload, goal, batch_size, seed


def _read(path: Path) -> Iterator[Recorded]:
    for line in path.read_text().splitlines() if path.exists() else ():
        row = json.loads(line)
        courses = tuple(
            Course(
                c["number"],
                c["outcome"],
                c["steps"],
                tuple(Evaluation(*look) for look in c["looks"]),
                tuple(c["evaluated"]),
            )
            for c in row.pop("courses")
        )
        yield Recorded(**row, courses=courses)
