"""Runs without a model: they count, and call it learning. Nothing here needs torch."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from threading import Event

from batchfront.outcomes import Evaluation, GoalCrossing, TrialCost
from batchfront.training.run import EvaluationSteps, GoalCheck, Run, State, Weights
from batchfront.workload.evaluation_grid import EvaluationGrid, GridSteps
from batchfront.workload.goal import Goal
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.stopping_rules import StoppingRules

BUDGET = 500
GRID = GridSteps(EvaluationGrid(), BUDGET)


@dataclass
class Counter:
    """A run whose metric falls from 1 by `rate` a step, as its loss does.

    breaks_at -- the step from which on its loss is not a number
    """

    goal: Goal
    rate: float
    breaks_at: int = BUDGET + 1
    evaluation_steps: EvaluationSteps = GRID
    step: int = 0
    evaluations: list[Evaluation] = field(default_factory=list)
    goal_crossing: GoalCrossing | None = None
    replayable: bool = False
    cost: TrialCost = field(default_factory=TrialCost)
    untrained_loss: float | None = 1.0
    micro_batch: int | None = None
    engine: str | None = "counting"
    closed: bool = False

    @property
    def metric(self) -> float:
        return max(1 - self.rate * self.step, 0.0)

    def advance(self, to_step: int, stop: Event | None = None) -> bool:
        while self.step < to_step and not (stop is not None and stop.is_set()):
            self.step += 1
        return self.step >= to_step

    def is_finite(self) -> bool:
        return self.step < self.breaks_at

    def evaluate(self, *, full: bool) -> GoalCheck:
        self.cost.evaluated_examples += 1
        if full:
            self.evaluations.append(Evaluation(self.step, self.metric, self.metric))
        return GoalCheck(self.goal.passed(self.metric), self.metric, 1)

    def test_metric(self) -> float | None:
        return None

    def weights(self) -> Weights | None:
        return {"step": self.step}

    def state(self) -> State | None:
        kept = {"step": self.step, "evaluations": list(map(tuple, self.evaluations))}
        return {**kept, "cost": asdict(self.cost)}

    def restore(self, state: State) -> None:
        self.step = state["step"]
        self.evaluations = [Evaluation(*one) for one in state["evaluations"]]
        self.cost = TrialCost(**state["cost"])

    def close(self) -> None:
        self.closed = True


class Every:
    """Evaluated when it likes, every so many steps: what comes next, it alone knows."""

    def __init__(self, interval: int, budget: int) -> None:
        self.interval, self.budget = interval, budget

    def __contains__(self, step: int) -> bool:
        return step % self.interval == 0

    def after(self, step: int) -> int | None:
        return step + 1 if step + self.interval <= self.budget else None

    def before(self, step: int) -> int:
        return step - self.interval

    def is_full(self, step: int) -> bool:
        return True

    def spent(self, step: int) -> str:
        return f"step budget of {self.budget} spent"


class Program(Counter):
    """Stands still only where it evaluates itself, and can't go on from anywhere."""

    def advance(self, to_step: int, stop: Event | None = None) -> bool:
        while self.step < to_step or self.step not in self.evaluation_steps:
            self.step += 1
        return True

    def state(self) -> State | None:
        return None

    def restore(self, state: State) -> None:
        raise NotImplementedError


@dataclass
class Counters:
    """A `RunFactory` of them, by their trials' seeds."""

    goal: Goal
    made: Mapping[int, Callable[[], Run]]
    stopping: StoppingRules = field(default_factory=StoppingRules)
    versions: Mapping[str, str] = field(default_factory=lambda: {"batchfront": "1"})
    room: int | None = None

    def run(self, batch_size: int, values: Metaparameters, seed: int, *, number: int = 0) -> Run:
        return self.made[seed]()
