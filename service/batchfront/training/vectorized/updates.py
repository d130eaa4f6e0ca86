"""Updates of the weights of K trials, each by its own learning rate and momentum."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeVar, cast

import torch
from torch import Tensor

from batchfront.training.engines import Failed, attempt
from batchfront.training.model_run import ModelRun
from batchfront.workload.optimizers import SGDOptimizer

T = TypeVar("T")


class Update(Protocol):
    """Updates the weights of all trials, step after step, as each trial's own optimizer would."""

    def plan(self, rates: Sequence[Sequence[float]]) -> None:
        """The learning rates of the next steps, [steps, K]."""

    def begin(self) -> None:
        """Steps are about to be made: meanwhile, trials may have been trained by themselves."""

    def __call__(self, gradients: Sequence[Tensor | None], place: int) -> dict[int, Failed]:
        """Make the step at a place among the planned ones, by a gradient of each weight, or none.
        Returns the failures of those, by row, whose update raised; the others have made theirs."""

    def end(self) -> None:
        """Steps have been made: trials may be trained by themselves, or saved."""


class Rates(NamedTuple):
    """What a step's gradients, or velocities, are multiplied by: of each weight, [K, 1...].

    further -- with Nesterov, what the velocities are
    """

    down: list[Tensor]
    further: list[Tensor]


class SGDUpdate:
    """v <- m v + g, w <- w - lr v (or with Nesterov w <- w - lr (g + m v)), of all trials at once,
    each with its own rate, momentum and weight decay."""

    def __init__(self, weights: list[Tensor], runs: Sequence[ModelRun]) -> None:
        optimizers = [cast(SGDOptimizer, run.optimizer) for run in runs]
        self._weights, self._nesterov = weights, optimizers[0].nesterov
        momenta = [o.momentum for o in optimizers]
        decays = [o.weight_decay for o in optimizers]
        self._momenta = self._spread(momenta) if any(momenta) else None
        self._decays = self._spread(decays) if any(decays) else None
        self._momentum = momenta
        self._velocities: list[Tensor] = []
        self._planned = torch.empty(0)
        self._rates: list[Rates] = []
        if self._momenta is not None:
            for index in range(len(weights)):
                rows = [
                    o.velocities[index] if o.velocities else torch.zeros_like(o.parameters[index])
                    for o in optimizers
                ]
                velocity = stacked(rows)
                for optimizer, view in zip(optimizers, velocity.unbind(), strict=True):
                    if optimizer.velocities:
                        optimizer.velocities[index] = view
                self._velocities.append(velocity)

    def _spread(self, values: Sequence[float]) -> list[Tensor]:
        """One number a trial, for each weight in a shape that it is multiplied by it in."""
        weights = self._weights
        own = torch.tensor(values, dtype=weights[0].dtype, device=weights[0].device)
        return [own.view(-1, *[1] * (w.ndim - 1)) for w in weights]

    @property
    def state(self) -> list[Tensor]:
        """What is changed, other than the weights."""
        return self._velocities

    def plan(self, rates: Sequence[Sequence[float]]) -> None:
        """The learning rates of the next steps, [steps, K]."""
        first = self._weights[0]
        down = -torch.tensor(rates, dtype=torch.float64)
        both = torch.stack([down, down * torch.tensor(self._momentum, dtype=torch.float64)])
        self._planned = both.to(first.device, first.dtype)
        self._rates = self.shaped(self._planned)

    def shaped(self, planned: Tensor) -> list[Rates]:
        """Numbers [2, steps, K] by step, in the shapes that weights are multiplied by."""
        by_weight = [planned.view(*planned.shape, *[1] * (w.ndim - 1)) for w in self._weights]
        down = zip(*(numbers[0].unbind() for numbers in by_weight), strict=True)
        if not self._nesterov:
            return [Rates(list(own), []) for own in down]
        further = zip(*(numbers[1].unbind() for numbers in by_weight), strict=True)
        return [Rates(list(own), list(more)) for own, more in zip(down, further, strict=True)]

    def planned(self, place: int) -> Tensor:
        """The numbers of a step, [2, 1, K]."""
        return self._planned[:, place : place + 1]

    def begin(self) -> None:
        """There is nothing to be done: velocities are where the trials' own optimizers are."""

    end = begin

    def __call__(self, gradients: Sequence[Tensor | None], place: int) -> dict[int, Failed]:
        self.apply(gradients, self._rates[place])
        return {}

    @torch.no_grad()
    def apply(self, gradients: Sequence[Tensor | None], rates: Rates) -> None:
        """Update the weights, but for those without a gradient."""
        used = [place for place, gradient in enumerate(gradients) if gradient is not None]
        whole = len(used) == len(gradients)

        def of(values: list[T]) -> list[T]:
            return values if whole else [values[place] for place in used]

        weights, moved = of(self._weights), of(cast(list[Tensor], gradients))
        if self._decays is not None:
            moved = list(torch._foreach_addcmul(moved, weights, of(self._decays)))
        if self._momenta is not None:
            velocities, momenta = of(self._velocities), of(self._momenta)
            # One pass over memory, where a product and a sum are two.
            for velocity, gradient, momentum in zip(velocities, moved, momenta, strict=True):
                torch.addcmul(gradient, velocity, momentum, out=velocity)
            if self._nesterov:
                torch._foreach_addcmul_(weights, moved, of(rates.down))
                torch._foreach_addcmul_(weights, velocities, of(rates.further))
                return
            moved = velocities
        torch._foreach_addcmul_(weights, moved, of(rates.down))


