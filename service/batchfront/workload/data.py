"""Data sets: examples gathered by index, wherever they are kept."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from batchfront.errors import WorkloadError
from batchfront.workload.nested import (
    Nested,
    describe_nested,
    is_of_rows,
    map_tensors,
    tensors_in,
)


def describe_model(model: nn.Module) -> dict[str, Any]:
    """A model's layers, as torch prints them, and its parameters by shape."""
    return {
        "layers": str(model),
        "parameters": {name: list(p.shape) for name, p in model.named_parameters()},
    }


_CHUNK = 1024


class Batch(NamedTuple):
    """What a data set gives for n examples: every tensor in it has a row for each.

    inputs  -- what the model is called with: see `arguments_for`
    targets -- what loss and metric compare its outputs with. Where a data set gives something else
               than a pair, such as a dict, that is its inputs and its targets at once
    """

    inputs: Nested
    targets: Nested

    @classmethod
    def of(cls, found: Any) -> "Batch":
        """What a data set, or its collate function, has given."""
        if isinstance(found, Batch):
            return found
        if isinstance(found, tuple | list) and len(found) == 2 and not hasattr(found, "_fields"):
            return cls(*map(_known, found))
        found = _known(found)
        return cls(found, found)

    @property
    def examples(self) -> int:
        """How many there are."""
        return int(tensors_in(self.inputs)[0].shape[0])

    @property
    def whole(self) -> Nested:
        """The batch as the data set gave it: a pair, or the one structure that stands for both."""
        return self.inputs if self.inputs is self.targets else (self.inputs, self.targets)

    @property
    def tensors(self) -> list[Tensor]:
        """All of its tensors, each once."""
        one = self.inputs is self.targets
        return tensors_in(self.inputs if one else (self.inputs, self.targets))

    @property
    def shapes(self) -> list[torch.Size]:
        """What an example has of each of them: longer ones where batches are padded otherwise."""
        return [tensor.shape[1:] for tensor in self.tensors]

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """The same with `function` of each of its tensors."""
        inputs = map_tensors(function, self.inputs)
        one = self.inputs is self.targets
        return Batch(inputs, inputs if one else map_tensors(function, self.targets))

    def at(self, rows: Tensor) -> "Batch":
        """The examples that stand at these positions."""
        return self.map(lambda tensor: tensor[rows.to(tensor.device)])


def _known(found: Any) -> Any:
    """A mapping of another kind than torch's pytrees know, such as what transformers' collate
    functions give, as a dict."""
    return dict(found) if isinstance(found, Mapping) and pytree.tree_is_leaf(found) else found


