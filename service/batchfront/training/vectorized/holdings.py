"""What an object holds, by path: what two models must have in common to be computed as one, and
what training must leave alone.

A model computed with the weights of several trials has the attributes of one of them. So each
number, list, array, tensor and generator that a model holds beside its parameters and buffers has
to be found, wherever it is: in a list of lists, an object of the user's own, a closure.
"""

import random
import sys
import threading
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Set
from enum import Enum
from functools import cache, partial
from hashlib import blake2b
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any
from weakref import ReferenceType

import numpy as np
import torch
from torch import Tensor, nn

from batchfront.workload.datasets import Store
from batchfront.workload.decoding import Decoders

UNREADABLE = "unreadable"
"""What an entry begins with of which nobody can tell whether it is the same as another."""

_LARGE = 1 << 20  # bytes of a tensor or array, from which on its values are not read

_LONG = 100  # numbers in a list, from which on they are told apart together

_LEAVES = (
    bool, int, float, complex, str, bytes, type(None), type(Ellipsis), type(NotImplemented), slice,
    range, Enum, torch.dtype, torch.device, torch.layout, torch.memory_format,
)  # fmt: skip

_STATELESS = (
    ModuleType, ReferenceType, GetSetDescriptorType, MemberDescriptorType, MethodWrapperType,
    WrapperDescriptorType, type(threading.Lock()), type(threading.RLock()), torch._ops.OpOverload,
    torch._ops.OpOverloadPacket, Store, Decoders,
)  # fmt: skip

_CONTENTS = (
    Tensor, np.ndarray, np.generic, torch.Generator, np.random.Generator, np.random.RandomState,
    random.Random, list, tuple, dict, set, deque, nn.Module,
)  # fmt: skip

_BARE = {*vars(nn.Module()), "_compiled_call_impl"}  # `training` and hooks among them

_COPIES = (nn.RNNBase, {"_flat_weights", "_flat_weight_refs"})  # its parameters, kept up to date


