"""Data sets: examples gathered by index, wherever they are kept."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from service.errors import WorkloadError

_CHUNK = 1024


class Examples(ABC):
    """The examples of one split.

    What is small lies in memory (`Split`); what is not, a subclass of this reads, decodes or
    tokenizes when it is asked for.

    indexed_on -- the device on which `batch` wants its indices
    ahead      -- how many passes are worth loading while others are trained on; 0: a batch is
                  there at once
    """

    ahead: int = 0

    @property
    @abstractmethod
    def indexed_on(self) -> torch.device: ...

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the examples at `indices` (int64, shape [n]), in that order.

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
            known[weigh] = torch.cat([weigh(self.batch(part)[1]) for part in indices])
        return known[weigh]


@dataclass(frozen=True, eq=False)
class Split(Examples):
    """Examples held in memory. `inputs` and `targets` share their first axis."""

    inputs: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
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


@dataclass(frozen=True)
class Splits:
    """A data set as the paper splits it: to train on, to stop by, and to report once."""

    train: Examples
    validation: Examples
    test: Examples | None = None

    def named(self) -> Iterator[tuple[str, Examples]]:
        """The splits that there are, by name."""
        yield "train", self.train
        yield "validation", self.validation
        if self.test is not None:
            yield "test", self.test

    def to(self, device: torch.device) -> "Splits":
        """The same splits on `device`."""
        return Splits(**{name: split.to(device) for name, split in self.named()})
