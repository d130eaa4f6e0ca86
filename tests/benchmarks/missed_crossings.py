"""How often does `--evaluate sparse` miss where a trial passes its goal, and what does it save?

    python -m tests.benchmarks.missed_crossings

Trials are trained without an end, all evaluated in full at every evaluated step, and what they
have shown is recorded (--record FILE adds it to a file, --curves FILE takes it from there). Then
each is raced again, by the heat that trains, to each of many goals: evaluated everywhere, and
sparsely. To its own crossing, in heats that cap no trial; and in races of 8.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from batchfront.outcomes import Evaluation, GoalCrossing, TrialCost, TrialResult
from batchfront.training.heat import Heat, RaceRules
from batchfront.training.run import GoalCheck
from batchfront.workload.evaluation_grid import EvaluationGrid, GridSteps
from batchfront.workload.goal import Goal
from batchfront.workload.stopping_rules import StoppingRules
from tests.benchmarks.markdown import table

RACE = 8
"""Trials of a race."""

OPTIMIZERS = ("momentum", "nesterov_momentum", "sgd", "adamw")

HORIZONS = {256: 250, 64: 400, 16: 900, 4: 3200}
"""Steps on digits by batch size: four times those of the best of many trials."""

GOALS = (0.4, 0.3, 0.2, 0.15, 0.1, 0.08, 0.06, 0.05, 0.04, 0.03)
"""Error rates that trials are raced to."""


@dataclass(frozen=True)
class Job:
    """What is recorded: trials of a workload at a batch size, for so many steps."""

    spec: str
    batch_size: int
    horizon: int
    trials: int = 32


FULL = [Job(f"digits/mlp/{name}", b, h) for name in OPTIMIZERS for b, h in HORIZONS.items()]
FULL += [Job("mnist/fc_256/momentum", 256, 700, 8)]

QUICK = [Job("digits/mlp/momentum", 256, 60, 8)]


@dataclass(frozen=True)
class Curve:
    """The goal metric of a trial at each of its evaluated steps; it diverged after the last."""

    spec: str
    batch_size: int
    metrics: tuple[float, ...]


def record(job: Job) -> Iterator[Curve]:
    """Train the trials of a job, and give what they have shown."""
    import torch

    from batchfront.training.devices import use_one_thread
    from batchfront.training.model_run import ModelRun
    from batchfront.training.vectorized.engine import Vectorized
    from batchfront.workload import catalog
    from batchfront.workload.search_space import quasi_random_points

    use_one_thread()
    workload = catalog.load_trained(job.spec)
    data, engine = workload.data(), Vectorized()
    points = quasi_random_points(workload.space(job.batch_size), job.trials, 77)
    runs = [
        ModelRun(workload, data, job.batch_size, point, 1000 + n, torch.device("cpu"))
        for n, point in enumerate(points)
    ]
    live, shown = runs, {run: list[float]() for run in runs}
    for step in workload.grid.steps(job.horizon):
        engine.advance(live, step, Event())
        live = [run for run, fine in zip(live, engine.finite(live), strict=True) if fine]
        for run, check in zip(live, engine.evaluate(live, full=True), strict=True):
            assert isinstance(check, GoalCheck)
            assert check.value is not None
            shown[run].append(check.value)
    for metrics in shown.values():
        yield Curve(job.spec, job.batch_size, tuple(metrics))


class RecordedRun:
    """A run that shows what was recorded of it, and can go back."""

    replayable = True
    untrained_loss: float | None = None
    micro_batch: int | None = None
    engine: str | None = None

    def __init__(self, curve: Curve, goal: Goal) -> None:
        self._goal = goal
        grid = EvaluationGrid()
        steps = grid.steps(2**40)[: len(curve.metrics)]
        self._metrics = dict(zip(steps, curve.metrics, strict=True))
        self.evaluation_steps = GridSteps(grid, steps[-1])
        self.step = self.judged = self.trained = self.between = 0
        self.decided = -1
        self.kept_until: int | None = None
        self._kept: tuple[int, list[Evaluation]] = (0, [])
        self.evaluations: list[Evaluation] = []
        self.goal_crossing: GoalCrossing | None = None
        self.cost = TrialCost()

    def advance(self, to_step: int, stop: Event | None = None) -> bool:
        self.trained += to_step - self.step
        self.step = to_step
        return True

    def is_finite(self) -> bool:
        return True

    def evaluate(self, *, full: bool) -> GoalCheck:
        value = self._metrics[self.step]
        passed = self._goal.passed(value)
        self.between += not self.evaluation_steps.is_full(self.step)
        if self.evaluation_steps.is_full(self.step):
            self.evaluations.append(Evaluation(self.step, None, value))
        return GoalCheck(passed, value if full or passed else None, 0)

    def keep(self, until: int) -> None:
        self.kept_until, self._kept = until, (self.step, list(self.evaluations))

    def let_go(self) -> None:
        self.kept_until = None

    def roll_back(self) -> None:
        self.step, self.evaluations = self._kept
        self.judged = self.step
        self.let_go()

    def test_metric(self) -> None:
        return None

    def weights(self) -> None:
        return None

    def state(self) -> None:
        return None

    def restore(self, state: object) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Slot:
    number: int


@dataclass(frozen=True)
class Raced:
    """How the trials of a heat ended, by number, and what it took: training steps, and evaluations
    between full ones."""

    ends: dict[int, TrialResult]
    steps: int
    between: int

    @property
    def crossings(self) -> dict[int, float]:
        return {n: e.steps_to_target for n, e in self.ends.items() if e.steps_to_target is not None}


def raced(curves: Sequence[Curve], goal: Goal, finishers: int, *, sparse: bool) -> Raced:
    """Race recorded trials."""
    runs = [RecordedRun(curve, goal) for curve in curves]
    patient = StoppingRules(patience=10**9)
    rules = RaceRules(goal, patient, finishers=finishers, sparse=sparse)
    heat: Heat[Slot, RecordedRun] = Heat(rules, [(Slot(n), run) for n, run in enumerate(runs)])
    ends: dict[int, TrialResult] = {}
    while heat.live:
        ends |= {slot.number: end for slot, end in heat.round(Event())}
    return Raced(ends, sum(run.trained for run in runs), sum(run.between for run in runs))


@dataclass
class Tally:
    """What came of heats that were raced both ways.

    crossings, missed  -- trials that pass their goal, evaluated everywhere; otherwise, sparsely
    races, lost        -- races that somebody wins; that another wins, or later, sparsely
    every, sparse      -- evaluations between full ones in races
    trained, trained_again -- steps in races, and those more that are trained sparsely
    """

    crossings: int = 0
    missed: int = 0
    races: int = 0
    lost: int = 0
    every: int = 0
    sparse: int = 0
    trained: int = 0
    trained_again: int = 0
    told: list[str] = field(default_factory=list)

    def take(self, curves: Sequence[Curve], goal: Goal) -> None:
        """Race trials of one workload and batch size to a goal, both ways."""
        every, sparse = (raced(curves, goal, 0, sparse=s).crossings for s in (False, True))
        self.crossings += len(every)
        for number, step in every.items():
            if sparse.get(number) != step:
                self.missed += 1
                one = curves[number]
                self.told.append(
                    f"{one.spec} b{one.batch_size} trial {number}: {goal} at step {step:g}, "
                    f"found at {sparse.get(number)}"
                )
        for first in range(0, len(curves) - RACE + 1, RACE):
            self._race(curves[first : first + RACE], goal)

    def _race(self, curves: Sequence[Curve], goal: Goal) -> None:
        every, sparse = (raced(curves, goal, 1, sparse=s) for s in (False, True))
        if not every.crossings:
            return
        self.races += 1
        self.lost += sparse.crossings != every.crossings
        self.every, self.sparse = self.every + every.between, self.sparse + sparse.between
        self.trained += every.steps
        self.trained_again += sparse.steps - every.steps

    def row(self, name: str) -> list[str]:
        """The cells of COLUMNS."""
        return [
            name,
            f"{self.crossings:,}",
            f"{self.missed}",
            f"{self.races}",
            f"{self.lost}",
            f"{self.sparse / max(self.every, 1):.0%}",
            f"{self.trained_again / max(self.trained, 1):.1%}",
        ]


COLUMNS = ("trials", "crossings", "missed", "races", "lost", "evaluations", "trained again")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="8 trials of digits")
    parser.add_argument("--curves", type=Path, nargs="+", metavar="FILE", help="recorded before")
    parser.add_argument("--record", type=Path, metavar="FILE", help="add what is recorded to it")
    asked = parser.parse_args(arguments)
    curves = [one for file in asked.curves or () for one in _read(file)]
    for job in QUICK if asked.quick else [] if asked.curves else FULL:
        print(f"{job.spec} b{job.batch_size} …", file=sys.stderr)
        curves += record(job)
        if asked.record is not None:
            _write(asked.record, curves)
    print(table(COLUMNS, list(_rows(curves))))
    return 0


def _rows(curves: Iterable[Curve]) -> Iterator[list[str]]:
    from batchfront.workload.metrics import ERROR_RATE

    groups: dict[str, dict[int, list[Curve]]] = {}
    for curve in curves:
        if curve.metrics:
            groups.setdefault(curve.spec, {}).setdefault(curve.batch_size, []).append(curve)
    for spec, by_size in groups.items():
        tally = Tally()
        for same in by_size.values():
            for value in GOALS:
                tally.take(same, Goal(ERROR_RATE, value))
        print(*tally.told, sep="\n", end="\n" if tally.told else "", file=sys.stderr)
        yield tally.row(spec)


def _write(file: Path, curves: Iterable[Curve]) -> None:
    file.write_text(json.dumps([[c.spec, c.batch_size, c.metrics] for c in curves]))


def _read(file: Path) -> list[Curve]:
    return [Curve(spec, size, tuple(m)) for spec, size, m in json.loads(file.read_text())]


if __name__ == "__main__":
    sys.exit(main())
