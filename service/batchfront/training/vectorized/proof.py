"""That both engines do the same with trials of one kind: a few real steps of each, compared.

Two trials of different seeds are trained on real batches and evaluated, one after another and as
one. Gradients, losses, weights, buffers, the optimizers' state and each example's cost have to
agree to rounding: of a plain network they do to 2e-8, and of whatever is not one model's own work
they differ by 1e-3 and more. What can change the result of a later step alone is watched for in
the trials that run by themselves: attributes and buffers that are written to, numbers that are
drawn, hooks that are set while the model computes.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import Event
from typing import Any

import torch
from torch import Tensor

from batchfront.training.evaluation import Evaluator, OpenEvaluation
from batchfront.training.generators import drawn_since, states
from batchfront.training.model_run import ModelRun
from batchfront.training.run import GoalCheck
from batchfront.training.vectorized.holdings import Holdings, sharing
from batchfront.training.vectorized.stack import Stack, kind_of_run
from batchfront.training.vectorized.watching import Kept, Stacked, Watched
from batchfront.workload.calling import called
from batchfront.workload.data import Examples, Part, is_in_memory
from batchfront.workload.lr_schedule import Constant
from batchfront.workload.metrics import SplitMetric
from batchfront.workload.optimizers import Optimizer

_SEEDS = (1, 2)

_STEPS = 3

_TRIES = 40  # steps for these, where there are batches in which nothing counts

_EXAMPLES = 48  # that are evaluated: a chunk, and a part of one

_RATE = 1e-2  # at most: what rounding does in the first step, the next ones shall not magnify

_CLOSE = 1e-3  # of the largest number of a tensor

_NOISE = 1e-6  # of the largest of all gradients: rounding, where the true one is 0

_UNSTEADY = 1e-2  # of a gradient: what an optimizer may divide by itself is then no measure

_NEVER = Event()


def difference(first: ModelRun, last: ModelRun) -> str | None:
    """What trials like these two would differ in if they were computed as one, in a clause for a
    person; None if that is nothing but rounding. The runs themselves are left as they are."""
    with _full_precision():
        alone, together = ([_like(r, s) for r, s in _pairs(first, last)] for _ in range(2))
        return (
            _of_making(alone, together)
            or _of_schedule(first)
            or _of_batches(first.splits.train)
            or _of_batches(first.splits.validation)
            or _of_steps(alone, together)
            or _of_evaluation(alone, together)
        )


def _pairs(first: ModelRun, last: ModelRun) -> Iterator[tuple[ModelRun, int]]:
    yield from zip((first, last), _SEEDS, strict=True)


def _like(run: ModelRun, seed: int) -> ModelRun:
    """A fresh run of the same trial, at a constant and moderate learning rate."""
    workload = replace(run.workload, schedule=Constant())
    values = {**run.values, "learning_rate": min(float(run.values["learning_rate"]), _RATE)}
    made = ModelRun(
        workload, run.splits, run.batch_size, values, seed, run.device, run.micro_batches
    )
    made.evaluator = _Recorded(made)
    return made


@contextmanager
def _full_precision() -> Iterator[None]:
    """On a GPU, numbers may else be rounded to 10 bits, by each engine in its own way."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _of_making(alone: Sequence[ModelRun], together: Sequence[ModelRun]) -> str | None:
    """Two models of one seed are the same, and of two seeds but for parameters and buffers."""
    one, again = alone[0].model, together[0].model
    held = [Holdings({"model": run.model}) for run in (*alone, together[0])]
    other = held[0].difference(held[2])
    if other is not None or kind_of_run(alone[0]) != kind_of_run(together[0]):
        return f"its models are not made from the seed alone ({other or 'their shapes'})"
    for name, tensor in one.state_dict().items():
        if isinstance(tensor, Tensor) and not _same(tensor, again.state_dict()[name]):
            return f"its models are not made from the seed alone ({name})"
    own = held[0].difference(held[1])
    if own is not None or kind_of_run(alone[0]) != kind_of_run(alone[1]):
        return f"its trials have more than weights of their own ({own or 'other shapes'})"
    parameters = [p for run in alone for p in run.model.parameters()]
    if len({id(p) for p in parameters}) < len(parameters):
        return "its trials share parameters"
    return None


