"""Trials whose weights lie in one tensor each, and which are trained by one computation a step."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from threading import Event
from time import perf_counter
from typing import cast

import torch
from torch import Tensor

from batchfront.training.engines import Failed, attempt
from batchfront.training.evaluation import OpenEvaluation
from batchfront.training.generators import Silence
from batchfront.training.model_run import ModelRun
from batchfront.training.run import GoalCheck
from batchfront.training.training_step import clip_norm
from batchfront.training.vectorized.averages import Averages
from batchfront.training.vectorized.batches import gathered, of_each
from batchfront.training.vectorized.clipping import Clipping
from batchfront.training.vectorized.cuda_graphs import AFTER, Graphed, may_be_graphed
from batchfront.training.vectorized.forward import Layered, forward_of, is_layered, kind_of
from batchfront.training.vectorized.gradients import ByAutograd, Gradients, Written, is_written
from batchfront.training.vectorized.losses import Losses
from batchfront.training.vectorized.mapped import MappedLoss
from batchfront.training.vectorized.static_gradients import StaticGradients, is_static
from batchfront.training.vectorized.torch_updates import is_written_out, torch_update
from batchfront.training.vectorized.updates import OneByOne, SGDUpdate, Update, stacked
from batchfront.workload.algorithm import chosen
from batchfront.workload.data import Batch, Examples, is_in_memory
from batchfront.workload.layers import Dropout
from batchfront.workload.lr_schedule import Constant
from batchfront.workload.metrics import (
    ACCURACY,
    CROSS_ENTROPY,
    ERROR_RATE,
    MEAN_SQUARED_ERROR,
    TOKEN_CROSS_ENTROPY,
    Metric,
    numbers_of,
)
from batchfront.workload.microbatch import MicroBatch
from batchfront.workload.nested import map_tensors
from batchfront.workload.optimizers import SGDOptimizer
from batchfront.workload.seeds import mix

_BLOCK = 64  # steps whose examples and learning rates are looked up at once

_NO_DRAWS = MicroBatch(0, 0, 0, 0)  # in training, where nothing is drawn

_BY_EXAMPLE = [
    m.per_example
    for m in (ERROR_RATE, ACCURACY, CROSS_ENTROPY, MEAN_SQUARED_ERROR, TOKEN_CROSS_ENTROPY)
]  # of which it is known that they are, so that those of several trials are computed at once


class Stack:
    """K runs of one study whose models are of one kind (`kind_of`).

    Weights, velocities and loss sums lie in tensors [K, ...]; each run's own are rows of them, so
    that whatever is done with a run by itself is done here, and the other way round. Between two
    steps a run is what it would be alone: it may be saved, evaluated, or advanced by itself.

    A step is the same function of tensors of the same shapes every time, that never reads their
    values: indices [K, batch size], learning rates [K].
    """

    def __init__(self, runs: Sequence[ModelRun]) -> None:
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
        self.own_loss: MappedLoss | None = None
        self._update = self._updates()
        self._static: StaticGradients | None = None  # of which no step calls what draws
        self._backward = self._gradients(plain=isinstance(self._update, OneByOne))
        norms = [clip_norm(run.workload, run.values) for run in runs]
        self._clipping = Clipping(norms, self._trained[0]) if any(norms) else None
        # The last step's: kept so long that the next find their memory as it is, not new.
        self.gradients: Sequence[Tensor | None] = ()
        averaged = [run.average for run in runs if run.average is not None]
        self._averages = Averages(averaged, self.weights) if averaged else None
        self._silence = Silence(first.device)
        self._from: list[int] = []  # each run's step from which on indices and rates are known
        self._place = 0  # steps since then
        self._indices: tuple[Tensor, ...] = ()
        self._counting: list[bool] = []  # whether each trial's batch has something that counts
        self._done = 0
        self._captured: _Static
        self._graphed: Graphed | None = None

    def _updates(self) -> Update:
        """What updates the weights: all trials' at once, where that is written out."""
        if all(type(run.optimizer) is SGDOptimizer for run in self.runs):
            return SGDUpdate(self._trained, self.runs)
        if is_written_out(self.runs):
            return torch_update(self._trained, self.runs)
        return OneByOne(self.runs)

    def _gradients(self, *, plain: bool) -> Gradients:
        """What computes them; `plain`, so that whatever comes next may change them in place."""
        workload, weights, forward = self._first.workload, self.weights, self.forward
        values = [run.loss_values for run in self.runs]
        assert workload.loss is not None
        if workload.loss_takes_model:
            models = [run.model for run in self.runs]
            self.own_loss = MappedLoss(models, workload.loss, values[0])
            return ByAutograd(partial(self.own_loss, weights), self._trained)
        losses = Losses(workload.loss, values, self._first.device)
        if isinstance(forward, Layered) and is_written(forward, weights):
            train = self._first.splits.train
            # An optimizer of one's own may keep a gradient, or change it.
            if not plain and losses.unsmoothed and is_static(forward, weights, train):
                shape = torch.Size((len(self.runs), self._first.batch_size))
                self._static = StaticGradients(forward, weights, train, shape)
            return Written(forward, weights, losses, plain=plain)

        def of_outputs(batch: Batch, micro_batches: Sequence[MicroBatch]) -> Tensor:
            return losses(forward(weights, batch.inputs, micro_batches), batch.targets)

        return ByAutograd(of_outputs, self._trained)

    def advance(self, to_steps: Sequence[int], stop: Event) -> list[bool | Failed]:
        """Train each until its own `to_steps` updates are done.

        Returns False of those that `stop`, once set, has kept from it.

        Those with more to do than another come up by themselves, and the rest is done together.
        What it raises, it raises before the step's update: the runs are whole, and may go on by
        themselves. Where an update fails, that is the trial's own failure, and the others end
        with the same step, short of what they were to do: this stack is then of no more use.
        """
        steps = max(0, min(to - run.step for run, to in zip(self.runs, to_steps, strict=True)))
        failed: dict[int, Failed] = {}
        for row, (run, to) in enumerate(zip(self.runs, to_steps, strict=True)):
            if to - run.step > steps:
                there = attempt(partial(run.advance, to - steps, stop))
                if isinstance(there, Failed):
                    failed[row] = there
                elif not there:
                    break
        self._find_place()
        while steps and not failed:
            compute = self._together if self._all_count() else self._apart
            done, failed = compute(steps, stop)
            steps = steps - done if done else 0
        ends = zip(self.runs, to_steps, strict=True)
        return [failed.get(row, run.step >= to) for row, (run, to) in enumerate(ends)]

    def _find_place(self) -> None:
        """Where the runs are in what has been looked up: they may have moved by themselves."""
        steps = [run.step for run in self.runs]
        places = {step - first for step, first in zip(steps, self._from, strict=False)}
        self._place = places.pop() if len(places) == 1 else -1
        if not 0 <= self._place < _BLOCK:
            self._look_up(steps)

    def _all_count(self) -> bool:
        """Whether each trial's next batch has something that counts in its loss."""
        if self._place == _BLOCK:
            self._look_up([first + _BLOCK for first in self._from])
        weigh = self._first.workload.weight
        if weigh is None or self._counting:
            return weigh is None or self._counting[self._place]
        targets = of_each(self._load(self._place).targets, len(self.runs))
        return all(bool(weigh(own).any()) for own in targets)

    def _together(self, steps: int, stop: Event) -> tuple[int, dict[int, Failed]]:
        """Train for up to so many steps, the first of which is one that all count in: how many were
        done, and whose update, by row, failed in the last of them."""
        self._silence.begin()
        self._update.begin()
        began, done = perf_counter(), 0
        failed: dict[int, Failed] = {}
        try:
            while done < steps and not failed and not stop.is_set():
                if done and not self._all_count():
                    break
                failed = self._step()
                done += 1
        finally:
            self._update.end()
            seconds = (perf_counter() - began) / len(self.runs)
            for row, run in enumerate(self.runs):
                trained = done - (row in failed)
                run.step += trained
                run.loss_steps += trained
                run.cost.training_seconds += seconds
                if trained:
                    run.engines.add("vectorized")
        return done, failed

    def _apart(self, _steps: int, stop: Event) -> tuple[int, dict[int, Failed]]:
        """The same for one step, one trial after another."""
        if stop.is_set():
            return 0, {}
        there = [attempt(partial(run.advance, run.step + 1)) for run in self.runs]
        self._place += 1
        return 1, {row: one for row, one in enumerate(there) if isinstance(one, Failed)}

    def _step(self) -> dict[int, Failed]:
        """Train all for a step, but for those, by row, whose update fails."""
        place, failed = self._place, {}
        if self._graphed is not None:
            self._captured.come(self._indices[place], place)
            self._graphed()
        else:
            losses, gradients = self._computed(place)
            if self._clipping is not None:
                gradients = self._clipping(gradients)
            failed = self._update(gradients, place)
            for row, own in enumerate(losses.unbind()) if failed else ():
                if row not in failed:
                    self._sums[row].add_(own)
            if not failed:
                self._sums.add_(losses)
            if self._averages is not None:
                self._averages.update(place)
            self.gradients = gradients
            self._done += 1
            if self._done == AFTER:
                self._graph()
        self._place += 1
        return failed

    def _computed(self, place: int) -> tuple[Tensor, Sequence[Tensor | None]]:
        """The losses and gradients of a step, for which nothing has been drawn."""
        if self._static is not None:
            return self._static(place)
        found = self._backward(self._load(place), self._micro_batches(place))
        self._silence.check()
        return found

    def _graph(self) -> None:
        """From now on steps are replayed as a graph, if theirs is one that can be."""
        train, update = self._first.splits.train, self._update
        if self._dropout or self._averages is not None or not isinstance(update, SGDUpdate):
            return
        if may_be_graphed(self._first.device, train):
            self._captured = _Static(
                train, self._backward, self._clipping, update, self._sums, self._indices[0]
            )
            self._graphed = Graphed(self._captured, [*self._trained, *update.state, self._sums])

    def _look_up(self, steps: list[int]) -> None:
        """The examples and learning rates of the next steps from these on, one of each run."""
        own = list(zip(self.runs, steps, strict=True))
        orders = [run.order.stretch(step, step + _BLOCK) for run, step in own]
        indices = torch.stack(orders, dim=1)
        self._indices = indices.unbind()
        if self._static is not None:
            self._static.plan(indices)
        if type(self._first.schedule) is Constant:
            rates = [[run.learning_rate for run in self.runs]] * _BLOCK
        else:
            last = self._first.workload.steps_allowed(self._first.batch_size) - 1
            rates = [
                [
                    # Past the step budget, where no step is taken, there may be no rate.
                    run.schedule.learning_rate_at(max(min(step + i, last), step), run.values)
                    for run, step in own
                ]
                for i in range(_BLOCK)
            ]
        self._update.plan(rates)
        if self._averages is not None:
            self._averages.plan(steps, _BLOCK)
        train, weigh = self._first.splits.train, self._first.workload.weight
        if weigh is not None and is_in_memory(train):
            weights = train.weights(weigh)
            batches = weights[torch.stack(self._indices).to(weights.device)]
            self._counting = (batches > 0).any(-1).all(-1).tolist()
        self._from, self._place = steps, 0

    def _micro_batches(self, place: int) -> list[MicroBatch]:
        if not self._dropout:
            return [_NO_DRAWS]
        size = self._first.batch_size
        return [MicroBatch(0, size, size, seed) for seed in self._seeds(place)]

    def _seeds(self, place: int) -> list[int]:
        own = zip(self.runs, self._from, strict=True)
        return [mix(run.dropout_seed, first + place) for run, first in own]

    def _load(self, place: int) -> Batch:
        """Of all trials, in tensors [K, n, ...]."""
        train, indices = self._first.splits.train, self._indices[place]
        seeds = [] if is_in_memory(train) else self._seeds(place)
        return gathered(train, indices, seeds)

    @torch.inference_mode()
    def evaluate(self, rows: Sequence[int], *, full: bool) -> list[GoalCheck | Failed]:
        """Evaluate these of the runs on the validation split, each as its own evaluator would.

        What a measure of one run raises when all is evaluated is that run's own failure.
        """
        began = perf_counter()
        runs = [self.runs[row] for row in rows]
        evaluations = [run.evaluator.begin(full=full) for run in runs]
        going, before = list(range(len(runs))), -1
        self._silence.begin()
        weights: dict[str, Tensor] = {}
        whole = self._evaluated()
        while going:
            if len(going) != before:
                weights, before = self._of([rows[i] for i in going], whole), len(going)
            self._evaluate_chunk([evaluations[i] for i in going], weights)
            going = [i for i in going if evaluations[i].going]
        measured = [attempt(one.measured) for one in evaluations]
        self._silence.check()
        found: list[GoalCheck | Failed] = []
        for run, evaluation, beside in zip(runs, evaluations, measured, strict=True):
            check = run.evaluator.end(evaluation)
            if not isinstance(beside, Failed):
                found.append(attempt(partial(run.at_crossing, replace(check, measures=beside))))
            else:
                found.append(beside)
        seconds = (perf_counter() - began) / len(runs)
        for run, one in zip(runs, found, strict=True):
            if not isinstance(one, Failed):
                run.record(one, seconds, full=full)
        return found

    def _of(self, rows: Sequence[int], whole: dict[str, Tensor]) -> dict[str, Tensor]:
        if len(rows) == len(self.runs):
            return whole
        chosen_rows = torch.tensor(rows, device=self._sums.device)
        return {name: w.index_select(0, chosen_rows) for name, w in whole.items()}

    def _evaluated(self) -> dict[str, Tensor]:
        """What evaluations are of. Of averages, the buffers are copies: what an evaluation makes of
        them is forgotten."""
        if self._averages is None:
            return self.weights
        averages = self._averages.whole
        return {
            name: averages[name] if name in averages else w.clone()
            for name, w in self.weights.items()
        }

    def _evaluate_chunk(
        self, evaluations: Sequence[OpenEvaluation], weights: dict[str, Tensor]
    ) -> None:
        """Take evaluations that have come equally far on by a chunk."""
        evaluator = self._first.evaluator
        indices = torch.stack([evaluation.next() for evaluation in evaluations])
        batch = gathered(evaluator.split, indices, [None] * len(evaluations))
        outputs, targets = self.forward(weights, batch.inputs, ()), batch.targets
        metric = cast(Metric, evaluator.goal.metric)
        plain = isinstance(outputs, Tensor) and isinstance(targets, Tensor)
        if plain and metric.per_example in _BY_EXAMPLE:
            costs = numbers_of(metric, outputs.flatten(0, 1), targets.flatten(0, 1))
        else:
            trials, examples = indices.shape
            each = zip(of_each(outputs, trials), of_each(targets, trials), strict=True)
            costs = torch.stack([numbers_of(metric, *one, examples) for one in each])
        costs = evaluator.counted(costs.view(indices.shape).to(indices.device), indices)
        totals = costs.sum(1, dtype=torch.float64).tolist()
        for row, (evaluation, own, total) in enumerate(
            zip(evaluations, costs.unbind(), totals, strict=True)
        ):
            if evaluation.measures is not None:
                at = itemgetter(row)
                parts = evaluation.measures.parts(map_tensors(at, outputs), batch.map(at))
                evaluation.measures.add(parts, indices[row])
            evaluation.add(own, total)


