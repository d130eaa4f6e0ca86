"""The gradient of a batch, in as many micro-batches as it takes."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchfront.errors import WorkloadError
from batchfront.training.generators import Streams
from batchfront.training.memory import MicroBatchSize, release
from batchfront.training.model_call import Computed, LossOfModel
from batchfront.training.prefetch import Prefetch, Request
from batchfront.workload.algorithm import chosen
from batchfront.workload.calling import called
from batchfront.workload.data import Batch, Examples
from batchfront.workload.data_order import DataOrder
from batchfront.workload.execution import Execution
from batchfront.workload.layers import GhostBatchNorm2d
from batchfront.workload.microbatch import MicroBatch, computing
from batchfront.workload.nested import Nested, differentiable
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.seeds import mix
from batchfront.workload.workload import Workload


class Gradient(Protocol):
    """Computes the gradients of a trial's batches."""

    def of(self, step: int, indices: Tensor) -> Tensor | None:
        """Compute the mean loss of the batch of `indices`, whose update is the one after `step`,
        and leave its gradient in the parameters.

        Returns None, and leaves a gradient of 0, if nothing in it counts.
        """

    def prefetch(self, order: DataOrder, first: int, stop: int) -> AbstractContextManager[None]:
        """While the block runs, what the batches of steps `first .. stop - 1` need is loaded
        before it is wanted."""


class PartsSeen(Protocol):
    """Is shown the gradients of a batch's micro-batches while they are added up."""

    def begin(self) -> None:
        """A batch begins, or begins anew."""

    def add(self, examples: int, weight: Tensor | float) -> None:
        """A micro-batch's gradient, so many times as large, has been added in the parameters."""


