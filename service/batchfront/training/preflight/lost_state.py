"""What of a trial's state no checkpoint holds: found by a run, and another restored from it."""

import random
from collections import deque
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from itertools import count
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from batchfront.errors import WorkloadError
from batchfront.phrases import first_few
from batchfront.training.model_run import ModelRun
from batchfront.training.preflight.varied import varied
from batchfront.training.vectorized.forward import HOOKS
from batchfront.training.vectorized.holdings import enclosed
from batchfront.workload.data import Part, Splits
from batchfront.workload.execution import Execution
from batchfront.workload.layers import GhostBatchNorm2d
from batchfront.workload.optimizers import ScheduledOptimizer, SGDOptimizer
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.workload import Workload

_EXAMPLES, _FEW = 8, 2  # that a batch of a try has, and one of a large model

_STEPS = 2  # before the state is taken, and after it has been restored

_DEEP = 5  # objects within objects that are looked into

_LONG = 1000  # entries of a list or a dict, of which no more than their number is compared

_NAMED = 3  # of what is lost, in a message

_CPU = torch.device("cpu")

_OF_MODULES = frozenset(vars(nn.Module()))

_LIBRARIES = ("batchfront", "builtins", "collections", "functools", "numpy", "torch", "typing")

_METHODS = ("__init__", "__call__")

_OPTIMIZER_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


def lost_state(
    workload: Workload, splits: Splits, values: Metaparameters, batch_size: int, *, large: bool
) -> str | None:
    """Find what training or evaluation changes and no checkpoint holds.

    A run of a few steps is compared with one that is restored from its state: in the attributes of
    model and optimizer, and in what further steps make of the weights.

    large -- what a try takes is to be little

    Returns it by name, or None if nothing of the kind was found. Raises WorkloadError if all trials
    of a process share something that training changes.
    """
    workload = replace(workload, execution=Execution())
    examples = Splits(*(_few(split) for split in (splits.train, splits.validation)))
    size = min(batch_size, _FEW if large else _EXAMPLES)

    def run() -> ModelRun:
        return ModelRun(workload, examples, size, values, 0, _CPU)

    first = run()
    first.advance(_STEPS)
    first.evaluate(full=True)
    shared = _shared(workload)
    second = run()
    second.restore(deepcopy(first.state()))  # of which torch's optimizers keep what they are given
    lost = _unlike(_own(first), _own(second))
    for one in (first, second):
        one.advance(2 * _STEPS)
        one.evaluate(full=True)
    _refuse_shared(workload, shared, _shared(workload))
    if not lost and not _alike(first, second):
        lost = ["something outside of the model and the optimizer"]
    return first_few(lost, _NAMED) if lost else None


def _few(split: Any) -> Part:
    found = varied(split)
    return Part(found.whole, found.indices[:_EXAMPLES])


def _own(run: ModelRun) -> dict[str, Any]:
    """What a trial's model and optimizer hold beside weights, by name."""
    found: dict[str, Any] = {}
    evaluated = [] if run.average is None else run.evaluated.named_modules()
    for name, module in (*run.model.named_modules(), *((f"averaged {n}", m) for n, m in evaluated)):
        if isinstance(module, GhostBatchNorm2d):  # between two batches it holds nothing more
            continue
        path = f"{type(module).__name__}{f' ({name})' if name else ''}"
        own = {k: v for k, v in vars(module).items() if k not in _OF_MODULES}
        own |= {k: list(vars(module).get(k, {}).values()) for k in HOOKS}
        own |= dict(module.named_buffers(recurse=False))
        found |= dict(_leaves(own, path))
    if isinstance(run.optimizer, ScheduledOptimizer):
        for number, optimizer in enumerate(run.optimizer.optimizers):
            own = {k: v for k, v in vars(optimizer).items() if k not in _of_optimizers()}
            own |= {k: list(vars(optimizer).get(k, {}).values()) for k in _OPTIMIZER_HOOKS}
            which = f" {number}" if len(run.optimizer.optimizers) > 1 else ""
            found |= dict(_leaves(own, f"{type(optimizer).__name__}{which}"))
    elif not isinstance(run.optimizer, SGDOptimizer):
        found |= dict(_leaves(vars(run.optimizer), type(run.optimizer).__name__))
    return found


@cache
def _of_optimizers() -> frozenset[str]:
    """What every optimizer of torch holds; the first that is made takes torch over a second."""
    counted = "_numel_cache"  # of LBFGS: its parameters' numbers, which it counts when it steps
    return frozenset(vars(torch.optim.SGD([torch.zeros(1)], lr=0.1))) | {counted}


