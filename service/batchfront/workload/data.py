"""Data sets: examples gathered by index, wherever they are kept."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn

from batchfront.errors import WorkloadError


def describe_model(model: nn.Module) -> dict[str, Any]:
    """A model's layers, as torch prints them, and its parameters by shape."""
    return {
        "layers": str(model),
        "parameters": {name: list(p.shape) for name, p in model.named_parameters()},
    }


_CHUNK = 1024


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
    def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the examples at `indices` (int64, shape [n]), in that order: n of
        each.

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


Batch = Callable[..., tuple[Tensor, Tensor]]

Weights = Callable[..., Tensor]


def _whole_batch(batch: Batch) -> Batch:
    """`batch`, which refuses to give more or fewer examples than it was asked for."""

    @wraps(batch)
    def checked(self: Examples, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
        found = batch(self, indices, seed)
        count = indices.shape[0]
        try:
            inputs, targets = found
            whole = inputs.shape[0] == count == targets.shape[0]
        except (AttributeError, IndexError, TypeError, ValueError):
            raise WorkloadError(
                f"{type(self).__name__}.batch() must return two tensors, inputs and targets, each "
                f"with an example in every row; returned {_kinds(found)}"
            ) from None
        if not whole:
            raise WorkloadError(
                f"{type(self).__name__}.batch() gave {len(inputs)} inputs and {len(targets)} "
                f"targets for {count} indices, and must give one example for each; leave what "
                "can't be used out of the split: Part(examples, usable_indices)"
            )
        return inputs, targets

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


def _kinds(found: object) -> str:
    """What a batch was given as, in a few words."""
    if not isinstance(found, tuple | list):
        return type(found).__name__
    return f"{type(found).__name__} of ({', '.join(type(one).__name__ for one in found)})"


@dataclass(frozen=True, eq=False)
class Split(Examples):
    """Examples held in memory. `inputs` and `targets` share their first axis."""

    inputs: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        if not isinstance(self.inputs, Tensor) or not isinstance(self.targets, Tensor):
            raise WorkloadError(
                f"a split takes two tensors; found {_kinds((self.inputs, self.targets))} (of NumPy "
                "arrays: torch.from_numpy; of several inputs, an Examples gives one tensor)"
            )
        if len(self.inputs) != len(self.targets) or not len(self.inputs):
            raise WorkloadError(
                "a split needs as many inputs as targets, and at least one; "
                f"found {len(self.inputs)} and {len(self.targets)}"
            )

    @property
    def indexed_on(self) -> torch.device:
        return self.inputs.device

    def __len__(self) -> int:
        return self.inputs.shape[0]  # asked for at every look: len() takes ten times as long

    def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
        return self.inputs.index_select(0, indices), self.targets.index_select(0, indices)

    def to(self, device: torch.device) -> "Split":
        return Split(self.inputs.to(device), self.targets.to(device))

    def describe(self) -> dict[str, Any]:
        digest = blake2b(digest_size=8)
        for tensor in (self.inputs, self.targets):
            digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return {
            "examples": len(self),
            "input_shape": list(self.inputs.shape[1:]),
            "target_shape": list(self.targets.shape[1:]),
            "checksum": digest.hexdigest(),
        }


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

    def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
        return self.whole.batch(self.indices[indices], seed)

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
