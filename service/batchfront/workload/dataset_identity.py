"""What tells a data set of torch's from others, without decoding all of it."""

import os
import re
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import ConcatDataset, Subset

_SIZES = 1_000  # files whose sizes are asked for

_CONTENTS = 16  # examples that are decoded

_TRANSFORMS = ("transform", "target_transform", "transforms")

_OF_THIS_PROCESS = re.compile(r" at 0x[0-9a-fA-F]+|_[0-9a-f]{12}(?=\.)")
"""An address; or what tells a module that is a user's file from others of its name."""


def describe_dataset(
    dataset: Any,
    collate: Callable[..., Any] | None,
    augment: Callable[..., Any] | None,
    contents_of: Callable[[list[int]], list[Any]],
) -> dict[str, Any]:
    """What identifies a data set, as plain data, in the time that it takes to list it.

    How many examples there are. Where it lists its files as `samples` or `imgs`, as torchvision's
    folders do, a checksum of all their names, below its root, and classes, and of the sizes of up
    to a thousand of them. Otherwise a checksum of up to sixteen examples, from all over, as they
    are decoded. A checksum of its `targets`, where it has those for each example. Its transforms,
    `collate` and `augment`, as they print themselves. Of a `Subset` or a `ConcatDataset`, that of
    the parts and which of their examples there are.

    What it doesn't see is a file changed to another of the same size, or an example that isn't
    among the sixteen.
    """
    said: dict[str, Any] = {"examples": len(dataset), **_structure(dataset)}
    if not _lists_files(dataset):
        said["contents"] = _digest(contents_of(spread(len(dataset), _CONTENTS)))
    for name, function in (("collate", collate), ("augment", augment)):
        if function is not None:
            said[name] = _printed(function)
    return said


def spread(count: int, most: int) -> list[int]:
    """Up to `most` whole numbers below `count`, evenly, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most))})


def file_of(dataset: Any, index: int) -> str | None:
    """The file that an example is in, where a data set, or what it is a `Subset` of, says so."""
    if isinstance(dataset, Subset):
        return file_of(dataset.dataset, int(dataset.indices[index]))
    files = _files(dataset)
    return os.fspath(files[index][0]) if files else None


def _structure(dataset: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"dataset": type(dataset).__name__}
    if isinstance(dataset, Subset):
        indices = np.asarray(list(dataset.indices), dtype=np.int64)
        return {**said, "of": _structure(dataset.dataset), "indices": _digest([indices])}
    if isinstance(dataset, ConcatDataset):
        return {**said, "of": [_structure(part) for part in dataset.datasets]}
    files = _files(dataset)
    if files:
        said["files"] = _digest(_names(dataset, files))
        said["sizes"] = _digest([_size(files[place][0]) for place in spread(len(files), _SIZES)])
    targets = getattr(dataset, "targets", None)
    if isinstance(targets, Sequence | np.ndarray | Tensor) and len(targets) == len(dataset):
        said["targets"] = _digest(targets if isinstance(targets, Sequence) else [targets])
    for name in _TRANSFORMS:
        if getattr(dataset, name, None) is not None:
            said[name] = _printed(getattr(dataset, name))
    return said


def _lists_files(dataset: Any) -> bool:
    if isinstance(dataset, Subset):
        return _lists_files(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        return all(map(_lists_files, dataset.datasets))
    return bool(_files(dataset))


def _files(dataset: Any) -> Sequence[Any]:
    """(path, class) of each example, where a data set lists them."""
    for name in ("samples", "imgs"):
        found = getattr(dataset, name, None)
        if isinstance(found, list) and len(found) == len(dataset):
            first = found[0]
            if isinstance(first, tuple | list) and isinstance(first[0], str | os.PathLike):
                return found
    return ()


def _names(dataset: Any, files: Sequence[Any]) -> list[Any]:
    """The same, by names that don't depend on where the folder is."""
    root = getattr(dataset, "root", None)
    if not isinstance(root, str | os.PathLike):
        root = os.path.commonpath({os.fspath(Path(file[0]).parent) for file in files})
    start = f"{os.fspath(root).rstrip(os.sep)}{os.sep}"
    return [(os.fspath(path).removeprefix(start), *more) for path, *more in files]


def _size(path: Any) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:  # which is told when it is read
        return -1


def _printed(function: Any) -> str:
    name = getattr(function, "__qualname__", None)
    return _OF_THIS_PROCESS.sub("", repr(function) if name is None else name)


def _digest(values: Sequence[Any]) -> str:
    digest = blake2b(digest_size=8)
    for value in values:
        for leaf in pytree.tree_leaves(value):
            digest.update(_bytes_of(leaf))
            digest.update(b"\0")
    return digest.hexdigest()


def _bytes_of(leaf: Any) -> bytes:
    if isinstance(leaf, Tensor):
        raw = leaf.detach().cpu().contiguous()
        head = f"{raw.dtype}{tuple(raw.shape)}".encode()
        return head + raw.flatten().view(torch.uint8).numpy().tobytes()
    if isinstance(leaf, np.ndarray):
        return f"{leaf.dtype.name}{leaf.shape}".encode() + leaf.tobytes()
    if isinstance(leaf, bool | int | float | str | bytes | np.generic) or leaf is None:
        return repr(leaf).encode()
    if hasattr(leaf, "tobytes") and hasattr(leaf, "size"):  # an image of Pillow's
        return f"{leaf.size}".encode() + bytes(leaf.tobytes())
    return type(leaf).__name__.encode()
