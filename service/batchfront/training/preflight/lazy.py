"""Layers whose sizes are known only once they have seen an input."""

from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from batchfront.errors import WorkloadError
from batchfront.training.preflight.wording import shape
from batchfront.workload.data import Examples
from batchfront.workload.workload import Workload


def refuse_lazy(workload: Workload, model: nn.Module, train: Examples) -> None:
    """Raise WorkloadError, with what to write, for a model that is made with lazy layers: their
    weights must be drawn where it is made, from the trial's seed."""
    lazy = [
        f"{type(layer).__name__} {name}".rstrip()
        for name, layer in model.named_modules()
        if any(map(is_lazy, chain(layer.parameters(recurse=False), layer.buffers(recurse=False))))
    ]
    if not lazy:
        return
    inputs = train.batch(torch.arange(1, device=train.indexed_on)).inputs
    given = f"torch.zeros{shape(inputs)}" if isinstance(inputs, Tensor) else "..."
    raise WorkloadError(
        f"{workload.name}: the model is made with lazy layers ({', '.join(lazy[:3])}), whose "
        "weights aren't drawn yet; say their sizes (nn.Linear(in, out) for a LazyLinear), or have "
        f"the function that makes it call it once: made({given}) and return made"
    )
