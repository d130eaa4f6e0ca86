"""Does a split give the same examples whenever, by whomever and beside whatever they are asked for?

What a trial is trained on must depend on the seed and the index alone: batches are loaded by
threads, cut into micro-batches, and gathered for other trials in between.
"""

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from time import perf_counter, sleep
from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchfront.errors import WorkloadError
from batchfront.training.generators import drawn_since, states
from batchfront.training.preflight.wording import naming
from batchfront.workload.data import Batch, Examples, Part, Splits, is_in_memory
from batchfront.workload.datasets import DatasetExamples
from batchfront.workload.metrics import Metric
from batchfront.workload.workload import Workload

_CPU = torch.device("cpu")

_BATCHES, _SIZE = 24, 8

_SECONDS = 0.3
"""After which no more batches are asked for: of examples that take long, fewer are compared."""

_THREADS = 2

_THREADED_SECONDS = 2.0
"""The same for the batches that two threads ask for: between any two lines the other goes on."""

_PAUSE = 1e-6  # seconds

_ROUNDED = 1e-5  # of the largest number: what the company changes by rounding

_BY_SEED = (
    "draw for each example by torch.Generator().manual_seed(hash((seed, index))), with index a "
    "number of indices.tolist()"
)

_BY_GLOBALS = (
    "a data set, its transforms and augment may draw from torch's, NumPy's and Python's global "
    "generators alone, which are seeded for each example, and collate from none"
)


def check_examples(workload: Workload, splits: Splits) -> None:
    """Raise WorkloadError if a split's examples depend on more than their index and the seed."""
    compared: list[tuple[str, Examples, int | None, _Known]] = []
    for name, split in splits.named():
        if not is_in_memory(split):
            for seed in (None, 1, 2) if name == "train" else (None,):
                asked = f"{workload.name}: the {name} split's batch(indices, seed={seed})"
                what = f"the {name} split of {len(split):,} examples can't be read"
                with naming(workload, what):
                    compared.append(
                        (asked, split, seed, _compare(asked, split.decoded_anew(), seed))
                    )
    for asked, split, seed, known in compared:
        _refuse_changed(asked, split.decoded_anew(), seed, known)
    _check_weights(workload, splits)


@contextmanager
def left_alone(workload: Workload, splits: Splits) -> Iterator[None]:
    """Raise WorkloadError if, in the block, something has changed the examples that a split holds:
    what all trials are then given."""
    firsts = [_first(split) for _, split in splits.named()]
    before = [first.map(torch.clone) for first in firsts]
    try:
        yield
    finally:  # which explains what else was found
        for (name, split), held in zip(splits.named(), before, strict=True):
            if not _same(held, _first(split)):
                raise WorkloadError(
                    f"{workload.name}: model, loss or metric change the {name} split's examples, "
                    "which all trials share: its batch() hands out the tensors that it holds; "
                    "return copies, or change copies"
                )


def _first(split: Examples) -> Batch:
    found: Batch = split.batch(torch.arange(min(_SIZE, len(split)), device=split.indexed_on))
    return found


_Known = Sequence[tuple[Tensor, Batch]]
"""Indices that were asked for, and copies of what they gave."""


def _compare(asked: str, split: Examples, seed: int | None) -> _Known:
    known: list[tuple[Tensor, Batch]] = []
    until = perf_counter() + _SECONDS
    shared: set[str] = set()
    for number, indices in enumerate(_batches(split)):
        _set_generators(2 * number)  # each time others: what is seldom drawn is else never seen
        before = states(_CPU)
        first = split.batch(indices, seed)
        drawn = drawn_since(before, _CPU)
        shared.update(drawn)
        _set_generators(2 * number + 1)
        if not _same(first, split.batch(indices, seed)):
            by = f", by {' and '.join(drawn)}'s global generator" if drawn else ""
            how = f"; {_how(split, seed) or 'where seed is None, nothing may be drawn'}"
            raise WorkloadError(f"{asked} gives other examples when it is asked again{by}{how}")
        _refuse_company(asked, split, seed, indices, first)
        known.append((indices, first.map(torch.clone)))
        if perf_counter() > until:
            break
    if _is_threaded(split):
        if shared:
            raise WorkloadError(
                f"{asked} draws from {' and '.join(sorted(shared))}'s global generator, which "
                f"threads that load ahead share; {_how(split, seed) or _BY_SEED}, or leave "
                "ahead at 0"
            )
        _refuse_threads(asked, split, seed, known)
    return known


def _refuse_changed(asked: str, split: Examples, seed: int | None, known: _Known) -> None:
    """Ask again, now that others have been asked for."""
    until = perf_counter() + _SECONDS
    for indices, first in known:
        if not _same(first, split.batch(indices, seed)):
            raise WorkloadError(
                f"{asked} gives other examples after some have been asked for with other seeds: "
                "something changes them in place where they are kept; change a copy (x.clone(), "
                "x.copy())"
            )
        if perf_counter() > until:
            return


