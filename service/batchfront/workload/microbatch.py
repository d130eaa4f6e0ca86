"""Which part of which batch is going through a model.

A batch may be computed in several micro-batches, on one device or on several, and is to stay one
batch. A layer whose work depends on where its examples stand in it learns that here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count


@dataclass(frozen=True)
class MicroBatch:
    """Examples `start .. stop - 1` of a batch of `batch_size`, on their way through the model.

    seed -- of the random numbers of this batch, the same for all of its micro-batches
    """

    start: int
    stop: int
    batch_size: int
    seed: int
    _draws: Iterator[int] = field(default_factory=count, repr=False, compare=False)

    def next_draw(self) -> int:
        """0, 1, 2, ... within a micro-batch: tells the layers that draw random numbers apart."""
        return next(self._draws)


_current: ContextVar[MicroBatch | None] = ContextVar("micro-batch", default=None)


def current_micro_batch() -> MicroBatch | None:
    """What is going through the model now; None outside of batchfront's training."""
    return _current.get()


@contextmanager
def computing(part: MicroBatch) -> Iterator[None]:
    """While the block runs, `part` goes through the model."""
    token = _current.set(part)
    try:
        yield
    finally:
        _current.reset(token)


_together: ContextVar[tuple[MicroBatch, ...]] = ContextVar("micro-batches together", default=())


def micro_batches_together() -> tuple[MicroBatch, ...]:
    """Of trials that go through the model as one, by `torch.vmap`: a micro-batch each."""
    return _together.get()


@contextmanager
def computing_together(parts: Sequence[MicroBatch]) -> Iterator[None]:
    """While the block runs, a micro-batch of each of several trials goes through the model."""
    token = _together.set(tuple(parts))
    try:
        yield
    finally:
        _together.reset(token)