def _of_schedule(run: ModelRun) -> str | None:
    """A rate depends on the step and the trial alone: a stack looks them up ahead."""
    schedule = run.workload.schedule
    before = Holdings({"schedule": schedule}, shared=True)
    rates = [run.schedule.learning_rate_at(0, run.values) for _ in range(2)]
    changed = before.difference(Holdings({"schedule": schedule}, shared=True))
    return "its schedule changes from call to call" if changed or rates[0] != rates[1] else None


def _of_batches(examples: Examples) -> str | None:
    """Batches of one size have one shape, whatever is in them."""
    if is_in_memory(examples):
        return None
    some = torch.arange(min(_EXAMPLES, len(examples)), device=examples.indexed_on)
    batch = examples.batch(some, 1)
    for part in some.split(1):  # type: ignore[no-untyped-call]
        if examples.batch(part, 1).shapes != batch.shapes:
            return "the shape of an example depends on what it is gathered with"
    return None


def _of_steps(alone: Sequence[ModelRun], together: Sequence[ModelRun]) -> str | None:
    watches = [Watched(run) for run in alone]
    starts = [_weights(run) for run in alone]
    unsteady = [
        {name: torch.zeros_like(w, dtype=torch.bool) for name, w in s.items()} for s in starts
    ]
    order = list(range(len(together)))
    stack = Stack(together)
    stacked = Stacked(stack)
    compared = 0
    for step in range(1, _TRIES + 1):
        for watch in watches:
            if (why := watch.trained(step)) is not None:
                return why
        if compared == _STEPS - 1:  # as where trials end, and those that are left are stacked anew
            order.reverse()
            stack = Stack([together[k] for k in order])
            stacked = Stacked(stack)
        before = stack.gradients
        with stacked:
            results = stack.advance([step] * len(together), _NEVER)
        for found in results:
            if found is not True:
                raise RuntimeError(getattr(found, "reason", "it stopped"))
        if (why := stacked.otherwise(watches[order[0]])) is not None:
            return why
        if stack.gradients is before:  # in some trial's batch, nothing counts
            continue
        for row, k in enumerate(order):
            why = _of_gradients(watches[k].gradients, stack, row, unsteady[k])
            if why is None and not _close(together[k].loss_sum, alone[k].loss_sum, 1e-6):
                why = "its training losses are others when it is stacked"
            if why is not None:
                return why
        compared += 1
        if compared == _STEPS:
            break
    else:
        return f"in its first {_TRIES} batches, next to nothing counts"
    for k, watch in enumerate(watches):
        why = watch.changed() or _of_state(alone[k], together[k], starts[k], unsteady[k], watch)
        if why is not None:
            return why
    return None


def _of_gradients(
    wanted: Mapping[str, Tensor | None], stack: Stack, row: int, unsteady: Mapping[str, Tensor]
) -> str | None:
    largest = max(
        (g.abs().max().item() for g in wanted.values() if g is not None and g.numel()), default=0.0
    )
    for (name, true), whole in zip(wanted.items(), stack.gradients, strict=True):
        if (true is None) != (whole is None):
            return f"the loss doesn't use {name} in one trial, and does in another"
        if true is None or whole is None:
            continue
        found = whole[row]
        if not _close(found, true, _NOISE * largest):
            return f"its gradients are others when it is stacked ({name})"
        unsteady[name].logical_or_((found - true).abs() > _UNSTEADY * true.abs())
    return None


def _of_state(
    alone: ModelRun,
    together: ModelRun,
    start: Mapping[str, Tensor],
    unsteady: Mapping[str, Tensor],
    watch: "Watched",
) -> str | None:
    """Weights by how they have moved, and all other state as it is."""
    found, true = _weights(together), _weights(alone)
    for name, before in start.items():
        steady = ~unsteady[name]
        moved, right = ((after[name] - before)[steady] for after in (found, true))
        if not _close(moved, right, 8 * torch.finfo(before.dtype).eps * _largest(before)):
            return f"its weights are others when it is stacked ({name})"
    if together.average is not None and alone.average is not None:
        averages = zip(together.average.weights, alone.average.weights, strict=True)
        if not all(_close(one, other, 0.0) for one, other in averages):
            return "the average of its weights is another when it is stacked"
    frozen = [dict(run.model.named_buffers()) for run in (together, alone)]
    for run, own in zip((together, alone), frozen, strict=True):
        own |= {n: p for n, p in run.model.named_parameters() if not p.requires_grad}
    for name, there in frozen[1].items():
        if not _same(frozen[0][name], there):
            return f"its training changes {name}"
    if (why := _of_memory(alone, watch.optimizer)) is not None:
        return why
    pairs = zip(
        _tensors(together.optimizer.state()), _tensors(watch.optimizer.state()), strict=True
    )
    floor = max((_largest(g) for g in watch.gradients.values() if g is not None), default=0.0)
    if not all(_close(one, other, 1e-4 * floor) for one, other in pairs):
        return "its optimizer's state is another when it is stacked"
    return None


