"""Trials whose weights lie in one tensor each, and which are trained by one computation a step."""

from collections.abc import Sequence
from threading import Event
from time import perf_counter
from typing import cast

import torch
from torch import Tensor

from service.algorithm import SGDOptimizer
from service.batch_pass import BatchPass
from service.data import Examples
from service.layers import Dropout
from service.metrics import Metric, numbers_of
from service.schedule import Constant
from service.training.evaluation import Evaluation, Walking
from service.training.seeds import mix
from service.training.trial import TrialRun
from service.training.vectorized.forward import Layered, forward_of
from service.training.vectorized.gradients import ByAutograd, Gradients, Written, is_written
from service.training.vectorized.graphs import AFTER, Graphed, may_be_graphed
from service.training.vectorized.losses import Losses
from service.training.vectorized.updates import OneByOne, SGDUpdate, stacked

_BLOCK = 64  # steps whose examples and learning rates are looked up at once
_NO_DRAWS = BatchPass(0, 0, 0, 0)  # in training, where nothing is drawn


class Stack:
    """K runs of one study whose models are of one kind (`kind_of`).

    Weights, velocities and loss sums lie in tensors [K, ...]; each run's own are rows of them, so
    that whatever is done with a run by itself is done here, and the other way round. Between two
    steps a run is what it would be alone: it may be saved, looked at, or advanced by itself.

    A step is the same function of tensors of the same shapes every time, with no look at their
    values: indices [K, batch size], learning rates [K].
    """

    def __init__(self, runs: Sequence[TrialRun], augments: bool) -> None:
        self.runs = list(runs)
        first = self._first = runs[0]
        models = [run.model for run in runs]
        self.forward = forward_of(models)
        self.weights: dict[str, Tensor] = {}
        for name, parameter in first.model.named_parameters():
            rows = [run.model.get_parameter(name) for run in runs]
            whole = stacked(rows)
            for row, view in zip(rows, whole.unbind(), strict=True):
                row.data = view
            self.weights[name] = whole.requires_grad_(parameter.requires_grad)
        self._trained = [w for w in self.weights.values() if w.requires_grad]
        for name, _ in first.model.named_buffers():
            self.weights[name] = torch.stack([run.model.get_buffer(name) for run in runs])
        self._dropout = any(isinstance(m, Dropout) for m in first.model.modules())
        self._sums = torch.stack([run.loss_sum for run in runs])
        for run, own in zip(runs, self._sums.unbind(), strict=True):
            run.loss_sum = own
        values = [run.loss_values for run in runs]
        losses = Losses(first.workload.loss, values, first.device)
        self._gradients: Gradients
        if isinstance(self.forward, Layered) and is_written(self.forward, self.weights):
            self._gradients = Written(self.forward, self.weights, losses)
        else:
            self._gradients = ByAutograd(self.forward, self.weights, self._trained, losses)
        self._last: Sequence[Tensor] = ()
        self._update: SGDUpdate | OneByOne
        if isinstance(first.optimizer, SGDOptimizer):
            self._update = SGDUpdate(self._trained, self.runs)
        else:
            self._update = OneByOne(self.runs)
        self._augments = augments
        self._from: list[int] = []  # each run's step from which on indices and rates are known
        self._place = 0  # steps since then
        self._indices: tuple[Tensor, ...] = ()
        self._done = 0
        self._static: _Static
        self._graphed: Graphed | None = None

    def advance(self, to_steps: Sequence[int], stop: Event) -> bool:
        """Train each until its own `to_steps` updates are done; False if `stop` was set before.

        Those with more to do than another come up by themselves, and the rest is done together.
        What it raises, it raises before the step's update: the runs are whole, and may go on by
        themselves.
        """
        steps = max(0, min(to - run.step for run, to in zip(self.runs, to_steps, strict=True)))
        for run, to in zip(self.runs, to_steps, strict=True):
            if to - run.step > steps and not run.advance(to - steps, stop):
                return False
        self._find_place()
        began, done = perf_counter(), 0
        try:
            while done < steps and not stop.is_set():
                self._step()
                done += 1
        finally:
            seconds = (perf_counter() - began) / len(self.runs)
            for run in self.runs:
                run.step += done
                run.loss_steps += done
                run.spent.training_seconds += seconds
        return done == steps

    def _find_place(self) -> None:
        """Where the runs are in what has been looked up: they may have moved by themselves."""
        steps = [run.step for run in self.runs]
        places = {step - first for step, first in zip(steps, self._from, strict=False)}
        self._place = places.pop() if len(places) == 1 else -1
        if not 0 <= self._place < _BLOCK:
            self._look_up(steps)

    def _step(self) -> None:
        if self._place == _BLOCK:
            self._look_up([first + _BLOCK for first in self._from])
        place = self._place
        if self._graphed is not None:
            self._static.come(self._indices[place], place)
            self._graphed()
        else:
            inputs, targets = self._load(place)
            losses, gradients = self._gradients(inputs, targets, self._passes(place))
            with torch.no_grad():
                self._update(gradients, place)
                self._sums.add_(losses)
            self._last = gradients  # so long that the next find their memory as it is, not new
            self._done += 1
            if self._done == AFTER:
                self._graph()
        self._place += 1

    def _graph(self) -> None:
        """From now on steps are replayed as a graph, if theirs is one that can be."""
        train, update = self._first.splits.train, self._update
        draws = self._dropout or self._augments
        if draws or not isinstance(update, SGDUpdate):
            return
        if may_be_graphed(self._first.device, train):
            self._static = _Static(train, self._gradients, update, self._sums, self._indices[0])
            self._graphed = Graphed(self._static, [*self._trained, *update.state, self._sums])

    def _look_up(self, steps: list[int]) -> None:
        """The examples and learning rates of the next steps from these on, one of each run."""
        own = list(zip(self.runs, steps, strict=True))
        orders = [run.order.stretch(step, step + _BLOCK) for run, step in own]
        self._indices = torch.stack(orders, dim=1).unbind()
        schedule = self._first.workload.schedule
        if type(schedule) is Constant:
            rates = [[run.learning_rate for run in self.runs]] * _BLOCK
        else:
            rates = [
                [run.learning_rate * schedule.factor(step + i, run.values) for run, step in own]
                for i in range(_BLOCK)
            ]
        self._update.plan(rates)
        self._from, self._place = steps, 0

    def _passes(self, place: int) -> list[BatchPass]:
        if not self._dropout:
            return [_NO_DRAWS]
        size = self._first.batch_size
        return [BatchPass(0, size, size, seed) for seed in self._seeds(place)]

    def _seeds(self, place: int) -> list[int]:
        own = zip(self.runs, self._from, strict=True)
        return [mix(run.dropout_seed, first + place) for run, first in own]

    def _load(self, place: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets, [K, n, ...]."""
        train, indices = self._first.splits.train, self._indices[place]
        if self._augments:
            seeds = self._seeds(place)
            loaded = [train.batch(i, s) for i, s in zip(indices.unbind(), seeds, strict=True)]
            inputs, targets = zip(*loaded, strict=True)
            return torch.stack(inputs), torch.stack(targets)
        return _apart(train.batch(indices.flatten()), indices)

    @torch.inference_mode()
    def look(self, rows: Sequence[int], *, full: bool) -> list[Evaluation]:
        """Look at the validation split with these of the runs, each as its own evaluator would."""
        began = perf_counter()
        runs = [self.runs[row] for row in rows]
        walks = [run.evaluator.begin(full=full) for run in runs]
        going, before = list(range(len(runs))), -1
        weights: dict[str, Tensor] = {}
        while going:
            if len(going) != before:
                weights, before = self._of([rows[i] for i in going]), len(going)
            self._walk([walks[i] for i in going], weights)
            going = [i for i in going if walks[i].going]
        found = [run.evaluator.end(walk) for run, walk in zip(runs, walks, strict=True)]
        seconds = (perf_counter() - began) / len(runs)
        for run, one in zip(runs, found, strict=True):
            run.saw(one, seconds, full=full)
        return found

    def _of(self, rows: Sequence[int]) -> dict[str, Tensor]:
        if len(rows) == len(self.runs):
            return self.weights
        chosen_rows = torch.tensor(rows, device=self._sums.device)
        return {name: w.index_select(0, chosen_rows) for name, w in self.weights.items()}

    def _walk(self, walks: Sequence[Walking], weights: dict[str, Tensor]) -> None:
        """Take walks that have come equally far on by a chunk."""
        evaluator = self._first.evaluator
        indices = torch.stack([walk.next() for walk in walks])
        batch = evaluator.split.batch(indices.flatten())
        inputs, _ = _apart(batch, indices)
        outputs = self.forward(weights, inputs, ())
        metric = cast(Metric, evaluator.goal.metric)
        costs = numbers_of(metric, outputs.flatten(0, 1), batch[1]).view(indices.shape)
        costs = evaluator.counted(costs.to(indices.device), indices)
        totals = costs.sum(1, dtype=torch.float64).tolist()
        for walk, own, total in zip(walks, costs.unbind(), totals, strict=True):
            walk.add(own, total)


class _Static:
    """A step whose examples and learning rates are read from tensors that stay where they are."""

    def __init__(
        self,
        train: Examples,
        gradients: Gradients,
        update: SGDUpdate,
        sums: Tensor,
        indices: Tensor,
    ) -> None:
        self._train, self._gradients, self._update, self._sums = train, gradients, update, sums
        self._indices = torch.empty_like(indices)
        self._planned = torch.empty_like(update.planned(0))
        (self._rates,) = update.shaped(self._planned)

    def come(self, indices: Tensor, place: int) -> None:
        """The next call is for these."""
        self._indices.copy_(indices)
        self._planned.copy_(self._update.planned(place))

    def __call__(self) -> None:
        batch = self._train.batch(self._indices.flatten())
        losses, gradients = self._gradients(*_apart(batch, self._indices), [_NO_DRAWS])
        with torch.no_grad():
            self._update.apply(gradients, self._rates)
            self._sums.add_(losses)


def _apart(batch: tuple[Tensor, Tensor], indices: Tensor) -> tuple[Tensor, Tensor]:
    inputs, targets = (part.view(*indices.shape, *part.shape[1:]) for part in batch)
    return inputs, targets
