"""Data sets that are more than two tensors."""

from typing import Any

import torch
from torch import Tensor, nn

from batchfront import Examples, Part, Splits
from batchfront.workload.seeds import mix
from tests.zoo.cases import Case, Stacks, apart, plain, points


class Gathered(Examples):
    """Examples in memory, by a class of the user's own."""

    indexed_on = torch.device("cpu")

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> "Gathered":
        return self

    def describe(self) -> dict[str, Any]:
        return {"examples": len(self)}

    def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
        return self.inputs[indices], self.targets[indices]


class Augmented(Gathered):
    """Noise on every example, by the seed and the example's index."""

    def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
        inputs, targets = self.inputs[indices].clone(), self.targets[indices]
        if seed is not None:
            for row, index in enumerate(indices.tolist()):
                if self._is_augmented(int(targets[row])):
                    generator = torch.Generator().manual_seed(mix(seed, index))
                    inputs[row] += 0.5 * torch.randn(8, generator=generator)
        return inputs, targets

    def _is_augmented(self, target: int) -> bool:
        return True


class AugmentedMinority(Augmented):
    """Noise on the examples of one class alone, which stand last in the file."""

    def _is_augmented(self, target: int) -> bool:
        return target == 2


class Padded(Gathered):
    """Sentences as long as the longest that they are gathered with."""

    def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
        inputs, targets = super().batch(indices)
        return inputs[:, : int((inputs > 0).sum(1).max())], targets


class Loaded(Gathered):
    """Read by other threads while a step is computed."""

    ahead = 2


class MeanOverLength(nn.Module):
    """The mean over a sentence with its padding, so that the padding counts."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 8), nn.Linear(8, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        y: Tensor = self.head(self.embedding(tokens).mean(1))
        return y


def _with(kind: type[Gathered], *, sort: bool = False) -> Splits:
    inputs, targets = points(480)
    plainly = apart(inputs, targets)
    order = targets[:360].argsort(stable=True) if sort else torch.arange(360)
    return Splits(kind(inputs[:360][order], targets[:360][order]), plainly.validation)


def _sentences() -> Splits:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 20, (240, 12), generator=generator)
    lengths = torch.randint(3, 13, (240,), generator=generator)
    tokens[torch.arange(12)[None] >= lengths[:, None]] = 0
    targets = (tokens[:, 0] > 9).long()
    return Splits(Padded(tokens[:180], targets[:180]), Padded(tokens[180:], targets[180:]))


def _half() -> Splits:
    whole = apart(*points())
    return Splits(Part(whole.train, torch.arange(0, 180, 2)), whole.validation)


def _data(name: str, data: Any, stacks: Stacks = "may", **more: Any) -> Case:
    parts = more.pop("parts", True)
    return Case(plain(name, data=data, **more), stacks, parts)


DATA = (
    _data("part", _half),
    _data("gathered", lambda: _with(Gathered)),
    _data("augmented", lambda: _with(Augmented)),
    _data("augmented_minority", lambda: _with(AugmentedMinority, sort=True)),
    _data("loaded_ahead", lambda: _with(Loaded), "never"),
    _data("padded_to_longest", _sentences, "never", model=MeanOverLength, parts=False),
)