def _of_memory(run: ModelRun, optimizer: Optimizer) -> str | None:
    """A stack gives parameters other memory."""
    own = dict(run.model.named_parameters())
    held = Holdings({"optimizer": optimizer}, shared=True).tensors
    parameters = {id(p) for p in own.values()}
    others = {
        path: t for path, t in held.items() if id(t) not in parameters and t.layout is torch.strided
    }
    shared = sharing({**own, **others}, own)
    return None if shared is None else f"{' and '.join(shared)} share memory"


def _of_evaluation(alone: Sequence[ModelRun], together: Sequence[ModelRun]) -> str | None:
    metric = alone[0].workload.goal.computed
    if isinstance(metric, SplitMetric):
        return None  # which is never evaluated together
    for one, other in zip(alone, together, strict=True):
        _copy(one, other)
    for last in (alone[-1], together[-1]):  # each trial takes examples in an order of its own
        last.evaluator.order = last.evaluator.order.flip(0)
    before = [Kept(run) for run in alone]
    split = alone[0].evaluator.split
    with torch.inference_mode():
        batch = split.batch(torch.arange(len(split), device=split.indexed_on))
        undrawn = states(alone[0].device)
        metric.per_example(called(alone[0].evaluated.eval(), batch.inputs), batch.targets)
        if drawn_since(undrawn, alone[0].device):
            return "its evaluation draws from generators that all trials share"
    seen: list[GoalCheck] = [run.evaluate(full=True) for run in alone]
    for kept in before:
        if (path := kept.changed()) is not None:
            return f"its evaluation changes {path}"
    stack = Stack(together)
    stacked = Stacked(stack)
    with stacked:
        found = stack.evaluate(range(len(together)), full=True)
    if stacked.failed is not None:
        return stacked.failed
    looked = [one.examples for one in found if isinstance(one, GoalCheck)]
    if looked != [one.examples for one in seen]:
        return "its evaluation is another when it is stacked"
    for one, other in zip(alone, together, strict=True):
        costs = [run.evaluator.costs for run in (other, one)]  # type: ignore[attr-defined]
        apart = (costs[0] - costs[1]).abs() > _CLOSE * _largest(costs[1])
        if apart.sum().item() > 1:  # one may stand on the edge
            return "its evaluation is another when it is stacked"
    return None


class _Recorded(Evaluator):
    """Evaluates a few examples, and keeps their costs."""

    def __init__(self, run: ModelRun) -> None:
        split = run.splits.validation
        few = torch.arange(min(_EXAMPLES, len(split)), device=split.indexed_on)
        super().__init__(Part(split, few), run.workload.goal, run.micro_batches.evaluation)
        self.costs = torch.empty(0)

    def end(self, evaluation: OpenEvaluation) -> GoalCheck:
        self.costs = torch.cat(evaluation.costs).double()
        return super().end(evaluation)


def _weights(run: ModelRun) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in run.model.named_parameters() if p.requires_grad}


@torch.no_grad()
def _copy(source: ModelRun, target: ModelRun) -> None:
    """Give a model another's weights, so that rounding in training is no matter."""
    pairs = [(source.model, target.model)]
    if source.average is not None and target.average is not None:
        pairs.append((source.average.module, target.average.module))
    for one, other in pairs:
        given = dict(one.named_parameters())
        for name, parameter in other.named_parameters():
            parameter.copy_(given[name])


def _tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, Mapping):
        for part in state.values():
            yield from _tensors(part)
    elif isinstance(state, list | tuple):
        for part in state:
            yield from _tensors(part)


def _largest(tensor: Tensor) -> float:
    return float(tensor.detach().abs().max().item()) if tensor.numel() else 0.0


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def _close(found: Tensor, wanted: Tensor, floor: float) -> bool:
    if found.shape != wanted.shape:
        return False
    allowed = floor + _CLOSE * _largest(wanted)
    return torch.allclose(found.detach(), wanted.detach(), rtol=0, atol=allowed, equal_nan=True)