class BatchGradient:
    """Computes the mean loss of one trial's batches, and leaves its gradient in the parameters.

    Micro-batches of any size give the same gradient up to rounding: those of a batch are weighed by
    what the loss is a mean over, dropout (`batchfront.workload.layers.Dropout`) and augmentation
    draw for an example what they would have drawn in the whole batch, and ghost batch normalization
    is never cut within a group. torch's own dropout draws other numbers in others.

    whole -- why a batch of this workload must go through as a whole, in a clause; None: it need
             not, as far as preflight has found
    norms -- is shown the gradients of micro-batches; None: nothing is
    """

    def __init__(
        self,
        workload: Workload,
        model: nn.Module,
        values: Metaparameters,
        train: Examples,
        micro_batch_size: MicroBatchSize,
        seed: int,
        device: torch.device,
        computed: Computed | None = None,
        whole: str | None = None,
    ) -> None:
        self.workload, self.model, self.train, self.micro_batch_size = (
            workload,
            model,
            train,
            micro_batch_size,
        )
        self.device = device
        self._computed = None if workload.execution == Execution() else computed
        self._values = {} if workload.loss is None else chosen(workload.loss, values)
        self.forward = self.wrapped(model if self._computed is None else self._computed.module)
        self._seed = seed
        # Done again, a batch would count twice in what a model keeps in its buffers.
        self.streams = Streams(device, watching=next(model.buffers(), None) is None)
        self.whole_batches = whole or batch_normalization(model)
        if self.whole_batches:  # it can't be cut: one that found no room says nothing of others
            self.micro_batch_size = MicroBatchSize()
        self.ghosts = [m for m in model.modules() if isinstance(m, GhostBatchNorm2d)]
        self.quantum = math.lcm(*(layer.ghost_size for layer in self.ghosts))
        self._prefetch: Prefetch | None = None
        self.norms: PartsSeen | None = None

    def of(self, step: int, indices: Tensor) -> Tensor | None:
        """Compute the mean loss of the batch of `indices`, whose update is the one after `step`.

        Returns None if nothing in it counts.
        """
        work = partial(self._in_micro_batches, step, indices)
        loss = self.micro_batch_size.fit(len(indices), work, self.undo, self.quantum)
        if self.streams.strayed():
            self.undo()
            loss = self.micro_batch_size.fit(len(indices), work, self.undo, self.quantum)
        for layer in self.ghosts:
            layer.commit()
        return loss

    @contextmanager
    def prefetch(
        self,
        order: DataOrder,
        first: int,
        stop: int,
        share: Callable[[Tensor], Tensor] = lambda indices: indices,
    ) -> Iterator[None]:
        """While the block runs, micro-batches of steps of steps `first .. stop - 1` are loaded
        before they are computed, where loading takes time. Within another such block it does
        nothing.

        share -- what of a batch's indices is computed here
        """
        if not self.train.ahead or first >= stop or self._prefetch is not None:
            yield
            return
        plan = partial(self._requests, copy(order), stop, share)
        self._prefetch = prefetch = Prefetch(self.train, plan)
        try:
            yield
        finally:
            self._prefetch = None
            prefetch.close()

    def _requests(
        self, order: DataOrder, stop: int, share: Callable[[Tensor], Tensor], first: int
    ) -> Iterator[Request]:
        for step, indices in enumerate(order.batches(first, stop), first):
            here, seed = share(indices), mix(self._seed, step)
            size = self.micro_batch_size.size(len(here), self.quantum)
            for part in here.split(max(size, 1)):  # type: ignore[no-untyped-call]
                yield part, seed

    def load(self, part: Tensor, seed: int, step: int) -> Batch:
        """A part of the batch after `step`, which has that seed."""
        if self._prefetch is None:
            found: Batch = self.train.batch(part, seed)
            return found
        return self._prefetch.batch(part, seed, step)

    def _in_micro_batches(self, step: int, indices: Tensor, size: int) -> Tensor | None:
        batch_size, seed = len(indices), self.begin(step)
        if size >= batch_size:
            batch = self.load(indices, seed, step)
            counts = bool(self.weight(batch, batch_size))
            here = MicroBatch(0, batch_size, batch_size, seed)
            loss = self.loss(batch, here, counts=counts)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach() if counts else None
        if self.whole_batches:
            raise self.cannot_split(f"memory is too small for a batch of {batch_size}")
        return self._added_up(step, indices, size, seed)

    def _added_up(self, step: int, indices: Tensor, size: int, seed: int) -> Tensor | None:
        """Each micro-batch's gradient counts as much as what its loss is a mean over."""
        batch_size, weigh = len(indices), self.workload.weight
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)  # of losses, and weights
        if self.norms is not None:
            self.norms.begin()
        for start in range(0, batch_size, size):
            part = indices[start : start + size]
            batch = self.load(part, seed, step)
            weight = self.weight(batch, batch_size)
            here = MicroBatch(start, start + len(part), batch_size, seed)
            loss = self.loss(batch, here, counts=bool(weight))
            (loss * weight).backward()  # type: ignore[no-untyped-call]
            if self.norms is not None:
                self.norms.add(len(part), weight)
            sums[0] += loss.detach() * weight
            sums[1] += weight
            del batch, loss  # before the next takes their place
        if weigh is None:
            return sums[0]
        if not sums[1].item():
            return None
        divide([p.grad for p in self.model.parameters() if p.grad is not None], sums[1])
        return sums[0] / sums[1]

    def begin(self, step: int, start: int = 0) -> int:
        """Seed what is drawn for the batch after `step` from the process's generators, as torch's
        own layers do, from its example `start` on; the seed of what is drawn example by example."""
        seed = mix(self._seed, step)
        self.streams.seed(mix(seed, start) if start else seed)
        return seed

    def wrapped(self, model: nn.Module) -> nn.Module:
        """What `loss` goes through for a model: the model, or what calls it for its loss."""
        loss = self.workload.loss
        if loss is None or not self.workload.loss_takes_model:
            return model
        return LossOfModel(model, loss, self._values)

    def loss(
        self,
        batch: Batch,
        here: MicroBatch,
        forward: Callable[..., Any] | None = None,
        *,
        counts: bool,
    ) -> Tensor:
        """The mean loss of a micro-batch, through the model (`wrapped`) or what is wrapped around
        it. Where nothing `counts`, and the workload's own would often be 0 / 0, it is 0, its
        gradient too."""
        with computing(here):
            outputs = self._through(self.forward if forward is None else forward, batch)
        if not counts:
            nothing = [t.nan_to_num(0.0, 0.0, 0.0).sum() * 0.0 for t in differentiable(outputs)]
            return torch.stack(nothing).sum() if len(nothing) > 1 else nothing[0]
        return self._loss_of(outputs, batch)

    def mean_loss(self, batch: Batch) -> Tensor:
        """The mean loss of examples that are no part of a training step."""
        return self._loss_of(self._through(self.forward, batch), batch)

    def _through(self, forward: Callable[..., Any], batch: Batch) -> Nested:
        computed = self._computed
        if self.workload.loss_takes_model:
            whole = batch.whole
            return forward(whole) if computed is None else computed.compute(forward, whole)
        if computed is not None:
            return computed(batch.inputs, forward)
        return called(self.model, batch.inputs, forward)

    def _loss_of(self, outputs: Nested, batch: Batch) -> Tensor:
        """Of a model that is called for its loss, it is its outputs."""
        loss = self.workload.loss
        assert loss is not None
        if self.workload.loss_takes_model:
            found: Tensor = outputs
            return found
        return loss(outputs, batch.targets, **self._values)

    def weight(self, batch: Batch, batch_size: int) -> Tensor | float:
        """What a micro-batch's mean loss counts in its batch: the sum of the workload's weights, or
        else its part of the batch. 0 where nothing in it counts."""
        weigh = self.workload.weight
        return batch.examples / batch_size if weigh is None else weigh(batch.targets).sum()

    def cannot_split(self, why: str) -> WorkloadError:
        """The error that a batch has to be split and must not be."""
        return WorkloadError(f"{self.workload.name}: {why}, and {self.whole_batches}")

    def undo(self) -> None:
        """Forget the micro-batches of a batch that begins anew."""
        self.model.zero_grad(set_to_none=True)
        for layer in self.ghosts:
            layer.discard()
        release()


def batch_normalization(model: nn.Module) -> str | None:
    """Why the batches of a model that normalizes over them can't be split, in a clause.

    Returns None if it has no such layer.
    """
    if not any(isinstance(m, _BatchNorm) for m in model.modules()):
        return None
    return (
        "batch normalization of whole batches can't be split; use GroupNorm, or "
        "GhostBatchNorm2d, which normalizes over a fixed number of examples"
    )


def divide(gradients: Sequence[Tensor], by: Tensor) -> None:
    """Each, in place, by what the weights of its micro-batches add up to."""
    for gradient in gradients:
        gradient.div_(by)