class OneByOne:
    """Any optimizer: each trial's own, on its rows."""

    def __init__(self, runs: Sequence[ModelRun]) -> None:
        self._runs = runs
        self._parameters = [[p for p in run.model.parameters() if p.requires_grad] for run in runs]
        self._rows = [[p.data for p in parameters] for parameters in self._parameters]
        self._frozen = [_frozen(run) for run in runs]
        self._rates: Sequence[Sequence[float]] = ()

    def plan(self, rates: Sequence[Sequence[float]]) -> None:
        """The learning rates of the next steps, [steps, K]."""
        self._rates = rates

    def begin(self) -> None:
        """There is nothing to be done: the optimizers are the trials' own."""

    end = begin

    def __call__(self, gradients: Sequence[Tensor | None], place: int) -> dict[int, Failed]:
        """Update each trial's weights; those whose optimizer raised, by row, which leaves the
        others what they are. Raises ValueError, before any update, where an optimizer has frozen
        or unfrozen parameters since."""
        if any(_frozen(run) != own for run, own in zip(self._runs, self._frozen, strict=True)):
            raise ValueError("an optimizer freezes or unfreezes parameters")
        none = [None] * len(self._runs)
        by_row = zip(*(none if g is None else g.unbind() for g in gradients), strict=True)
        failed: dict[int, Failed] = {}
        for row, (run, own) in enumerate(zip(self._runs, by_row, strict=True)):
            for parameter, gradient in zip(self._parameters[row], own, strict=True):
                parameter.grad = gradient
            done = attempt(partial(run.optimizer.step, self._rates[place][row]))
            if isinstance(done, Failed):
                failed[row] = done
            self._put_back(row)
        return failed

    def _put_back(self, row: int) -> None:
        """Some optimizers give a parameter new memory (`p.data = p.data - ...`)."""
        for parameter, there in zip(self._parameters[row], self._rows[row], strict=True):
            if parameter.data_ptr() != there.data_ptr():
                there.copy_(parameter.data)
                parameter.data = there


def _frozen(run: ModelRun) -> list[bool]:
    return [not p.requires_grad for p in run.model.parameters()]


def stacked(rows: Sequence[Tensor]) -> Tensor:
    """Copies of tensors of one shape in one, [K, ...], each laid out in memory as it was."""
    first = torch.empty_like(rows[0])  # which is dense
    whole = torch.empty_strided(
        (len(rows), *first.shape),
        (first.numel(), *first.stride()),
        dtype=first.dtype,
        device=first.device,
    )
    for row, view in zip(rows, whole.unbind(), strict=True):
        view.copy_(row.detach())
    return whole