class Examples(ABC):
    """The examples of one split.

    What is small lies in memory (`Split`); what is not, a subclass of this reads, decodes or
    tokenizes when it is asked for.

    indexed_on -- the device on which `batch` wants its indices
    ahead      -- how many passes are worth loading while others are trained on; 0: a batch is
                  there at once

    Whoever asks a subclass for a batch gets one example for each index, or a WorkloadError: one
    that is left out would make the goal easier without a word.
    """

    ahead: int = 0

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "batch" in cls.__dict__:
            cls.batch = _whole_batch(cls.batch)  # type: ignore[method-assign]
        if "weights" in cls.__dict__:
            cls.weights = _whole_weights(cls.weights)  # type: ignore[method-assign]

    @property
    @abstractmethod
    def indexed_on(self) -> torch.device: ...

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, indices: Tensor, seed: int | None = None) -> Any:
        """Inputs and targets of the examples at `indices` (int64, shape [n]), in that order: each
        a tensor of n rows, or such tensors in dicts, tuples and lists. A subclass may return any
        pair of these, or a single one that stands for both; who asks is given a `Batch`.

        seed -- augment: example by example, by random numbers that depend on the seed and the
                example's index alone, so that neither the order nor the company matters;
                None: as they are

        Several threads may call it at once where `ahead` is not 0.
        """

    @abstractmethod
    def to(self, device: torch.device) -> "Examples":
        """The same examples, whose batches are on `device`."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """`examples`, and what else tells them from others, for a study's identity: the same for
        the same data on every machine."""

    def weights(self, weigh: Callable[[Tensor], Tensor]) -> Tensor:
        """`weigh(targets)` of every example, shape [len(self)]; computed once."""
        known: dict[Any, Tensor] = self.__dict__.setdefault("_weights", {})
        if weigh not in known:
            indices = torch.arange(len(self), device=self.indexed_on).split(_CHUNK)  # type: ignore[no-untyped-call]
            found = [_of_each(self, weigh(self.batch(part)[1]), len(part)) for part in indices]
            known[weigh] = torch.cat(found)
        return known[weigh]


Gather = Callable[..., Any]

Weights = Callable[..., Tensor]


def _whole_batch(batch: Gather) -> Gather:
    """`batch`, which refuses to give more or fewer examples than it was asked for."""

    @wraps(batch)
    def checked(self: Examples, indices: Tensor, seed: int | None = None) -> Batch:
        found = Batch.of(batch(self, indices, seed))
        count = indices.shape[0]
        if is_of_rows(found.inputs, count) and is_of_rows(found.targets, count):
            return found
        inputs, targets = map(describe_nested, found)
        raise WorkloadError(
            f"{type(self).__name__}.batch() gave inputs {inputs} and targets {targets} for {count} "
            "indices, and must give tensors alone, each with one row for each index, in that "
            "order; leave what can't be used out of the split: Part(examples, usable_indices)"
        )

    return checked


def _whole_weights(weights: Weights) -> Weights:
    @wraps(weights)
    def checked(self: Examples, weigh: Callable[[Tensor], Tensor]) -> Tensor:
        return _of_each(self, weights(self, weigh), len(self))

    return checked


def _of_each(examples: Examples, weights: Tensor, count: int) -> Tensor:
    if not isinstance(weights, Tensor) or weights.shape != (count,):
        found = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
        raise WorkloadError(
            f"weights of {type(examples).__name__}: must be a tensor of one number per example, "
            f"shape ({count},); found {found}"
        )
    return weights


@dataclass(frozen=True, eq=False)
class Split(Examples):
    """Examples held in memory: tensors, or NumPy arrays, which share their first axis.

    inputs, targets -- each one of these, or several in dicts, tuples and lists. Without targets,
                       the inputs are both, as for a model that gives back what it is given
    """

    inputs: Nested
    targets: Nested = None

    def __post_init__(self) -> None:
        both = self.targets is None or self.targets is self.inputs
        object.__setattr__(self, "inputs", _as_tensors("inputs", self.inputs))
        targets = self.inputs if both else _as_tensors("targets", self.targets)
        object.__setattr__(self, "targets", targets)
        count = len(self)
        if not (count and is_of_rows(self.inputs, count) and is_of_rows(self.targets, count)):
            raise WorkloadError(
                "a split needs as many inputs as targets, and at least one; found inputs "
                f"{describe_nested(self.inputs)} and targets {describe_nested(self.targets)}"
            )

    @property
    def indexed_on(self) -> torch.device:
        inputs = self.inputs
        return inputs.device if isinstance(inputs, Tensor) else tensors_in(inputs)[0].device

    def __len__(self) -> int:
        inputs = self.inputs
        # Asked for at every look: len() takes ten times as long.
        first = inputs if isinstance(inputs, Tensor) else tensors_in(inputs)[0]
        return first.shape[0] if first.ndim else 0

    def batch(self, indices: Tensor, seed: int | None = None) -> Batch:
        return Batch(self.inputs, self.targets).map(lambda t: t.index_select(0, indices))

    def to(self, device: torch.device) -> "Split":
        return Split(*Batch(self.inputs, self.targets).map(lambda t: t.to(device)))

    def describe(self) -> dict[str, Any]:
        digest = blake2b(digest_size=8)
        for tensor in Batch(self.inputs, self.targets).tensors:
            digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return {
            "examples": len(self),
            "input_shape": _shapes(self.inputs),
            "target_shape": _shapes(self.targets),
            "checksum": digest.hexdigest(),
        }


def _as_tensors(name: str, nested: Nested) -> Nested:
    """The same with tensors in place of NumPy arrays."""
    found = pytree.tree_map_only(np.ndarray, torch.from_numpy, nested)
    if not tensors_in(found):
        raise WorkloadError(
            f"a split's {name} must be a tensor or a NumPy array with an example in every row, or "
            f"several of them in a dict, tuple or list; found {describe_nested(nested)}"
        )
    return found


def _shapes(nested: Nested) -> Any:
    """An example's shape, or of several tensors those by where they are."""
    if isinstance(nested, Tensor):
        return list(nested.shape[1:])
    leaves = pytree.tree_leaves_with_path(nested)
    return {pytree.keystr(path): _shapes(leaf) for path, leaf in leaves if leaf is not None}