def _how(split: Examples, seed: int | None) -> str:
    """How to draw what may be drawn."""
    while isinstance(split, Part):
        split = split.whole
    if isinstance(split, DatasetExamples):
        return _BY_GLOBALS
    return "" if seed is None else _BY_SEED


def _batches(split: Examples) -> Iterator[Tensor]:
    """From all over a split, its first and its last example first of all."""
    count = len(split)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    ends = torch.tensor([0, count - 1][: min(count, 2)])
    chosen = torch.cat([ends, order[(order > 0) & (order < count - 1)]])[: _BATCHES * _SIZE]
    yield from chosen.to(split.indexed_on).split(_SIZE)  # type: ignore[no-untyped-call]


def _refuse_company(
    asked: str, split: Examples, seed: int | None, indices: Tensor, first: Batch
) -> None:
    rows = torch.arange(len(indices)).flip(0)[::2]
    other = split.batch(indices[rows.to(indices.device)], seed)
    for one, found in zip(first.at(rows).tensors, other.tensors, strict=True):
        if not _alike(one, found):
            how = _how(split, seed)
            raise WorkloadError(
                f"{asked} gives an example otherwise in another order, or beside other examples; "
                f"it must depend on its index alone{' and the seed' * (seed is not None)}"
                f"{f'; {how}' if how else ''}"
            )


def _refuse_threads(asked: str, split: Examples, seed: int | None, known: _Known) -> None:
    barrier = Barrier(_THREADS)

    def give_way(*_: object) -> Any:
        sleep(_PAUSE)  # so that the other thread comes in between any two lines of a batch
        return give_way

    def ask(backwards: int) -> bool:
        barrier.wait()
        sys.settrace(give_way)
        try:
            order = known[:: -1 if backwards else 1]
            until = perf_counter() + _THREADED_SECONDS
            for indices, first in order:
                if not _same(first, split.batch(indices, seed)):
                    return False
                if perf_counter() > until:
                    break
            return True
        except Exception:  # alone it had none
            return False
        finally:
            sys.settrace(None)

    with ThreadPoolExecutor(_THREADS) as pool:
        same = list(pool.map(ask, range(_THREADS)))
    if not all(same):
        raise WorkloadError(
            f"{asked} gives other examples when two threads ask at once; share nothing between "
            f"calls ({_how(split, seed) or _BY_SEED}), or leave ahead at 0"
        )


def _is_threaded(split: Examples) -> bool:
    """Whether threads load it, on this device or perhaps on another."""
    while isinstance(split, Part):
        split = split.whole
    if isinstance(split, DatasetExamples):  # of which a user's is what collates: the rest is ours
        return bool(split.ahead) and split.collates
    return bool(split.ahead) or isinstance(getattr(type(split), "ahead", 0), property)


def _check_weights(workload: Workload, splits: Splits) -> None:
    metric = workload.goal.computed
    if not isinstance(metric, Metric) or metric.weight is None:
        return
    split, weigh = splits.validation, metric.weight
    some = torch.arange(min(len(split), _SIZE), device=split.indexed_on)
    with naming(workload, f"the weights of {metric.name} can't be had"):
        every = split.weights(weigh)
        wanted = weigh(split.batch(some).targets)
        if not torch.allclose(every[: len(some)].to(wanted), wanted):
            raise WorkloadError(
                f"{workload.name}: {type(split).__name__}.weights() gives other weights than "
                f"those of the targets that batch() gives, {wanted.tolist()}"
            )


def _same(first: Batch, second: Batch) -> bool:
    return all(
        a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())
        for a, b in zip(first.tensors, second.tensors, strict=True)
    )


def _alike(first: Tensor, second: Tensor) -> bool:
    """Up to rounding, and up to how far they are padded: at the end, or at the beginning."""
    if first.ndim != second.ndim:
        return False
    sizes = [min(a, b) for a, b in zip(first.shape, second.shape, strict=True)]
    if first.dtype == torch.bool or not first.is_floating_point():
        close: Callable[[Tensor, Tensor], bool] = torch.equal
    else:
        least = _ROUNDED * float(
            first.nan_to_num(0.0, 0.0, 0.0).abs().max() if first.numel() else 0
        )
        close = lambda a, b: torch.allclose(a, b, rtol=_ROUNDED, atol=least, equal_nan=True)  # noqa: E731
    ends = [
        tuple(slice(0, s) for s in sizes),
        tuple(slice(-s, None) if s else slice(0) for s in sizes),
    ]
    return any(close(first[end], second[end]) for end in ends)


def _set_generators(seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
