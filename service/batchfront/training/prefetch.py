"""Batches that are loaded in the background, before they are asked for."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from batchfront.phase_timer import timed_as
from batchfront.workload.data import Batch, Examples

Request = tuple[Tensor, int | None]
"""Indices and seed: what `Examples.batch` takes."""


class Prefetch:
    """While one batch is computed with, the next `examples.ahead` are loaded by threads.

    They are the same batches as without, in the same order; what is planned and not asked for is
    only lost time. An error is raised by `batch` where the batch that it is of is asked for. After
    `close` no thread is left.

    plan -- gives the requests to come from a place on: a step, or a position
    """

    def __init__(self, examples: Examples, plan: Callable[[int], Iterator[Request]]) -> None:
        self._examples, self._plan = examples, plan
        self._pool = ThreadPoolExecutor(max(examples.ahead, 1), thread_name_prefix="load")
        self._requests: Iterator[Request] = iter(())
        self._loading: deque[tuple[Request, Future[Batch]]] = deque()

    def close(self) -> None:
        """Load no more, and wait for the threads to end."""
        self._pool.shutdown(cancel_futures=True)

    def batch(self, indices: Tensor, seed: int | None, place: int) -> Batch:
        """`examples.batch(indices, seed)`. What was not expected is planned anew from `place`."""
        if not self._expected(indices, seed):
            self._plan_from(place)
            if not self._expected(indices, seed):
                found: Batch = self._examples.batch(indices, seed)
                return found
        _, future = self._loading.popleft()
        self._load()
        if future.done():
            return future.result()
        with timed_as("data"):
            return future.result()

    def _expected(self, indices: Tensor, seed: int | None) -> bool:
        if not self._loading:
            return False
        (planned, planned_seed), _ = self._loading[0]
        return planned_seed == seed and torch.equal(planned, indices)

    def _plan_from(self, place: int) -> None:
        while self._loading:
            self._loading.pop()[1].cancel()
        self._requests = self._plan(place)
        self._load()

    def _load(self) -> None:
        """Have as many loaded as there are threads."""
        while len(self._loading) < self._examples.ahead:
            request = next(self._requests, None)
            if request is None:
                return
            self._loading.append((request, self._pool.submit(self._examples.batch, *request)))
