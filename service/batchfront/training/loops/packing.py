"""What a loop keeps, as plain values and tensors, which is what a checkpoint can hold."""

import sys
from collections import Counter, OrderedDict
from typing import Any

import numpy as np

from batchfront.errors import WorkloadError
from batchfront.training.checkpoint_format import is_tensor

_PLAIN = (bool, int, float, complex, str, type(None))

_KIND = "batchfront's"  # the key that tells what a dict stands for


def packed(part: Any, where: str) -> Any:
    """Make a copy that a checkpoint can hold, which training doesn't change: but of tensors, which
    whoever writes them copies.

    where -- what it is, for a person

    Raises WorkloadError for something else than tensors, arrays, numbers, strings, and dicts, lists
    and tuples of these.
    """
    kind = type(part)
    if kind in _PLAIN or _is_torchs(part):
        return part
    if kind is bytes:
        return {_KIND: "bytes", "bytes": part or None}  # torch reads no empty ones
    if kind is np.ndarray or isinstance(part, np.generic):
        if part.dtype.hasobject:
            raise WorkloadError(f"{where} is an array of objects, which no checkpoint holds")
        said = {"type": part.dtype.str, "shape": list(part.shape), "bytes": part.tobytes() or None}
        return {_KIND: "array" if kind is np.ndarray else "scalar", **said}
    if kind is Counter:  # as `torch.optim.lr_scheduler.MultiStepLR` has one
        return {_KIND: "counter", "counts": packed(dict(part), where)}
    if kind in (dict, OrderedDict):
        for key in part:
            if type(key) not in _PLAIN and type(key) is not tuple:
                raise WorkloadError(f"{where} has a key of type {type(key).__name__}, not a string")
        return {key: packed(value, f"{where}[{key!r}]") for key, value in part.items()}
    if kind in (list, tuple):
        return kind(packed(value, f"{where}[{n}]") for n, value in enumerate(part))
    if kind is set:
        return {packed(value, f"an element of {where}") for value in part}
    raise WorkloadError(
        f"{where} is of type {kind.__name__}, which no checkpoint holds; let state_dict() return "
        "tensors, arrays, numbers and strings, in dicts and lists"
    )


def unpacked(part: Any) -> Any:
    """What was packed."""
    match part:
        case dict() if part.get(_KIND) == "counter":
            return Counter(unpacked(part["counts"]))
        case dict() if _KIND in part:
            held = part["bytes"] or b""
            if part[_KIND] == "bytes":
                return held
            array = np.frombuffer(bytearray(held), part["type"]).reshape(part["shape"])
            return array if part[_KIND] == "array" else array[()]
        case dict():
            return {key: unpacked(value) for key, value in part.items()}
        case list() | tuple():
            return type(part)(unpacked(value) for value in part)
    return part


def unlike(one: Any, other: Any, where: str) -> str | None:
    """Where two packed states, with their tensors on the CPU, differ in a bit. Returns None if they
    don't."""
    if type(one) is not type(other):
        return where
    match one:
        case dict():
            if one.keys() != other.keys():
                return where
            pairs = [(one[key], other[key], f"{where}[{key!r}]") for key in one]
        case list() | tuple():
            if len(one) != len(other):
                return where
            pairs = [
                (*both, f"{where}[{n}]") for n, both in enumerate(zip(one, other, strict=True))
            ]
        case _ if is_tensor(one):
            return None if _bits(one) == _bits(other) else where
        case _:  # a NaN isn't equal to itself
            return None if one == other or repr(one) == repr(other) else where
    return next((found for pair in pairs if (found := unlike(*pair)) is not None), None)


def _bits(tensor: Any) -> tuple[Any, ...]:
    torch = sys.modules["torch"]
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    return tensor.dtype, tensor.shape, flat.numpy().tobytes()


def _is_torchs(part: Any) -> bool:
    """Whether it is something of torch's that a checkpoint holds as it is."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(part, (torch.Tensor, torch.dtype, torch.device))