def _shared(workload: Workload) -> dict[str, Any]:
    """What all trials of a process have in common, by name."""
    metric = workload.goal.computed
    parts = {
        "loss": workload.loss,
        "update": workload.update,
        "model": workload.model,
        "schedule": workload.schedule,
        "metric": getattr(metric, "per_example", None) or getattr(metric, "of", None),
        "weight": workload.weight,
        "algorithm": workload.algorithm,
    }
    return {k: v for name, part in parts.items() for k, v in _leaves(part, name)}


def _refuse_shared(workload: Workload, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    changed = _unlike(before, after)
    if changed:
        raise WorkloadError(
            f"{workload.name}: training changes {first_few(changed, _NAMED)}, which all "
            "trials share: what one finds would depend on the others; keep it in a buffer of the "
            "model, which counts if self.training"
        )


def _alike(first: ModelRun, second: ModelRun) -> bool:
    pairs = [
        pair
        for one, other in ((first.model, second.model), (first.evaluated, second.evaluated))
        for pair in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    ]
    return all(_equal(a, b) for a, b in pairs if isinstance(a, Tensor))


def _unlike(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    missing = object()
    names = dict.fromkeys([*first, *second])
    return [n for n in names if not _equal(first.get(n, missing), second.get(n, missing))]


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        first, second = (
            first.detach().cpu().double().numpy(),
            second.detach().cpu().double().numpy(),
        )
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        numbers = first.dtype.kind in "fc"
        return first.shape == second.shape and np.array_equal(first, second, equal_nan=numbers)
    if type(first) is not type(second):
        return False
    return bool(first == second) or (first != first and second != second)


def _leaves(held: Any, path: str, deep: int = 0) -> Iterator[tuple[str, Any]]:
    """The plain values that something holds, by where they are: copies, as they may change."""
    if held is None or isinstance(held, bool | int | float | complex | str | bytes):
        yield path, held
    elif isinstance(held, Tensor):
        yield path, held.detach().clone()
    elif isinstance(held, np.ndarray):
        yield path, held.copy()
    elif isinstance(held, torch.Generator):
        yield path, held.get_state()
    elif isinstance(held, random.Random):
        yield path, held.getstate()
    elif isinstance(held, np.random.Generator):
        yield path, repr(held.bit_generator.state)
    elif isinstance(held, count):
        yield path, repr(held)
    elif deep < _DEEP:
        for name, part in _parts(held):
            yield from _leaves(part, f"{path}{name}", deep + 1)


def _parts(held: Any) -> Iterator[tuple[str, Any]]:
    match held:
        case dict() | list() | tuple() | deque() if len(held) > _LONG:
            yield "'s length", len(held)
        case dict():
            yield from ((f".{key}", value) for key, value in list(held.items()))
        case list() | tuple() | deque() | set() | frozenset():
            yield "'s length", len(held)
            if not isinstance(held, set | frozenset):
                yield from ((f"[{place}]", value) for place, value in enumerate(held))
        case partial():
            yield from (("", held.func), ("", list(held.args)), ("", held.keywords))
        case MethodType():
            yield from (("", held.__self__), ("", held.__func__))
        case type() | FunctionType() if _is_of_a_library(held):
            return
        case FunctionType():
            yield from _of_function(held)
        case type():
            own = {k: v for k, v in vars(held).items() if k in _METHODS or k[:2] != "__"}
            yield "", own
        case ModuleType() | BuiltinFunctionType() | CodeType():
            return
        case nn.Module():
            own = {k: v for k, v in vars(held).items() if k not in _OF_MODULES}
            yield "", own | dict(held.named_buffers()) | dict(held.named_parameters())
        case _ if hasattr(held, "__dict__"):
            yield "", vars(held)


def _is_of_a_library(held: Any) -> bool:
    """Whether it is code that nobody's own state is in."""
    return str(held.__module__).split(".")[0] in _LIBRARIES


def _of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """What it remembers: in what it encloses, in its defaults, and in what is global to it."""
    yield from ((f".{name}", value) for name, value in enclosed(function))
    yield "", vars(function)
    yield "", list(function.__defaults__ or ())
    known = function.__globals__
    numbers = (bool, int, float, list, dict, deque, Tensor, np.ndarray)
    plain = (*numbers, count, random.Random, torch.Generator, type, FunctionType)
    for name in function.__code__.co_names:
        if isinstance(known.get(name), plain):
            yield f".{name}", known[name]