def kind_of_run(run: ModelRun) -> str:
    """What runs have in common that can be stacked: see `kind_of`."""
    workload = run.workload
    values = chosen(workload.model, run.values)
    if not workload.loss_takes_model:
        return kind_of(run.model, values, layered=is_layered(run.model))
    # Such a loss is called once for all, with the values and the layers of one of them.
    return kind_of(run.model, {**values, **run.loss_values}, layered=False)


class _Static:
    """A step whose examples and learning rates are read from tensors that stay where they are."""

    def __init__(
        self,
        train: Examples,
        gradients: Gradients,
        clipping: Clipping | None,
        update: SGDUpdate,
        sums: Tensor,
        indices: Tensor,
    ) -> None:
        self._train, self._gradients, self._update, self._sums = train, gradients, update, sums
        self._clipping = clipping
        self._indices = torch.empty_like(indices)
        self._planned = torch.empty_like(update.planned(0))
        (self._rates,) = update.shaped(self._planned)

    def come(self, indices: Tensor, place: int) -> None:
        """The next call is for these."""
        self._indices.copy_(indices)
        self._planned.copy_(self._update.planned(place))

    def __call__(self) -> None:
        batch = gathered(self._train, self._indices, ())
        losses, gradients = self._gradients(batch, [_NO_DRAWS])
        if self._clipping is not None:
            gradients = self._clipping(gradients)
        self._update.apply(gradients, self._rates)
        self._sums.add_(losses)
