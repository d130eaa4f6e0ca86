"""A run that batchfront trains itself, resumable at any step."""

import math
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from threading import Event
from time import perf_counter
from typing import TypeVar

import torch
from torch import Tensor, nn

from batchfront.errors import WorkloadError
from batchfront.outcomes import Evaluation, GoalCrossing, TrialCost
from batchfront.phase_timer import timed_as
from batchfront.training.averaged_weights import AveragedWeights
from batchfront.training.evaluation import Evaluator, full_metric
from batchfront.training.generators import Streams, seed_generators
from batchfront.training.gradient import BatchGradient, Gradient
from batchfront.training.memory import MicroBatchSizes
from batchfront.training.memory_estimate import estimate
from batchfront.training.model_call import Computed
from batchfront.training.run import GoalCheck, State, Weights
from batchfront.training.training_step import SEES_WHOLE_BATCH, start_optimizer, training_step
from batchfront.workload.algorithm import chosen
from batchfront.workload.data import Splits
from batchfront.workload.evaluation_grid import GridSteps
from batchfront.workload.lr_schedule import TrainingSize
from batchfront.workload.metrics import as_weights
from batchfront.workload.nested import map_tensors
from batchfront.workload.optimizers import SGDOptimizer
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.seeds import SeedStream
from batchfront.workload.workload import Workload

T = TypeVar("T")

_UNTRAINED = 512  # examples that the untrained loss is of


