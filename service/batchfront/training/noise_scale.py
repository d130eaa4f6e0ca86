"""Gradient noise along a run: tr Σ and |G|² from the parts of its batches.

The gradients of m parts of a batch differ by noise alone. From how much, and from the norm of their
mean, both are estimated without bias (McCandlish et al. 2018, An Empirical Model of Large-Batch
Training, appendix A): of any number of parts here, of any sizes, drawn without replacement.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from math import isfinite

import torch
from torch import Tensor, nn

from batchfront.errors import UsageError
from batchfront.outcomes import Reading
from batchfront.training.averaged_weights import copied, follow_buffers
from batchfront.training.gradient import BatchGradient
from batchfront.training.memory import MicroBatchSize
from batchfront.training.model_call import Computed
from batchfront.training.model_run import ModelRun
from batchfront.workload.data_order import DataOrder, DrawnOrder

PARTS = 8
"""Parts of a batch that isn't computed in micro-batches anyway."""

_BESIDE = "its gradient noise is measured on"

DENSE = 64
"""Of the first so many steps each is read, and of each doubling after that as many."""


def stride(step: int) -> int:
    """The steps from one that is read to the next, around `step`."""
    return 1 << max((step // DENSE).bit_length() - 1, 0)


class PartNorms:
    """Takes the norms of the gradients of a batch's parts while they are added up."""

    def __init__(self, model: nn.Module) -> None:
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self.begin()

    def begin(self) -> None:
        """A batch begins, or begins anew."""
        self._sum: list[Tensor | None] = [None] * len(self._parameters)
        self._parts: list[tuple[int, float, Tensor]] = []

    def add(self, examples: int, weight: Tensor | float) -> None:
        """Take note of a part whose gradient has just been added to that of the parts before.

        weight -- what its mean gradient was multiplied by
        """
        now = [None if p.grad is None else _dense(p.grad).clone() for p in self._parameters]
        pairs = zip(now, self._sum, strict=True)
        own = [new if old is None else new - old for new, old in pairs if new is not None]
        self._parts.append((examples, float(weight), _squared_norm(own)))
        self._sum = now

    def reading(self, step: int, population: int | None) -> Reading | None:
        """What the parts of the batch after `step` updates show; None where fewer than two count.

        population -- the examples of which a batch has no one twice; None: each is drawn anew
        """
        parts = [(n, weight, float(norm)) for n, weight, norm in self._parts if weight > 0]
        if len(parts) < 2:
            return None
        examples = sum(n for n, _, _ in parts)
        whole = sum(weight for _, weight, _ in parts)
        mean = float(_squared_norm([g for g in self._sum if g is not None])) / whole**2
        # Of a part of weight w the mean gradient has the variance v/w, and v is an example's where
        # all of them weigh 1.
        spread = sum(norm / weight for _, weight, norm in parts) - whole * mean
        trace = spread / (len(parts) - 1) * examples / whole
        drawn = 1 / examples - (0 if population is None else 1 / population)
        squared = mean - trace * max(drawn, 0.0)  # of a batch of more than one epoch, near enough
        if not isfinite(trace + squared):
            return None
        return Reading(step, stride(step), len(parts), examples, trace, squared)


class NoiseScale:
    """Takes readings along a run's training, whose steps stay the same to the bit: a `Gradient`.

    Where its batches are computed in micro-batches, these are the parts. Where they aren't, the
    parts are computed beside them at the steps that are read, on a copy of the model.

    readings -- so far, in order
    extra    -- examples that were computed for them alone
    """

    def __init__(self, run: ModelRun) -> None:
        refuse_unreadable(run)
        self._run, self._own = run, run.gradient
        self._copy: nn.Module | None = None
        self._beside: BatchGradient | None = None
        train = run.splits.train
        self._population = None if isinstance(run.order, DrawnOrder) else len(train)
        self.readings: list[Reading] = []
        self.extra = 0
        run.gradient = self

    def of(self, step: int, indices: Tensor) -> Tensor | None:
        """Compute a batch's gradient as the run does, and take a reading where one is due."""
        if not self._due(step, len(indices)):
            return self._own.of(step, indices)
        alone, cut = self._run.alone, self._run.alone.micro_batch_size
        if cut.size(len(indices), alone.quantum) >= len(indices):
            self._read_beside(step, indices)
            return self._own.of(step, indices)
        alone.norms = PartNorms(self._run.model)
        try:
            return self._own.of(step, indices)
        finally:
            self._keep(alone.norms, step)
            alone.norms = None

    def prefetch(self, order: DataOrder, first: int, stop: int) -> AbstractContextManager[None]:
        """As the run's own gradient does."""
        return self._own.prefetch(order, first, stop)

    def _due(self, step: int, examples: int) -> bool:
        """Whether a step is read: once, also where an optimizer asks for its gradient again."""
        read = bool(self.readings) and self.readings[-1].step >= step
        return not read and step % stride(step) == 0 and examples >= 2 * self._run.alone.quantum

    def _read_beside(self, step: int, indices: Tensor) -> None:
        """First, as the run's own computation seeds whatever it draws from."""
        if self._copy is None:
            self._copy = copied(self._run.workload, self._run.model, _BESIDE).train()
            self._beside = _gradient_beside(self._run, self._copy)
        beside, quantum = self._beside, self._run.alone.quantum
        assert beside is not None
        _follow(self._copy, self._run.model)
        size = max(-(-len(indices) // PARTS), 1)
        beside.micro_batch_size.limit = -(-size // quantum) * quantum
        beside.norms = PartNorms(self._copy)
        beside.of(step, indices)
        self._keep(beside.norms, step)
        self.extra += len(indices)
        self._copy.zero_grad()

    def _keep(self, norms: PartNorms, step: int) -> None:
        found = norms.reading(step, self._population)
        if found is not None:
            self.readings.append(found)


def refuse_unreadable(run: ModelRun) -> None:
    """Raise UsageError where the parts of a run's batches have no gradients of their own."""
    name = run.workload.name
    if run.workload.update is not None:
        raise UsageError(
            f"{name}: its update= computes its gradients itself, so their noise isn't seen; the "
            "noise scale is measured of a workload with loss="
        )
    if run.alone.whole_batches:
        raise UsageError(
            f"{name}: gradient noise is measured between parts of a batch, and "
            f"{run.alone.whole_batches}"
        )
    if run.batch_size < 2 * run.alone.quantum:
        least = 2 * run.alone.quantum
        raise UsageError(
            f"{name}: a batch of {run.batch_size} has no two parts to compare; say --batch-size "
            f"{least} or more"
        )


def _gradient_beside(run: ModelRun, model: nn.Module) -> BatchGradient:
    computed = Computed(model, run.workload.execution, run.device)
    given = (run.values, run.splits.train, MicroBatchSize(), run.dropout_seed, run.device)
    return BatchGradient(run.workload, model, *given, computed)


@torch.no_grad()
def _follow(copy: nn.Module, model: nn.Module) -> None:
    """Give a copy the weights and buffers that the model has now."""
    for own, source in zip(copy.parameters(), model.parameters(), strict=True):
        own.copy_(source)
    follow_buffers(copy, model)


def _dense(gradient: Tensor) -> Tensor:
    return gradient.to_dense() if gradient.is_sparse else gradient.detach()


def _squared_norm(gradients: Sequence[Tensor]) -> Tensor:
    norms = [torch.linalg.vector_norm(g).double() for g in gradients]
    return torch.stack(norms).square().sum() if norms else torch.zeros((), dtype=torch.float64)