@dataclass(frozen=True, eq=False)
class Part(Examples):
    """Those of other examples that stand at `indices` (int64, shape [n], where `whole` wants its
    indices), in that order: a subset, or one side of a split."""

    whole: Examples
    indices: Tensor

    def __post_init__(self) -> None:
        found, size = self.indices, len(self.whole)
        if found.dtype != torch.int64 or found.ndim != 1 or not len(found):
            raise WorkloadError(
                "the indices of a Part must be int64 of shape (n,), one or more (of a mask: "
                f"mask.nonzero().flatten()); found {found.dtype} of shape {tuple(found.shape)}"
            )
        least, most = (int(end) for end in found.aminmax())
        if least < 0 or most >= size:
            raise WorkloadError(
                f"the indices of a Part of {size:,} examples must be 0 to {size - 1:,}; "
                f"found {least if least < 0 else most:,}"
            )

    @property
    def ahead(self) -> int:  # type: ignore[override]
        return self.whole.ahead

    @property
    def indexed_on(self) -> torch.device:
        return self.whole.indexed_on

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Tensor, seed: int | None = None) -> Batch:
        found: Batch = self.whole.batch(self.indices[indices], seed)
        return found

    def to(self, device: torch.device) -> "Part":
        whole = self.whole.to(device)
        return Part(whole, self.indices.to(whole.indexed_on))

    def describe(self) -> dict[str, Any]:
        digest = blake2b(self.indices.cpu().contiguous().numpy().data, digest_size=8)
        return {**self.whole.describe(), "examples": len(self), "of_these": digest.hexdigest()}


def is_in_memory(examples: Examples) -> bool:
    """Whether these are a `Split`, or a `Part` of one: rows of its tensors, each of which is the
    same whatever it is gathered with, and for whom."""
    if type(examples) is Part:
        return is_in_memory(examples.whole)
    return type(examples) is Split


@dataclass(frozen=True)
class Splits:
    """A data set as the paper splits it: to train on, to stop by, and to report once."""

    train: Examples
    validation: Examples
    test: Examples | None = None

    def __post_init__(self) -> None:
        for name, split in self.named():
            if not isinstance(split, Examples):
                raise WorkloadError(
                    f"Splits({name}=...) must be a Split, a Part or another Examples; "
                    f"found {type(split).__name__}"
                )

    def named(self) -> Iterator[tuple[str, Examples]]:
        """The splits that there are, by name."""
        yield "train", self.train
        yield "validation", self.validation
        if self.test is not None:
            yield "test", self.test

    def to(self, device: torch.device) -> "Splits":
        """The same splits on `device`."""
        return Splits(**{name: split.to(device) for name, split in self.named()})


def describe_data(splits: Splits) -> dict[str, Any]:
    """The sizes, shapes and checksums of a data set's splits."""
    return {name: split.describe() for name, split in splits.named()}
