"""Sentences as subwords, read from a memory-mapped file as they are asked for."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from batchfront.errors import DataError
from batchfront.workload.data import Examples
from batchfront.workload.metrics import NO_TARGET, token_count
from batchfront_studies.datasets.cache import kept
from batchfront_studies.datasets.vocabulary import BOUNDARY, Vocabulary

_AT_ONCE = 4096  # sentences encoded at once: some megabytes

_MULTIPLE = 8  # of which a batch's length is one: fewer shapes, and those that devices like

_TOKENS, _OFFSETS, _ABOUT = "tokens.uint16", "offsets.int64", "about.json"


@dataclass(frozen=True, eq=False)
class Sentences(Examples):
    """Sentences to be predicted token by token, each by itself.

    tokens  -- uint16, [all tokens]: of each sentence its tokens, then BOUNDARY, cut where it is
               longer than the longest allowed
    offsets -- int64, [sentences + 1]: where each begins in `tokens`
    about   -- what `describe` gives

    The files are read where a batch needs them, on the CPU, and what is read stays in the
    system's page cache, shared by all processes of a machine.
    """

    tokens: NDArray[np.uint16]
    offsets: NDArray[np.int64]
    about: Mapping[str, Any]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def ahead(self) -> int:  # type: ignore[override]
        return 0 if self.device.type == "cpu" else 2

    @property
    def indexed_on(self) -> torch.device:
        return torch.device("cpu")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
        """Inputs and targets, both int64 of shape [n, length].

        Targets are the tokens of a sentence and its end, then NO_TARGET; inputs the same one
        place later, after BOUNDARY. The length is that of the longest sentence, rounded up to
        a multiple of 8, but no more than a sentence may have: a model may end there.
        """
        wanted = indices.numpy()
        starts = self.offsets[wanted]
        lengths = self.offsets[wanted + 1] - starts
        length = -(-int(lengths.max()) // _MULTIPLE) * _MULTIPLE
        length = min(length, int(self.about["longest"]))
        places = np.arange(length)
        there = places < lengths[:, None]  # [n, length]
        targets = np.full(there.shape, NO_TARGET, dtype=np.int64)
        targets[there] = self.tokens[(starts[:, None] + places)[there]]
        inputs = np.full_like(targets, BOUNDARY)
        inputs[:, 1:][there[:, 1:]] = targets[:, :-1][there[:, 1:]]
        return self._there(inputs), self._there(targets)

    def _there(self, numbers: NDArray[np.int64]) -> Tensor:
        tensor = torch.from_numpy(numbers)
        if self.device.type == "cpu":
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def to(self, device: torch.device) -> "Sentences":
        return replace(self, device=device)

    def describe(self) -> dict[str, Any]:
        return dict(self.about)

    def weights(self, weigh: Callable[[Tensor], Tensor]) -> Tensor:
        if weigh is not token_count:
            return super().weights(weigh)
        return torch.from_numpy(np.diff(self.offsets)).to(torch.float64)


def encoded(
    name: str,
    of: Any,
    texts: Callable[[], Iterable[str]],
    vocabulary: Vocabulary,
    longest: int,
) -> Sentences:
    """The sentences of `texts()`, encoded once in bounded memory and kept.

    name    -- of the split, for a person and as the first part of the kept folder's name
    of      -- what the texts are, as JSON can say it
    longest -- tokens of a sentence after which it is cut, its end included
    """
    made_of = {"format": 1, "vocabulary": vocabulary.digest, "longest": longest, "texts": of}
    folder = kept(name, made_of, lambda folder: _write(folder, name, texts(), vocabulary, longest))
    about = json.loads((folder / _ABOUT).read_text())
    return Sentences(
        np.memmap(folder / _TOKENS, dtype=np.uint16, mode="r"),
        np.memmap(folder / _OFFSETS, dtype=np.int64, mode="r"),
        about,
    )


def _write(
    folder: Path, name: str, texts: Iterable[str], vocabulary: Vocabulary, longest: int
) -> None:
    end, count, cut = 0, 0, 0
    of_tokens, of_lengths = blake2b(digest_size=8), blake2b(digest_size=8)
    with (folder / _TOKENS).open("wb") as tokens, (folder / _OFFSETS).open("wb") as offsets:
        offsets.write(np.zeros(1, dtype=np.int64).tobytes())
        rest = iter(texts)
        while some := list(islice(rest, _AT_ONCE)):
            whole = [[*found, BOUNDARY] for found in vocabulary.encode(some)]
            fit = [found[:longest] for found in whole]
            lengths = np.fromiter(map(len, fit), dtype=np.int64, count=len(fit))
            flat = np.fromiter(chain.from_iterable(fit), dtype=np.uint16, count=lengths.sum())
            tokens.write(flat.data)
            offsets.write((end + lengths.cumsum()).data)
            of_tokens.update(flat.data)
            of_lengths.update(lengths.data)
            end, count = end + len(flat), count + len(fit)
            cut += sum(len(found) > longest for found in whole)
    if not count:
        raise DataError(f"{name}: there is no sentence in its files")
    checksum = blake2b(of_tokens.digest() + of_lengths.digest(), digest_size=8).hexdigest()
    about = {
        "examples": count,
        "tokens": end,
        "longest": longest,
        "cut": cut,
        "vocabulary": len(vocabulary),
        "checksum": checksum,
    }
    (folder / _ABOUT).write_text(json.dumps(about))
