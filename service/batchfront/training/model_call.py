"""A model as its workload's execution has it computed."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from batchfront.workload.execution import Execution
from batchfront.workload.layers import draw_outside_of_graphs


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

    def __call__(self, inputs: Tensor, through: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """The model's outputs; `through` is called in place of the model, which it is a wrapper
        of."""
        module = self.module if through is None else through
        if self._channels_last and inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        if not self._lower:
            outputs: Tensor = module(inputs)
            return outputs
        with torch.autocast(self._device, torch.bfloat16):
            outputs = module(inputs)
        return outputs.float()

    def eval(self) -> None:
        """Put the model into evaluation mode."""
        self.model.eval()
