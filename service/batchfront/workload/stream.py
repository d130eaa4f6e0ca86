"""One long sequence of tokens, as examples: crops of it to train on, windows of it to evaluate."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from batchfront.errors import WorkloadError
from batchfront.workload.data import Batch, Examples, Part
from batchfront.workload.data_order import DataOrder, DrawnOrder

_CPU = torch.device("cpu")

_SUMMED = 1 << 26  # bytes of which the checksum is, at most

_BLOCKS = 64


@dataclass(frozen=True, eq=False)
class Stream(Examples):
    """The crops of a long sequence of tokens: inputs int64 [n, length], and as targets the token
    after each, of the same shape.

    tokens -- whole numbers, 1-D: a tensor; or a NumPy array, which may be mapped from a file
              (`np.memmap("train.bin", np.uint16, "r")`) and is then read as it is needed
    length -- of a crop
    device -- that batches are on. A tensor is moved there as a whole; of an array each batch is

    Example i starts at token i, so there are len(tokens) - length. Each step of training draws its
    crops at random, with replacement: the starts after `step` updates are
    `torch.randint(len(tokens) - length, (batch_size,), generator=g)`, of a generator seeded with
    `mix(SeedStream.ORDER.seed(trial), step)`. So there are no epochs; a schedule that goes by them
    is given as many examples as there are windows. A split that is evaluated is its `windows`.
    """

    tokens: Tensor | NDArray[Any]
    length: int
    device: torch.device = _CPU

    def __post_init__(self) -> None:
        tokens, length = self.tokens, self.length
        if isinstance(tokens, Tensor):
            whole = not (tokens.is_floating_point() or tokens.is_complex())
        else:
            whole = isinstance(tokens, np.ndarray) and tokens.dtype.kind in "iu"
        if not whole or tokens.ndim != 1:
            raise WorkloadError(
                "a Stream's tokens must be whole numbers in a 1-D tensor or NumPy array (of text: "
                "np.array(tokenizer.encode(text))); found " + _found(tokens)
            )
        if not isinstance(length, int) or isinstance(length, bool) or length < 1:
            raise WorkloadError(f"a Stream's length must be 1 token or more; found {length!r}")
        if len(tokens) <= length:
            raise WorkloadError(
                f"a Stream of length {length:,} needs {length + 1:,} tokens or more, as the last "
                f"one of a crop has a next; found {len(tokens):,}"
            )

    @property
    def indexed_on(self) -> torch.device:
        return self.tokens.device if isinstance(self.tokens, Tensor) else _CPU

    def __len__(self) -> int:
        return len(self.tokens) - self.length

    @property
    def per_epoch(self) -> int:
        return (len(self.tokens) - 1) // self.length

    def order(self, batch_size: int, seed: int) -> DataOrder:
        return DrawnOrder(len(self), batch_size, seed, self.indexed_on)

    def for_evaluation(self) -> Part:
        return self.windows()

    def windows(self) -> Part:
        """The crops that follow each other without overlapping, from the first token on: what is
        left over at the end isn't in them."""
        starts = torch.arange(0, len(self), self.length, device=self.indexed_on)
        return Part(self, starts)

    def batch(self, indices: Tensor, seed: int | None = None) -> Batch:
        if isinstance(self.tokens, Tensor):
            places = indices[:, None] + torch.arange(self.length + 1, device=indices.device)
            crops = self.tokens[places].long()
        else:
            crops_of = sliding_window_view(self.tokens, self.length + 1)
            read = crops_of[indices.numpy()].astype(np.int64)
            crops = torch.from_numpy(read).to(self.device)
        return Batch(crops[:, :-1].contiguous(), crops[:, 1:].contiguous())

    def to(self, device: torch.device) -> "Stream":
        tokens = self.tokens.to(device) if isinstance(self.tokens, Tensor) else self.tokens
        return Stream(tokens, self.length, device)

    def describe(self) -> dict[str, Any]:
        """How many crops, of what length, and a checksum of the tokens: of all that are up to 64
        MiB, and else of 64 pieces of 1 MiB, the first and the last among them."""
        kept = self.tokens.cpu().numpy() if isinstance(self.tokens, Tensor) else self.tokens
        digest = blake2b(digest_size=8)
        for piece in _pieces(kept):
            digest.update(np.ascontiguousarray(piece, dtype=piece.dtype.newbyteorder("<")).data)
        return {
            "examples": len(self),
            "length": self.length,
            "tokens": str(kept.dtype),
            "checksum": digest.hexdigest(),
        }


def _pieces(tokens: NDArray[Any]) -> list[NDArray[Any]]:
    if tokens.nbytes <= _SUMMED:
        return [tokens]
    size = _SUMMED // _BLOCKS // tokens.itemsize
    return [tokens[s : s + size] for s in np.linspace(0, len(tokens) - size, _BLOCKS).astype(int)]


def _found(tokens: object) -> str:
    if isinstance(tokens, Tensor | np.ndarray):
        return f"{str(tokens.dtype).removeprefix('torch.')} of shape {tuple(tokens.shape)}"
    return type(tokens).__name__