class Holdings:
    """What objects hold, from names for them to the objects.

    entries -- path to what is there, as text: the same text, the same thing
    tensors -- path to each tensor that is no parameter or buffer of a module
    modules -- paths to modules

    shared -- follow also what all objects of a class, or calls of a function, have in common:
              attributes of the user's own classes, and globals that functions name. What can't be
              read is then passed over, and of large tensors only that they are written to counts.
    """

    def __init__(self, roots: Mapping[str, Any], *, shared: bool = False) -> None:
        self.entries: dict[str, str] = {}
        self.tensors: dict[str, Tensor] = {}
        self.modules: list[str] = []
        self._shared = shared
        self._seen: dict[int, tuple[str, Any]] = {}  # with the objects, whose ids are then theirs
        for name, root in roots.items():
            self._visit(name, root)

    @property
    def unreadable(self) -> str | None:
        """The path of something of which nobody can tell whether it is the same as another."""
        return next((p for p, e in self.entries.items() if e.startswith(UNREADABLE)), None)

    def difference(self, other: "Holdings") -> str | None:
        """A path at which two holdings differ, or None if they are the same."""
        mine, others = self.entries, other.entries
        return next((p for p in {**mine, **others} if mine.get(p) != others.get(p)), None)

    @property
    def digest(self) -> str:
        """The entries in a few characters."""
        return blake2b(repr(sorted(self.entries.items())).encode(), digest_size=12).hexdigest()

    def _visit(self, path: str, value: Any) -> None:
        kind: type[Any] = type(value)
        if isinstance(value, _LEAVES):
            self.entries[path] = f"{kind.__name__} {value!r}"
            return
        if isinstance(value, _STATELESS):
            self.entries[path] = kind.__name__
            return
        if id(value) in self._seen:
            self.entries[path] = f"same as {self._seen[id(value)][0]}"
            return
        self._seen[id(value)] = path, value
        self.entries[path] = f"{kind.__module__}.{kind.__qualname__}"
        for name, part in self._parts(path, value):
            self._visit(f"{path}.{name}" if path else name, part)

    def _parts(self, path: str, value: Any) -> Iterator[tuple[str, Any]]:
        match value:
            case nn.Module():
                self.modules.append(path)
                yield from self._of_module(value)
            case Tensor():
                self.tensors[path] = value
                self.entries[path] = self._tensor(value)
            case np.ndarray() | np.generic():
                self.entries[path] = self._array(value)
            case torch.Generator():
                yield "state", value.get_state()
            case np.random.Generator():
                yield "state", value.bit_generator.state
            case np.random.RandomState() | random.Random():
                state = value.get_state() if hasattr(value, "get_state") else value.getstate()
                yield "state", state
            case Mapping():
                for place, (key, part) in enumerate(value.items()):
                    yield str(key if isinstance(key, str | int) else place), part
            case list() | tuple() | deque() if len(value) > _LONG and all(map(_is_plain, value)):
                self.entries[path] += f" {_checksum(repr(list(value)).encode())}"
            case list() | tuple() | deque():
                yield from ((str(place), part) for place, part in enumerate(value))
            case Set():
                yield "members", sorted(map(repr, value))
            case FunctionType():
                yield from self._of_function(value)
            case MethodType():
                yield from (("self", value.__self__), ("function", value.__func__))
            case partial():
                yield from (("of", value.func), ("args", value.args), ("named", value.keywords))
            case BuiltinFunctionType():
                self.entries[path] = f"{value.__module__}.{value.__qualname__}"
                if not isinstance(value.__self__, ModuleType):
                    yield "self", value.__self__
            case type():
                self.entries[path] = f"{value.__module__}.{value.__qualname__}"
                yield from self._of_class(value)
            case _:
                yield from self._of_object(path, value)

    def _of_module(self, module: nn.Module) -> Iterator[tuple[str, Any]]:
        kind, copies = _COPIES
        for name, part in vars(module).items():
            if name not in _BARE and not (isinstance(module, kind) and name in copies):
                yield name, part
        yield from module._modules.items()
        yield from self._of_class(type(module))

    def _of_class(self, kind: type) -> Iterator[tuple[str, Any]]:
        if self._shared:
            for one in kind.__mro__:
                if _is_users(one.__module__):
                    yield from _own(one, vars(one))

    def _of_function(self, function: FunctionType) -> Iterator[tuple[str, Any]]:
        yield "code", _code(function.__code__)
        yield "defaults", (function.__defaults__, function.__kwdefaults__)
        yield "attributes", vars(function)
        yield from enclosed(function)
        if self._shared and _is_users(function.__module__):
            names = sorted(_names(function.__code__))
            for name in names:
                if name not in function.__globals__:
                    continue
                value = function.__globals__[name]
                if _may_change(value):
                    yield name, value
                if isinstance(value, ModuleType) and _is_users(value.__name__):
                    there = {n: vars(value)[n] for n in names if n in vars(value)}
                    yield from ((f"{name}.{n}", v) for n, v in there.items() if _may_change(v))

    def _of_object(self, path: str, value: Any) -> Iterator[tuple[str, Any]]:
        slots: list[str] = []
        for one in type(value).__mro__:
            named = vars(one).get("__slots__", ())
            slots += [named] if isinstance(named, str) else named
        fields = {name: getattr(value, name) for name in slots if hasattr(value, name)}
        fields |= getattr(value, "__dict__", {})
        for name in ("__dict__", "__weakref__"):
            fields.pop(name, None)
        if fields or hasattr(value, "__dict__"):
            yield from fields.items()
            yield from self._of_class(type(value))
            return
        try:
            reduced = value.__reduce_ex__(4)  # as `pickle` and `copy` do
        except Exception:
            if not self._shared:
                self.entries[path] = f"{UNREADABLE} {self.entries[path]}"
            return
        yield "reduced", reduced

    def _tensor(self, value: Tensor) -> str:
        said = f"{value.dtype} {tuple(value.shape)} {value.device} {value.requires_grad}"
        if value.layout is not torch.strided or value.is_quantized:
            return f"{UNREADABLE} {said}" if not self._shared else said
        if self._shared:
            written = None if value.is_inference() else value._version
            said += f" {id(value)} {written}"
            if value.nbytes > _LARGE:
                return said
        flat = value.detach().resolve_conj().resolve_neg().cpu().contiguous().flatten()
        return f"{said} {_checksum(flat.view(torch.uint8).numpy().data)}"

    def _array(self, value: Any) -> str:
        said = f"{value.dtype} {value.shape}"
        if value.dtype.hasobject:
            return f"{said} {value.tolist()!r}"
        if self._shared and value.nbytes > _LARGE:
            return f"{said} {id(value)}"
        return f"{said} {_checksum(np.ascontiguousarray(value).tobytes())}"


