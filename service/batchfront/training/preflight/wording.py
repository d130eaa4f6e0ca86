"""What goes wrong in a user's code, in one line."""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from batchfront.errors import BatchfrontError, WorkloadError
from batchfront.workload.algorithm import first_parameter
from batchfront.workload.metrics import Metric, SplitMetric
from batchfront.workload.nested import Nested, describe_nested, tensors_in
from batchfront.workload.workload import Workload

_MODEL_NAMES = re.compile(r"^(net|network|module)$|model(?!_?out)")

MEASURES = "measures:"
"""Whose a measure is, before its name."""


def named_metrics(workload: Workload) -> list[tuple[str, Metric | SplitMetric]]:
    """All metrics of the validation split, after whose they are: the goal's, then the measures."""
    return [
        ("the goal's", workload.goal.computed),
        *((MEASURES, measure) for measure in workload.measures),
    ]


@contextmanager
def naming(workload: Workload, what: str) -> Iterator[None]:
    """Turn an error of the user's code into one line that says what it broke."""
    try:
        yield
    except BatchfrontError:
        raise
    except (Exception, SystemExit) as error:
        raise WorkloadError(f"{workload.name}: {what}: {in_one_line(error)}") from error


def in_one_line(error: BaseException) -> str:
    """The kind of an error, and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def refusing_broadcasts(
    workload: Workload, what: str, outputs: Nested, targets: Nested
) -> Iterator[None]:
    """Raise WorkloadError where torch warns that it broadcasts outputs or targets."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        yield
    for warning in given:
        if "broadcasting" in str(warning.message):
            said = str(warning.message).split(". ")[0]
            raise WorkloadError(
                f"{workload.name}: {what} broadcasts {unlike(outputs, targets)} (torch: {said})"
            )
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def unlike(outputs: Nested, targets: Nested) -> str:
    """Which shapes torch would broadcast, and what to write instead."""
    if not (isinstance(outputs, Tensor) and isinstance(targets, Tensor)):
        together = f"{describe_nested(outputs)} and targets of {describe_nested(targets)}"
        return f"outputs of {together}; give those that are compared the same shape"
    said = f"outputs of shape {shape(outputs)} and targets of shape {shape(targets)}"
    if spread(outputs, targets):
        together = torch.broadcast_shapes(outputs.shape, targets.shape)  # type: ignore[no-untyped-call]
        said += f", every output against every target, to {shape(together)}"
    if outputs.ndim == targets.ndim + 1 and outputs.shape[-1] == 1:
        return f"{said}; write targets.unsqueeze(-1) or outputs.squeeze(-1)"
    if targets.ndim == outputs.ndim + 1 and targets.shape[-1] == 1:
        return f"{said}; write outputs.unsqueeze(-1) or targets.squeeze(-1)"
    return f"{said}; give both the same shape"


def spread(outputs: Nested, targets: Nested) -> bool:
    """Whether torch would broadcast them to more numbers than either has."""
    if not (isinstance(outputs, Tensor) and isinstance(targets, Tensor)):
        return False
    try:
        together = torch.broadcast_shapes(outputs.shape, targets.shape)  # type: ignore[no-untyped-call]
    except RuntimeError:
        return False
    return bool(together.numel() > max(outputs.numel(), targets.numel()))


def found(value: object) -> str:
    """A tensor's shape, or what else it is."""
    return f"shape {shape(value)}" if isinstance(value, Tensor) else describe_nested(value)


def shape(tensor: Tensor | torch.Size) -> str:
    """(8, 3)"""
    sizes = tensor.shape if isinstance(tensor, Tensor) else tensor
    return f"({', '.join(map(str, sizes))})"


def each_of(loss: object, examples: int) -> str:
    """What to write where a loss is one number for each example."""
    if isinstance(loss, Tensor) and loss.shape[:1] == (examples,):
        return '; write its .mean() (of torch\'s losses, leave reduction="none" out)'
    return ""


def of_first_parameter(loss: Callable[..., Any]) -> str:
    """What to write where a loss seems to expect the model, and is given its outputs."""
    name = first_parameter(loss)
    if name is None or not _MODEL_NAMES.search(name):
        return ""
    return (
        f" (it is called with the model's outputs and the targets; to be called with the model and "
        f"the batch, call its first parameter model, not {name})"
    )


def of_structures(outputs: Nested) -> str:
    """What to write where a model's outputs are several tensors, and the loss takes one."""
    name = next(iter(outputs), None) if isinstance(outputs, Mapping) else None
    one = f"outputs[{name!r}]" if isinstance(name, str) else "outputs[0]"
    return (
        f" (name the tensor that is meant, as in lambda outputs, targets: loss({one}, targets), or "
        "where the model computes its own loss, write loss(model, batch))"
    )


def of_types(model: nn.Module, inputs: Nested, error: Exception) -> str:
    """What to write where torch says that a model's inputs are of another type than its weights."""
    weights = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
    given = {tensor.dtype for tensor in tensors_in(inputs)} - {weights}
    if weights is None or not given or "type" not in str(error):
        return ""
    kind = str(weights).removeprefix("torch.")
    if all(one.is_floating_point for one in given):
        return f" (its weights are {kind}: give inputs.to(torch.{kind}))"
    return f" (its weights are {kind}: give inputs.to(torch.{kind}), or indices as inputs.long())"


def of_classes(outputs: Nested, targets: Nested) -> str:
    """What to write where targets may be classes in another form than their numbers."""
    if not (isinstance(outputs, Tensor) and isinstance(targets, Tensor)):
        return ""
    if outputs.ndim != 2 or outputs.shape[1] == 1:
        return ""
    whole = ".long()" * targets.is_floating_point()
    if targets.shape == outputs.shape:
        return " (where these are classes, one-hot, give their numbers: targets.argmax(1))"
    if targets.shape == (len(outputs), 1):
        return f" (where these are the numbers of classes, give targets[:, 0]{whole})"
    if targets.ndim == 1 and whole:
        return f" (where these are the numbers of classes, give targets{whole})"
    return ""
