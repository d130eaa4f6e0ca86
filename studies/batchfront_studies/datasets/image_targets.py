"""What is to be learnt of each image: its class, or the set of what it shows."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Tensor


class Targets(ABC):
    """The targets of the images of a split."""

    @abstractmethod
    def of(self, indices: Tensor, device: torch.device) -> Tensor:
        """Those at `indices` (int64, shape [n], on the CPU), on `device`."""

    @abstractmethod
    def checksum(self) -> str:
        """Tells them from others."""


@dataclass(frozen=True, eq=False)
class Classes(Targets):
    """One class an image: int64 [n]."""

    classes: Tensor

    def of(self, indices: Tensor, device: torch.device) -> Tensor:
        return self.classes[indices].to(device)

    def checksum(self) -> str:
        return _checksum(self.classes)


@dataclass(frozen=True, eq=False)
class LabelSets(Targets):
    """Any number of labels an image: given as bool [n, labels], kept as their numbers.

    starts -- int64 [images + 1]: those of image i are numbers `starts[i]` to `starts[i + 1] - 1`
    """

    starts: Tensor
    numbers: Tensor
    labels: int

    def of(self, indices: Tensor, device: torch.device) -> Tensor:
        first = self.starts[indices]
        counts = self.starts[indices + 1] - first
        rows = torch.repeat_interleave(torch.arange(len(indices)), counts)
        # Where each row's numbers begin, less how many numbers the rows before it have.
        offsets = first - (counts.cumsum(0) - counts)
        columns = self.numbers[torch.arange(len(rows)) + offsets[rows]].to(torch.int64)
        places = torch.stack([rows, columns]).to(device)
        found = torch.zeros(len(indices), self.labels, dtype=torch.bool, device=device)
        found[places[0], places[1]] = True
        return found

    def checksum(self) -> str:
        return _checksum(self.starts, self.numbers)


def _checksum(*tensors: Tensor) -> str:
    digest = blake2b(digest_size=8)
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()