def _is_plain(part: Any) -> bool:
    """Whether it is a leaf, or a tuple of them, such as a file's name and class."""
    return isinstance(part, _LEAVES) or (
        type(part) is tuple and all(isinstance(inner, _LEAVES) for inner in part)
    )


def enclosed(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """What a function encloses, by name: None of what nothing is in yet."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if name == "__class__":  # which `super` needs
            continue
        try:
            yield name, cell.cell_contents
        except ValueError:
            yield name, None


def sharing(tensors: Mapping[str, Tensor], apart: Collection[str]) -> tuple[str, str] | None:
    """Find two tensors that lie in the same memory, at least one of which is to lie apart.

    Returns their names, or None if there are none.
    """
    spans = sorted((*_span(t), name) for name, t in tensors.items() if t.numel())
    reach, by = 0, ""
    for start, end, name in spans:
        if start < reach and (name in apart or by in apart):
            return by, name
        if end > reach:
            reach, by = end, name
    return None


def _span(tensor: Tensor) -> tuple[int, int]:
    """Its first byte in memory, and the one after its last."""
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    last = sum((size - 1) * stride for size, stride in steps)
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()


def _own(owner: type, attributes: MappingProxyType[str, Any]) -> Iterator[tuple[str, Any]]:
    """Methods and data that a user's class gives all its objects."""
    for name, value in attributes.items():
        if isinstance(value, staticmethod | classmethod):
            value = value.__func__
        if isinstance(value, property):
            value = value.fget
        data = not name.startswith("__") and _may_change(value)
        if data or (isinstance(value, FunctionType) and name != "__init__"):
            yield f"{owner.__name__}.{name}", value


def _may_change(value: Any) -> bool:
    """Whether a global, or an attribute of a class, is of a kind that training may change."""
    if isinstance(value, ModuleType):
        return False
    if isinstance(value, FunctionType | type):
        return _is_users(value.__module__)
    if isinstance(value, (*_LEAVES, *_CONTENTS)):
        return True
    return _is_users(type(value).__module__) or type(value).__module__ == "itertools"


@cache
def _is_users(module: str | None) -> bool:
    """Whether a module is neither Python's, nor installed, nor ours."""
    if module is None or module.split(".")[0] in {*sys.stdlib_module_names, "batchfront"}:
        return module == "__main__"
    path = getattr(sys.modules.get(module), "__file__", None) or ""
    return not {"site-packages", "dist-packages"} & set(path.replace("\\", "/").split("/"))


def _names(code: CodeType) -> set[str]:
    """The globals and attributes that code names, with the functions in it."""
    inner = [_names(part) for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*inner)


def _code(code: CodeType) -> str:
    constants = [_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return _checksum(code.co_code + repr((code.co_names, code.co_varnames, constants)).encode())


def _checksum(content: Any) -> str:
    return blake2b(content, digest_size=12).hexdigest()
