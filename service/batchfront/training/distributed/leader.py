"""A trial on several devices, as the leader has it: like any other, but for how it advances."""

import weakref
from itertools import count
from threading import Event
from time import perf_counter
from typing import Any

import torch

from batchfront.training.distributed.follower_processes import FollowerPool, Followers
from batchfront.training.distributed.gradient import SharedGradient
from batchfront.training.distributed.messages import AddUp, Advance, Make, Settle, packed
from batchfront.training.distributed.process_group import LONGEST_SECONDS
from batchfront.training.model_run import ModelRun

_SLOWER = 20.0

_keys = count()


class LeaderRun(ModelRun):
    """The leader's part of a trial, which tells the others theirs.

    All that the others have of it they get from here when it advances first: so it goes on with
    new ones when they have failed, and its state is the same on any number of devices.

    burst_seconds -- of steps that followers are told at once: a stop waits for them
    patience      -- followers that take longer than so many seconds, and than many times as long
                     as before, hang
    """

    burst_seconds = 0.3
    patience = 60.0

    def __init__(self, pool: FollowerPool, *arguments: Any) -> None:
        super().__init__(*arguments)
        if self.alone.whole_batches:  # before followers are started for nothing, trial after trial
            raise self.alone.cannot_split(f"{len(pool.devices)} devices share every batch")
        self._pool = pool
        self._followers: Followers | None = None
        self._shared: SharedGradient | None = None
        self._seconds: float | None = None  # of a step
        self._key = -1

    def advance(self, to_step: int, stop: Event | None = None) -> bool:
        while self.step < to_step and not (stop is not None and stop.is_set()):
            followers = self._pool.start(stop)
            if followers is None:
                return False
            if followers is not self._followers:
                self._join(followers)
            self._advance_together(followers, to_step, stop)
        return self.step >= to_step

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._followers = None

    def all_reduce_seconds(self, times: int) -> float:
        """How long the devices take to add up a gradient, with nothing going on beside it: the mean
        of so many times. It has to have advanced before."""
        followers, shared = self._followers, self._shared
        assert followers is not None
        assert shared is not None
        with self._pool.leading(followers, LONGEST_SECONDS):
            self._pool.tell(followers, AddUp(self._key, times))
            shared.add_up_alone()  # when all are there
            self._wait_for_device()
            began = perf_counter()
            for _ in range(times):
                shared.add_up_alone()
            self._wait_for_device()
        return (perf_counter() - began) / times

    def _join(self, followers: Followers) -> None:
        key, state = next(_keys), packed(self._own_state()) if self.step else None
        make = Make(key, self.batch_size, dict(self.values), self.seed, state)
        with self._pool.leading(followers, LONGEST_SECONDS):
            self._pool.tell(followers, make)
            self.gradient = self._shared = SharedGradient(self.alone, followers.group)
        self._followers, self._key, self._seconds = followers, key, None
        weakref.finalize(self, self._pool.drop, key).atexit = False

    def _advance_together(self, followers: Followers, to_step: int, stop: Event | None) -> None:
        """In bursts: between two of them `stop` may be set."""
        pool, known, first = self._pool, self._seconds, self.step
        all_began, spent = perf_counter(), self.cost.training_seconds
        with self.gradient.prefetch(self.order, self.step, to_step):
            while self.step < to_step and not (stop is not None and stop.is_set()):
                steps = 1 if known is None else max(int(self.burst_seconds / max(known, 1e-6)), 1)
                until = min(to_step, self.step + steps)
                expected = None if known is None else (until - self.step) * known
                began, before = perf_counter(), self.step
                with pool.leading(followers, self._limit(expected)):
                    pool.tell(followers, Advance(self._key, until, to_step))
                    super().advance(until)
                    self._wait_for_device()
                known = self._seconds = (perf_counter() - began) / (until - before)
        if self.step == first:  # ranks that have computed nothing have no means to bring together
            return
        with pool.leading(followers, self._limit(None)):
            pool.tell(followers, Settle(self._key))
            if self._shared is not None:
                self._shared.settle()
            self._wait_for_device()
        # To tell the others what to do takes its time too.
        self.cost.training_seconds = spent + perf_counter() - all_began

    def _wait_for_device(self) -> None:
        """Or what comes next would, without being watched: a kernel of NCCL's waits for ever."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _limit(self, expected: float | None) -> float:
        return LONGEST_SECONDS if expected is None else max(self.patience, _SLOWER * expected)
