"""A run: one trial in training, as heats, engines, checkpoints and races know it.

What is behind it is its own affair: a model that batchfront trains (`model_run`), a loop of the
user's, or a program in a process of its own. Nothing here needs torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Protocol, TypeVar

from batchfront.outcomes import Evaluation, GoalCrossing, TrialCost
from batchfront.workload.goal import Goal
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.stopping_rules import StoppingRules

State = dict[str, Any]
"""What a checkpoint keeps of a run: dicts, lists, tuples, plain values and tensors."""

Weights = Mapping[str, Any]
"""What a run has learned, by name: tensors, arrays, plain values, and dicts and lists of these."""


@dataclass(frozen=True)
class GoalCheck:
    """What evaluating a run, in full or as far as the goal needs, has shown.

    passed   -- whether the goal is passed; always exact
    value    -- the metric over the whole split; None if the evaluation could stop before its end
    examples -- how many examples it took
    measures -- of the same split, by name, where it was in full or the goal is passed
    """

    passed: bool
    value: float | None
    examples: int
    measures: Mapping[str, float] = field(default_factory=dict)


class EvaluationSteps(Protocol):
    """The steps at which a run is evaluated: a grid's (`GridSteps`), or the run's own.

    A run that alone knows when it is evaluated, as a program does, gives the very next step as the
    one that comes `after`; it is then at some later one when it has advanced.
    """

    def __contains__(self, step: int, /) -> bool:
        """Whether `step`, which the run has come to, is an evaluated one."""

    def after(self, step: int) -> int | None:
        """The step to bring the run to next, or None once its step budget is spent."""

    def before(self, step: int) -> int:
        """The evaluated step before `step`, which is one too: 0 before the first."""

    def is_full(self, step: int) -> bool:
        """Whether the metric is computed in full there, for the learning curve."""

    def spent(self, step: int) -> str:
        """Say why no step comes after this one: "step budget of 500 spent"."""


class Run(Protocol):
    """One trial with its metaparameters: `advance` it, then `evaluate`.

    Its result depends on the workload, the batch size, the metaparameters and the seed alone: not
    on what runs beside it, and not on how often it was interrupted and restored. Between two calls
    it stands still.
    """

    goal_crossing: GoalCrossing | None  # where it passed the goal, as its heat has found

    @property
    def step(self) -> int:
        """The updates done so far."""

    @property
    def evaluation_steps(self) -> EvaluationSteps:
        """When it is evaluated, up to the end of its step budget."""

    @property
    def evaluations(self) -> Sequence[Evaluation]:
        """What its full evaluations have shown, in order."""

    @property
    def untrained_loss(self) -> float | None:
        """The training loss before the first update, where it is known."""

    @property
    def replayable(self) -> bool:
        """Whether it can be trained again from where it was: see `Replayable`."""

    @property
    def cost(self) -> TrialCost:
        """What it has cost so far, before it was restored too."""

    @property
    def micro_batch(self) -> int | None:
        """The examples of a micro-batch, where batches are computed in several."""

    @property
    def engine(self) -> str | None:
        """What has computed its steps, by name, or None before the first."""

    def advance(self, to_step: int, stop: Event | None = None) -> bool:
        """Train until `to_step` updates are done. A run that stands still only where it evaluates
        itself goes on to the first such step.

        Returns False if `stop`, once set, has kept it from getting there, or if it is over: no step
        comes `after` the one it is at then.
        """

    def is_finite(self) -> bool:
        """Whether every training loss since the last full evaluation was a finite number."""

    def evaluate(self, *, full: bool) -> GoalCheck:
        """Measure the goal's metric on the validation split. A full evaluation is one of
        `evaluations` from then on."""

    def test_metric(self) -> float | None:
        """The goal's metric on the test split, if there is one."""

    def weights(self) -> Weights | None:
        """What it was evaluated with, which may change once it is advanced again; None if nobody
        but itself knows."""

    def state(self) -> State | None:
        """Everything from which `restore` on a fresh run of the same trial continues exactly.

        Returns None if this run can't be continued: interrupted, it starts again.
        """

    def restore(self, state: State) -> None:
        """Continue from a `state`.

        Raises CheckpointError, and changes nothing, if it doesn't fit.
        """

    def close(self) -> None:
        """Give back what it holds, such as a process: it has ended here, or been released. Nothing
        happens where that has been done."""


R_co = TypeVar("R_co", bound=Run, covariant=True)


class RunFactory(Protocol[R_co]):
    """A workload made ready on this worker's devices: what the runs of its trials come from.

    room -- runs at once, where memory has been found to hold no more
    """

    room: int | None

    @property
    def goal(self) -> Goal:
        """What a trial has to reach."""

    @property
    def stopping(self) -> StoppingRules:
        """When a trial is given up."""

    @property
    def versions(self) -> Mapping[str, str]:
        """What computes the runs, as is written with each of them."""

    def run(self, batch_size: int, values: Metaparameters, seed: int, *, number: int = 0) -> R_co:
        """A fresh run.

        number -- of its trial, by which whatever it leaves is filed
        """
