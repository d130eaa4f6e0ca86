"""Whether trials can be computed as one: by what is known to make a difference, and by a proof.

What a few steps might not show is ruled out here: hooks that act now and then, rules of
`torch.vmap` that aren't one model's, state that only some steps change. `proof` finds the rest.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.optim import optimizer as optimizer_hooks

from batchfront.training.memory import is_lost_device, is_out_of_memory
from batchfront.training.model_run import ModelRun
from batchfront.training.vectorized.forward import HOOKS
from batchfront.training.vectorized.holdings import Holdings, sharing
from batchfront.training.vectorized.proof import difference
from batchfront.training.vectorized.watching import unstackable
from batchfront.workload.data import Splits
from batchfront.workload.layers import Dropout, GhostBatchNorm2d
from batchfront.workload.optimizers import SGDOptimizer
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.workload import Workload

NO_ROOM = "there is no memory left for a proof"
"""The reason that holds of what is computed now alone."""

_GLOBAL_HOOKS = [
    *(f"_global_{kind}" for kind in ("forward_hooks", "forward_pre_hooks")),
    *(f"_global_{kind}" for kind in ("backward_hooks", "backward_pre_hooks")),
]


def why_not(
    workload: Workload,
    batch_size: int,
    splits: Splits,
    values: Metaparameters,
    devices: Sequence[torch.device],
) -> str | None:
    """Why heats of a workload can't be computed as one, in a clause for a person; None if that
    has been proven to make no difference for trials with these metaparameters.

    devices -- those that compute each trial together
    """
    excluded = why_never(workload, splits, devices)
    if excluded is not None:
        return excluded
    return why_not_alike([ModelRun(workload, splits, batch_size, values, 0, devices[0])])


def why_never(
    workload: Workload, splits: Splits, devices: Sequence[torch.device] = ()
) -> str | None:
    """The same, by what can be told without a trial."""
    if len(devices) > 1:
        return f"{len(devices)} devices compute each trial"
    if workload.execution.compile or workload.execution.precision != "float32":
        return "it is compiled, or computed in bfloat16"
    if workload.update is not None:
        return "its own update trains each model by itself"
    if splits.train.ahead or splits.validation.ahead:
        return "its examples are loaded ahead"
    return None


def why_not_alike(runs: Sequence[ModelRun]) -> str | None:
    """Why runs of one kind can't be computed as one. They are left as they are: others, like the
    first and the last of them, are trained for a few steps."""
    first, last = runs[0], runs[-1]
    try:
        return (
            why_never(first.workload, first.splits)
            or _of_layers(first.model)
            or _of_step(first)
            or _of_hooks(first)
            or _of_memory(first.model)
            or difference(first, last)
        )
    except Exception as error:
        if is_lost_device(error):
            raise
        if is_out_of_memory(error):
            return NO_ROOM
        return unstackable(error)


def why_unlike(one: ModelRun, other: ModelRun) -> str:
    """Why two runs are not of one kind, in a clause."""
    held = [Holdings({"model": run.model}) for run in (one, other)]
    path = held[0].difference(held[1]) or "their metaparameters, or the shapes of their weights"
    return f"no two trials have models that differ in weights alone ({path})"


def _of_layers(model: nn.Module) -> str | None:
    for module in model.modules():
        if isinstance(module, _BatchNorm | GhostBatchNorm2d):
            return f"it normalizes over batches ({type(module).__name__})"
        if isinstance(module, _DropoutNd) and not isinstance(module, Dropout) and module.p > 0:
            return f"torch's own {type(module).__name__} draws for all at once"
        if module._compiled_call_impl is not None or type(module).__name__ == "OptimizedModule":
            return "its model compiles itself"
    return None


def _of_hooks(run: ModelRun) -> str | None:
    if any(getattr(global_hooks, name) for name in _GLOBAL_HOOKS):
        return "a hook hangs on all modules"
    for name, module in run.model.named_modules():
        if any(getattr(module, hooks) for hooks in HOOKS):
            return f"a hook hangs on its module {name or type(module).__name__}"
    for name, tensor in _registered(run.model):
        if tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None):
            return f"a hook hangs on its parameter {name}"
    steps = [
        hooks
        for o in run.optimizer.of_torch()
        for hooks in (o._optimizer_step_pre_hooks, o._optimizer_step_post_hooks)
    ]
    everywhere = [
        optimizer_hooks._global_optimizer_pre_hooks,
        optimizer_hooks._global_optimizer_post_hooks,
    ]
    if any([*steps, *everywhere]):
        return "a hook hangs on its optimizer"
    if (
        type(run.optimizer) is not SGDOptimizer
        and Holdings({"optimizer": run.optimizer}, shared=True).modules
    ):
        return "its optimizer holds the model, and may change it"
    return None


def _of_step(run: ModelRun) -> str | None:
    if run.optimizer.needs_closure:
        return "its optimizer calls a closure"
    return None


def _of_memory(model: nn.Module) -> str | None:
    """Each parameter and buffer is to move by itself, and nothing else with it."""
    held = Holdings({"model": model})
    if held.unreadable is not None:
        return f"nobody can tell whether trials have the same {held.unreadable}"
    registered = dict(_registered(model))
    if any(t.layout is not torch.strided for t in registered.values()):
        return "its parameters are sparse"
    shared = sharing({**registered, **held.tensors}, registered)
    return None if shared is None else f"{' and '.join(shared)} share memory"


def _registered(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()