class ModelRun:
    """A PyTorch model in training with a trial's metaparameters: a `Run`."""

    def __init__(
        self,
        workload: Workload,
        splits: Splits,
        batch_size: int,
        values: Metaparameters,
        seed: int,
        device: torch.device,
        micro_batches: MicroBatchSizes | None = None,
    ) -> None:
        self.workload, self.splits, self.batch_size = workload, splits, batch_size
        self.values, self.seed, self.device = values, seed, device
        # Made on the CPU, so that a trial starts from the same weights on every device.
        seed_generators(device, SeedStream.INITIAL_WEIGHTS.seed(seed))
        self.model = workload.model(**chosen(workload.model, values)).to(device)
        # First, as an optimizer's state is laid out in memory like the weights.
        self._computed = Computed(self.model, workload.execution, device)
        self.optimizer = start_optimizer(workload, self.model, values)
        train = splits.train
        self.order = train.order(batch_size, SeedStream.ORDER.seed(seed))
        self.micro_batches = MicroBatchSizes() if micro_batches is None else micro_batches
        self.dropout_seed = SeedStream.STEP.seed(seed)
        self.alone = BatchGradient(
            workload,
            self.model,
            values,
            train,
            self.micro_batches.training,
            self.dropout_seed,
            device,
            self._computed,
            self.micro_batches.whole if workload.update is None else SEES_WHOLE_BATCH,
        )
        self.alone.streams.more = not isinstance(self.optimizer, SGDOptimizer)
        self.gradient: Gradient = self.alone
        self.training_step = training_step(
            workload, values, self.optimizer, self.alone, self._computed
        )
        self.average: AveragedWeights | None = None
        if workload.average is not None:
            self.average = AveragedWeights(workload, workload.average, self.model, values, device)
        estimate(self.micro_batches, self.alone)
        self.evaluator = Evaluator(
            splits.validation, workload.goal, self.micro_batches.evaluation, workload.measures
        )
        self.learning_rate = float(values["learning_rate"])
        self.schedule = workload.schedule.at(
            TrainingSize(batch_size, train.per_epoch, workload.steps_allowed(batch_size))
        )
        self.step = 0
        self._streams = Streams(device)  # of evaluations
        self.evaluation_steps = GridSteps(workload.grid, workload.steps_allowed(batch_size))
        self.evaluations: list[Evaluation] = []
        self.goal_crossing: GoalCrossing | None = None
        self.cost = TrialCost()
        self.engines: set[str] = set()  # that have trained it for a step or more
        self.replayable = True
        self.judged = 0
        self.decided = -1
        self.kept_until: int | None = None
        self._kept: State | None = None
        self.loss_values = {} if workload.loss is None else chosen(workload.loss, values)
        self.loss_sum = torch.zeros((), device=device)
        self.loss_steps = 0
        self.untrained_loss = None if workload.loss is None else self._untrained_loss()

    def advance(self, to_step: int, stop: Event | None = None) -> bool:
        """Train until `to_step` updates are done. Returns False if `stop` was set before that."""
        order, optimizer, gradient = self.order, self.optimizer, self.gradient
        rate_at, values = self.schedule.learning_rate_at, self.values
        train, streams, average = self.training_step, self.alone.streams, self.average
        loss_sum = self.loss_sum
        began = perf_counter()
        self.model.train()
        streams.begin()
        if self.step < to_step:
            self.engines.add("sequential")
        with gradient.prefetch(order, self.step, to_step):
            for step, indices in enumerate(order.batches(self.step, to_step), self.step):
                if stop is not None and stop.is_set():
                    break
                loss = train(gradient, optimizer, step, indices, rate_at(step, values))
                streams.settle()
                if average is not None:
                    average.update(step)
                if loss is not None:
                    loss_sum.add_(loss)
                    self.loss_steps += 1
                self.step = step + 1
        self.cost.training_seconds += perf_counter() - began
        return self.step >= to_step

    def is_finite(self) -> bool:
        """Whether every training loss since the last full evaluation was a finite number; where an
        update has told none, whether all trained weights are."""
        if self.workload.update is not None and not self.loss_steps:
            trained = (p for p in self.model.parameters() if p.requires_grad)
            return all(bool(weight.isfinite().all()) for weight in trained)
        return math.isfinite(self.loss_sum.item())

    def evaluate(self, *, full: bool) -> GoalCheck:
        """Evaluate the goal on the validation split. A full evaluation is kept in `evaluations`."""
        began = perf_counter()
        evaluate = partial(self.evaluator.evaluate, self._evaluated(), full=full)
        found = self._seeded(SeedStream.EVALUATION, evaluate)
        self.record(found, perf_counter() - began, full=full)
        return found

    def at_crossing(self, found: GoalCheck) -> GoalCheck:
        """What was found, with the measures where the goal is passed: see `Evaluator`."""
        return self._seeded(
            SeedStream.EVALUATION, partial(self.evaluator.at_crossing, found, self._evaluated())
        )

    def record(self, found: GoalCheck, seconds: float, *, full: bool) -> None:
        """Take note of an evaluation, and of the time it took."""
        self.cost.evaluation_seconds += seconds
        self.cost.evaluated_examples += found.examples
        if full and found.value is not None and self._is_on_curve():
            loss = self.evaluations[-1].loss if self.evaluations else self.untrained_loss
            if self.loss_steps:  # otherwise no batch since then had anything that counts
                loss = self.loss_sum.item() / self.loss_steps
            self.evaluations.append(Evaluation(self.step, loss, found.value, found.measures))
            self.loss_sum.zero_()
            self.loss_steps = 0

    def _is_on_curve(self) -> bool:
        """Whether a full evaluation here is one of its learning curve, and the first that is made
        here."""
        if self.evaluations and self.evaluations[-1].step == self.step:
            return False
        return self.kept_until is None or self.evaluation_steps.is_full(self.step)

    @timed_as("evaluation")
    def test_metric(self) -> float | None:
        """The goal metric on the test split, if there is one."""
        if self.splits.test is None:
            return None
        metric, micro_batches = self.workload.goal.computed, self.micro_batches.evaluation
        test = partial(full_metric, self._evaluated(), self.splits.test, metric, micro_batches)
        return self._seeded(SeedStream.TEST, test)

    @property
    def evaluated(self) -> nn.Module:
        """What evaluations are of: the model, or a copy of it with the average of its weights."""
        return self._evaluated().model

    def _evaluated(self) -> Computed:
        if self.average is None:
            return self._computed
        self.average.follow_buffers()
        return self.average.computed

    def _seeded(self, stream: SeedStream, evaluate: Callable[[], T]) -> T:
        """What `evaluate` finds, with random numbers that depend on the trial and its step."""
        seed = stream.seed(self.seed, self.step)
        self._streams.begin()
        self._streams.seed(seed)
        found = evaluate()
        if self._streams.strayed():
            self._streams.seed(seed)
            found = evaluate()
        self._streams.settle()
        return found

    @property
    def micro_batch(self) -> int | None:
        """The examples of a micro-batch, where memory is too small for the whole batch."""
        return self.micro_batches.micro_batch(self.batch_size)

    @property
    def engine(self) -> str | None:
        """What has computed its steps: both are named if both have."""
        return " and ".join(sorted(self.engines)) or None

    def weights(self) -> Weights:
        """What it was evaluated with: what `load_state_dict` of the workload's model takes."""
        return self.evaluated.state_dict()

    def keep(self, until: int) -> None:
        """Keep its state, to go back to, while its evaluations before `until` are left out."""
        self._kept = map_tensors(lambda tensor: tensor.detach().clone(), self._own_state())
        self.kept_until = until

    def let_go(self) -> None:
        """Keep no state any more."""
        self.kept_until = self._kept = None

    def roll_back(self) -> None:
        """Go back to the kept state, which is let go. What has been spent since stays spent."""
        assert self._kept is not None
        kept, cost, engines = self._kept, self.cost, self.engines
        self.restore(kept)
        self.cost, self.engines = cost, engines

    def state(self) -> State:
        """Everything from which `restore` on a fresh run of the same trial continues exactly."""
        return {**self._own_state(), "kept": self._kept, "kept_until": self.kept_until}

    def _own_state(self) -> State:
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            **({} if self.average is None else {"average": self.average.state()}),
            "optimizer": self.optimizer.state(),
            "evaluation_order": self.evaluator.order,
            "loss_sum": self.loss_sum,
            "loss_steps": self.loss_steps,
            "looks": [tuple(one) for one in self.evaluations],
            "passage": None if self.goal_crossing is None else tuple(self.goal_crossing),
            "judged": self.judged,
            "spent": asdict(self.cost),
            "engines": sorted(self.engines),
        }

    def restore(self, state: State) -> None:
        """Continue from a `state`. Raises CheckpointError, and changes nothing, if it is of an
        optimizer that was made otherwise."""
        self.optimizer.restore(state["optimizer"])
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.restore(state["average"])
        # Not into the one that is there: an evaluation has made it, in inference mode.
        order = self.evaluator.order
        self.evaluator.order = state["evaluation_order"].to(order.device, copy=True)
        self.loss_sum.copy_(state["loss_sum"])
        self.loss_steps = state["loss_steps"]
        self.evaluations = [Evaluation(*one) for one in state["looks"]]
        self.goal_crossing = None if state["passage"] is None else GoalCrossing(*state["passage"])
        self.cost = TrialCost(**state["spent"])
        # Older checkpoints don't know of these: then every evaluated step was evaluated.
        self.engines = set(state.get("engines", ()))
        self.judged = state.get("judged", self.step)
        self._kept, self.kept_until = state.get("kept"), state.get("kept_until")

    def close(self) -> None:
        """Nothing is held that its last reference doesn't give back."""

    def _untrained_loss(self) -> float:
        """Of the first examples of which some count."""
        self.model.eval()
        everything = torch.arange(len(self.splits.train), device=self.splits.train.indexed_on)
        for indices in everything.split(_UNTRAINED):  # type: ignore[no-untyped-call]
            loss = partial(self._loss_of, indices)
            fit = partial(self.micro_batches.evaluation.fit, len(indices), loss)
            if self.micro_batches.whole is not None:  # of other batches it says nothing
                fit = partial(loss, min(self.batch_size, len(indices)))
            found = self._seeded(SeedStream.EVALUATION, fit)
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
            batch = train.batch(part)
            weight = len(part) / count
            if weigh is not None:
                name = f"{self.workload.name}: the workload's weight"
                weight = float(as_weights(name, weigh(batch.targets), len(part)).sum())
            if weight:
                loss = self.alone.mean_loss(batch)
                total, whole = total + float(loss) * weight, whole + weight
        if weigh is None:
            return total
        return total / whole if whole else None
