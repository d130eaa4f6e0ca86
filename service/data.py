"""Data sets in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from service.errors import WorkloadError


@dataclass(frozen=True)
class Split:
    """Examples held in memory, gathered by index. `inputs` and `targets` share their first axis."""

    inputs: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets) or not len(self.inputs):
            raise WorkloadError(
                "a split needs as many inputs as targets, and at least one; "
                f"found {len(self.inputs)} and {len(self.targets)}"
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The examples at `indices` (int64, shape [n]), in that order."""
        return self.inputs.index_select(0, indices), self.targets.index_select(0, indices)

    def to(self, device: torch.device) -> "Split":
        """The same examples on `device`."""
        return Split(self.inputs.to(device), self.targets.to(device))

    def describe(self) -> dict[str, Any]:
        """Sizes and a checksum of the contents, for a study's identity."""
        digest = blake2b(digest_size=8)
        for tensor in (self.inputs, self.targets):
            digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return {
            "examples": len(self),
            "input_shape": list(self.inputs.shape[1:]),
            "target_shape": list(self.targets.shape[1:]),
            "checksum": digest.hexdigest(),
        }


@dataclass(frozen=True)
class Splits:
    """A data set as the paper splits it: to train on, to stop by, and to report once."""

    train: Split
    validation: Split
    test: Split | None = None

    def named(self) -> Iterator[tuple[str, Split]]:
        """The splits that there are, by name."""
        yield "train", self.train
        yield "validation", self.validation
        if self.test is not None:
            yield "test", self.test

    def to(self, device: torch.device) -> "Splits":
        """The same splits on `device`."""
        return Splits(**{name: split.to(device) for name, split in self.named()})
