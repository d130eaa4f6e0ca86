"""The moving average of a trial's weights, in a copy of its model."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from batchfront.errors import WorkloadError
from batchfront.training.model_call import Computed
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.weight_average import WeightAverage
from batchfront.workload.workload import Workload


class AveragedWeights:
    """Keeps the average of a model's weights: see `WeightAverage`.

    Buffers are the model's own, but for what an evaluation makes of them.

    module   -- a copy of the model, whose weights are the average
    computed -- the same, computed as the workload's execution says
    """

    def __init__(
        self,
        workload: Workload,
        average: WeightAverage,
        model: nn.Module,
        values: Metaparameters,
        device: torch.device,
    ) -> None:
        self._average, self._model, self._values = average, model, values
        self.module = copied(workload, model)
        self.computed = Computed(self.module, workload.execution, device)
        self.weights: list[Tensor] = list(self.module.parameters())
        self._sources: list[Tensor] = list(model.parameters())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights that the update after `step` updates has made."""
        share = self.share(step)
        if share == 1.0:
            torch._foreach_copy_(self.weights, self._sources)
        else:  # as torch's get_ema_multi_avg_fn, without its waits for the device
            torch._foreach_lerp_(self.weights, self._sources, share)

    def share(self, step: int) -> float:
        """What the weights that the update after `step` updates has made count in the average."""
        return self._average.share(step, self._values)

    def follow_buffers(self) -> None:
        """Give the copy the model's buffers as they are now."""
        follow_buffers(self.module, self._model)

    def state(self) -> dict[str, Tensor]:
        """The average by its weights' names, from which `restore` continues exactly."""
        return {name: p.detach() for name, p in self.module.named_parameters()}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from a `state`."""
        for name, parameter in self.module.named_parameters():
            parameter.copy_(state[name])


@torch.no_grad()
def follow_buffers(copy: nn.Module, model: nn.Module) -> None:
    """Give a model's copy the buffers that it has now."""
    for own, source in zip(copy.modules(), model.modules(), strict=True):
        for name, buffer in source._buffers.items():
            there = own._buffers.get(name)
            if there is not None and buffer is not None and there.shape == buffer.shape:
                there.copy_(buffer)
            else:
                own._buffers[name] = None if buffer is None else buffer.detach().clone()


def copied(
    workload: Workload, model: nn.Module, to: str = "average= keeps its average in"
) -> nn.Module:
    """A copy of a model, with nothing in it that is the model's.

    to -- what it is for: "average= keeps its average in" a copy of the model

    Raises WorkloadError if there can be none.
    """
    try:
        return deepcopy(model)
    except Exception as error:
        raise WorkloadError(
            f"{workload.name}: {to} a copy of the model, and "
            f"copy.deepcopy can't make one ({type(error).__name__}: {error})"
        ) from error
