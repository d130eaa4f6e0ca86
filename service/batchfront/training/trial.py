"""One training run, resumable at any step."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from threading import Event
from time import perf_counter
from typing import Any, TypeVar

import torch
from torch import Tensor

from batchfront.errors import WorkloadError
from batchfront.outcomes import Evaluation, GoalCrossing, TrialCost
from batchfront.phase_timer import timed_as
from batchfront.training.data_order import DataOrder
from batchfront.training.evaluation import Evaluator, GoalCheck, full_metric
from batchfront.training.generators import Streams, seed_generators
from batchfront.training.gradient import BatchGradient, Gradient
from batchfront.training.memory import Passes
from batchfront.training.memory_estimate import estimate
from batchfront.training.model_call import Computed
from batchfront.workload.algorithm import chosen
from batchfront.workload.data import Splits
from batchfront.workload.metrics import as_weights
from batchfront.workload.optimizers import SGDOptimizer
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.seeds import mix
from batchfront.workload.workload import Workload

_INIT, _ORDER, _DROPOUT, _EVALUATION, _TEST = range(5)  # the trial's random streams


T = TypeVar("T")


_UNTRAINED = 512  # examples that the untrained loss is of


class TrialRun:
    """A model in training with one draw of metaparameters: `advance` it, then `evaluate`.

    Its result depends on the workload, the batch size, the draw and the seed alone: not on what
    ran beside it, in which process, or how often it was interrupted and restored. `passage` is
    where it passed the goal, as a heat has found.
    """

    def __init__(
        self,
        workload: Workload,
        splits: Splits,
        batch_size: int,
        values: Metaparameters,
        seed: int,
        device: torch.device,
        passes: Passes | None = None,
    ) -> None:
        self.workload, self.splits, self.batch_size = workload, splits, batch_size
        self.values, self.seed, self.device = values, seed, device
        # Made on the CPU, so that a trial starts from the same weights on every device.
        seed_generators(device, mix(seed, _INIT))
        self.model = workload.model(**chosen(workload.model, values)).to(device)
        # First, as an optimizer's state is laid out in memory like the weights.
        self._computed = Computed(self.model, workload.execution, device)
        self.optimizer = workload.algorithm.start(self.model, values)
        train = splits.train
        self.order = DataOrder(len(train), batch_size, mix(seed, _ORDER), train.indexed_on)
        self.passes = Passes() if passes is None else passes
        self.dropout_seed = mix(seed, _DROPOUT)
        self.alone = BatchGradient(
            workload,
            self.model,
            values,
            train,
            self.passes.training,
            self.dropout_seed,
            device,
            self._computed,
            self.passes.whole,
        )
        self.alone.streams.more = not isinstance(self.optimizer, SGDOptimizer)
        self.gradient: Gradient = self.alone
        estimate(self.passes, self.alone)
        self.evaluator = Evaluator(splits.validation, workload.goal, self.passes.evaluation)
        self.learning_rate = float(values["learning_rate"])
        self.step = 0
        self._streams = Streams(device)  # of evaluations
        self.looks: list[Evaluation] = []
        self.passage: GoalCrossing | None = None
        self.spent = TrialCost()
        self.engines: set[str] = set()  # that have trained it for a step or more
        self.loss_values = chosen(workload.loss, values)
        self.loss_sum = torch.zeros((), device=device)
        self.loss_steps = 0
        self.untrained_loss = self._untrained_loss()

    def advance(self, to_step: int, stop: Event | None = None) -> bool:
        """Train until `to_step` updates are done; False if `stop` was set before that."""
        order, optimizer, gradient = self.order, self.optimizer, self.gradient
        factor, draw = self.workload.schedule.factor, self.values
        rate, loss_sum, streams = self.learning_rate, self.loss_sum, self.alone.streams
        began = perf_counter()
        self.model.train()
        streams.begin()
        if self.step < to_step:
            self.engines.add("sequential")
        with gradient.ahead(order, self.step, to_step):
            for step, indices in enumerate(order.batches(self.step, to_step), self.step):
                if stop is not None and stop.is_set():
                    break
                loss = gradient.of(step, indices)
                optimizer.step(rate * factor(step, draw))
                streams.settle()
                if loss is not None:
                    loss_sum.add_(loss)
                    self.loss_steps += 1
                self.step = step + 1
        self.spent.training_seconds += perf_counter() - began
        return self.step >= to_step

    def finite(self) -> bool:
        """Whether every training loss since the last full look was a finite number."""
        return are_finite([self])[0]

    def evaluate(self, *, full: bool) -> GoalCheck:
        """Evaluate the goal on the validation split; a full evaluation is kept in `evaluations`."""
        began = perf_counter()
        look = partial(self.evaluator.look, self._computed, full=full)
        found = self._evaluated(_EVALUATION, look)
        self.saw(found, perf_counter() - began, full=full)
        return found

    def saw(self, found: GoalCheck, seconds: float, *, full: bool) -> None:
        """Take note of a look, and of the time it took."""
        self.spent.evaluation_seconds += seconds
        self.spent.evaluated_examples += found.examples
        if full and found.value is not None:
            loss = self.looks[-1].loss if self.looks else self.untrained_loss
            if self.loss_steps:  # otherwise no batch since then had anything that counts
                loss = self.loss_sum.item() / self.loss_steps
            self.looks.append(Evaluation(self.step, loss, found.value))
            self.loss_sum.zero_()
            self.loss_steps = 0

    @timed_as("evaluation")
    def test_metric(self) -> float | None:
        """The goal metric on the test split, if there is one."""
        if self.splits.test is None:
            return None
        metric, passes = self.workload.goal.metric, self.passes.evaluation
        test = partial(full_metric, self._computed, self.splits.test, metric, passes)
        return self._evaluated(_TEST, test)

    def _evaluated(self, stream: int, evaluate: Callable[[], T]) -> T:
        """What `evaluate` finds, with random numbers that depend on the trial and its step."""
        seed = mix(self.seed, stream, self.step)
        self._streams.begin()
        self._streams.seed(seed)
        found = evaluate()
        if self._streams.strayed():
            self._streams.seed(seed)
            found = evaluate()
        self._streams.settle()
        return found

    def state(self) -> dict[str, Any]:
        """Everything from which `restore` on a fresh run of the same draw continues exactly."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state(),
            "evaluation_order": self.evaluator.order,
            "loss_sum": self.loss_sum,
            "loss_steps": self.loss_steps,
            "looks": [tuple(look) for look in self.looks],
            "passage": None if self.passage is None else tuple(self.passage),
            "spent": asdict(self.spent),
            "engines": sorted(self.engines),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state`. Raises CheckpointError, and changes nothing, if it is of an
        optimizer that was made otherwise."""
        self.optimizer.restore(state["optimizer"])
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.evaluator.order.copy_(state["evaluation_order"])
        self.loss_sum.copy_(state["loss_sum"])
        self.loss_steps = state["loss_steps"]
        self.looks = [Evaluation(*look) for look in state["looks"]]
        self.passage = None if state["passage"] is None else GoalCrossing(*state["passage"])
        self.spent = TrialCost(**state["spent"])
        self.engines = set(state.get("engines", ()))  # which older checkpoints don't know of

    def _untrained_loss(self) -> float:
        """Of the first examples of which some count."""
        self.model.eval()
        everything = torch.arange(len(self.splits.train), device=self.splits.train.indexed_on)
        for indices in everything.split(_UNTRAINED):  # type: ignore[no-untyped-call]
            loss = partial(self._loss_of, indices)
            fit = partial(self.passes.evaluation.fit, len(indices), loss)
            if self.passes.whole is not None:  # of other batches it says nothing
                fit = partial(loss, min(self.batch_size, len(indices)))
            found = self._evaluated(_EVALUATION, fit)
            if found is not None:
                return found
        raise WorkloadError(
            f"{self.workload.name}: no example of the training split has anything to predict: the "
            "workload's weights of its targets are all 0"
        )

    @torch.inference_mode()
    def _loss_of(self, indices: Tensor, size: int) -> float | None:
        train, weigh, count = self.splits.train, self.workload.weight, len(indices)
        total = whole = 0.0
        for part in indices.split(size):  # type: ignore[no-untyped-call]
            inputs, targets = train.batch(part)
            weight = len(part) / count
            if weigh is not None:
                name = f"{self.workload.name}: the workload's weight"
                weight = float(as_weights(name, weigh(targets), len(part)).sum())
            if weight:
                loss = self.workload.loss(self._computed(inputs), targets, **self.loss_values)
                total, whole = total + float(loss) * weight, whole + weight
        if weigh is None:
            return total
        return total / whole if whole else None


def are_finite(runs: Sequence[TrialRun]) -> list[bool]:
    """Of each run whether it is `finite`: their device is waited for once, not for each."""
    sums = torch.stack([run.loss_sum for run in runs]).tolist() if runs else []
    return list(map(math.isfinite, sums))
