"""How a model takes its inputs."""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from batchfront.workload.nested import Nested


def arguments_for(model: nn.Module, inputs: Nested) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments, by place and by name, that a model is called with for these inputs.

    A dict is given by its names if the model's `forward` takes each of them, as its parameters or
    by `**kwargs`, and as one argument otherwise; a tuple or list as one argument if `forward` takes
    one, and as several if it doesn't, or takes `*args`.
    """
    if isinstance(inputs, Tensor):
        return (inputs,), {}
    signature = _signature(type(model).forward)
    if isinstance(inputs, Mapping):
        if _binds(signature, **inputs):
            return (), dict(inputs)
    elif isinstance(inputs, tuple | list):
        any_number = any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values())
        if any_number or not _binds(signature, inputs):
            return tuple(inputs), {}
    return (inputs,), {}


@lru_cache(maxsize=64)
def _signature(forward: Callable[..., Any]) -> inspect.Signature:
    """Of a class's `forward`, without `self`."""
    parameters = list(inspect.signature(forward).parameters.values())
    takes_self = parameters[0].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature(parameters[takes_self:])


def _binds(signature: inspect.Signature, *args: Any, **kwargs: Any) -> bool:
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def called(
    model: nn.Module, inputs: Nested, through: Callable[..., Nested] | None = None
) -> Nested:
    """What a model makes of its inputs; `through` is called in its place, which it is within."""
    forward = model if through is None else through
    if isinstance(inputs, Tensor):
        return forward(inputs)
    args, kwargs = arguments_for(model, inputs)
    return forward(*args, **kwargs)
