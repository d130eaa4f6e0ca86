"""A model as its workload's execution has it computed."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from batchfront.workload.calling import arguments_for
from batchfront.workload.execution import Execution
from batchfront.workload.layers import draw_outside_of_graphs
from batchfront.workload.nested import Nested, map_tensors


class Computed:
    """Calls a model as `Execution` says: compiled, in another precision, in another layout.

    The model's parameters stay its own, in float32 and under their names. Outputs are float32, so
    that losses and metrics are computed in it.
    """

    def __init__(self, model: nn.Module, execution: Execution, device: torch.device) -> None:
        self.model, self._device = model, device.type
        self._lower = execution.precision == "bfloat16"
        self._channels_last = execution.channels_last
        if execution.channels_last:
            model.to(memory_format=torch.channels_last)
        self.module = model
        if execution.compile:
            draw_outside_of_graphs()
            self.module = cast(nn.Module, torch.compile(model))

    def __call__(self, inputs: Nested, through: Callable[..., Nested] | None = None) -> Nested:
        """The model's outputs; `through` is called in place of the model, which it is a wrapper
        of."""
        args, kwargs = arguments_for(self.model, inputs)
        return self.compute(self.module if through is None else through, *args, **kwargs)

    def compute(self, through: Callable[..., Nested], *args: Nested, **kwargs: Nested) -> Nested:
        """What `through`, which has the model in it, makes of its arguments."""
        if self._channels_last:
            args, kwargs = map_tensors(_channels_last, (args, kwargs))
        if not self._lower:
            return through(*args, **kwargs)
        with torch.autocast(self._device, torch.bfloat16):
            outputs = through(*args, **kwargs)
        return map_tensors(_single, outputs)

    def eval(self) -> None:
        """Put the model into evaluation mode."""
        self.model.eval()


class LossOfModel(nn.Module):
    """A model that is called for its loss, by `loss(model, batch)`: a module, so that whatever is
    wrapped around a model can be wrapped around it."""

    def __init__(
        self, model: nn.Module, loss: Callable[..., Tensor], values: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.model, self._loss, self._values = model, loss, values

    def forward(self, batch: Nested) -> Tensor:
        """The mean loss of a batch, which is as the data set gave it: see `Batch.whole`."""
        return self._loss(self.model, batch, **self._values)


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
