"""The processes that follow a worker's: how the leader starts, watches and ends them."""

import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from threading import Event, Thread
from time import monotonic

import torch

from batchfront.errors import FollowerFailed
from batchfront.training.distributed.messages import (
    Command,
    Drop,
    Failed,
    Meet,
    Ready,
    Report,
    Task,
)
from batchfront.training.distributed.process_group import LONGEST_SECONDS, ProcessGroup, rendezvous
from batchfront.training.memory import MicroBatchSizes, is_lost_device, is_out_of_memory
from batchfront.workload.source import files_digest

_ENDING_SECONDS = 3.0  # a process that was hung up on ends at once, unless it is frozen

_WATCH_SECONDS = 0.2  # between two times that all are asked whether they are alive

_LAST_WORDS_SECONDS = 1.0  # a connection closes a moment before it is known why


class FollowerProcess:
    """One follower, started with a task, which lives no longer than this process or until `end`."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.failed: Failed | None = None
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):  # whatever time-out some library has set for new sockets
            end.setblocking(True)
        with theirs:
            program = [sys.executable, "-P", "-m", "batchfront.training.distributed.follower"]
            self._process = subprocess.Popen(
                [*program, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is for the worker, which then tells these
                env=os.environ,
            )
        self._connection = Connection(ours.detach())
        self.ready = False
        self._connection.send(task)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def tell(self, command: Command) -> None:
        """Send a command. Raises OSError if the process is gone."""
        self._connection.send(command)

    def listen(self, seconds: float = 0.0) -> None:
        """Take in what it says in that time: `ready`, or `failed`."""
        try:
            while self.failed is None and self._connection.poll(seconds):
                report: Report = self._connection.recv()
                if isinstance(report, Ready):
                    self.ready = True
                    return
                self.failed = report
        except (EOFError, OSError):  # hung up without a word, or before its last
            self._process.wait(_ENDING_SECONDS)

    @property
    def trouble(self) -> str | None:
        """Why it is of no more use, in one line, or None if it is."""
        name = f"rank {self.task.rank} of {self.task.world}"
        if self.failed is not None:
            return f"{name}: {self.failed.reason}"
        code = self._process.poll()
        if code is None:
            return None
        return f"{name} ended with " + (f"signal {-code}" if code < 0 else f"exit code {code}")

    def kill(self) -> None:
        """End it at once, from any thread."""
        self._process.kill()

    def end(self) -> None:
        """Hang up, and wait until it has ended."""
        self._connection.close()
        try:
            self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Followers:
    """The followers from their meeting until one fails, or until `close`."""

    def __init__(self, processes: Sequence[FollowerProcess], device: torch.device) -> None:
        self._processes = processes
        self._deadline: float | None = None
        self._hung = False
        self._closed = Event()
        self.group = ProcessGroup(0, len(processes) + 1, device)
        self._watch = Thread(target=self._keep_watch, name="follower-watch", daemon=True)
        self._watch.start()
        with self.leading(LONGEST_SECONDS):
            store = rendezvous(self.group.world)
            self.tell(Meet(store.port))
            self.group.join(store)

    @property
    def closed(self) -> bool:
        """Whether it has ended, and another has to be made."""
        return self._closed.is_set()

    def tell(self, command: Command) -> None:
        """Tell every follower."""
        for process in self._processes:
            process.tell(command)

    @contextmanager
    def leading(self, seconds: float) -> Iterator[None]:
        """Do something together with the followers, which are not to take longer than that.

        Raises FollowerFailed if one of them dies, fails or hangs. Whatever is raised, all of
        them are ended: they may wait for each other at different places.
        """
        self._deadline = monotonic() + seconds
        try:
            yield
        except BaseException as error:
            self._deadline = None
            cause = self._cause_of(error)
            self.close()
            if cause is not None:
                raise FollowerFailed(cause) from error
            raise
        self._deadline = None

    def close(self) -> None:
        """End the followers."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._watch.join()
        for process in self._processes:
            process.end()
        self.group.leave()

    def learn(self, micro_batches: MicroBatchSizes) -> None:
        """Take over what followers that ran out of memory have found."""
        for process in self._processes:
            if process.failed is not None:
                for mine, theirs in (
                    (micro_batches.training, process.failed.micro_batches.training),
                    (micro_batches.evaluation, process.failed.micro_batches.evaluation),
                ):
                    found = [size.limit for size in (mine, theirs) if size.limit is not None]
                    mine.limit = min(found, default=None)

    def _cause_of(self, error: BaseException) -> str | None:
        """What a follower did that the leader's error comes from, if that is so."""
        if not isinstance(error, RuntimeError | OSError):
            return None
        if is_out_of_memory(error) or is_lost_device(error):
            return None
        until = monotonic() + _LAST_WORDS_SECONDS
        while monotonic() < until and not self._hung:
            for process in self._processes:
                process.listen(_WATCH_SECONDS / 4)
            # One that failed made others fail: its own words say more than theirs.
            told = [m for m in self._processes if m.failed is not None]
            dead = [m for m in self._processes if m.trouble is not None]
            if told or dead:
                return (told or dead)[0].trouble
        return "a follower hung, and all were ended" if self._hung else None

    def _keep_watch(self) -> None:
        while not self._closed.wait(_WATCH_SECONDS):
            deadline = self._deadline
            late = deadline is not None and monotonic() > deadline
            if late:
                self._hung = True
                for process in self._processes:
                    process.kill()
            if deadline is not None and any(m.trouble is not None for m in self._processes):
                self.group.abort()
                return


class FollowerPool:
    """The followers of a workload's trials: started when first needed, and again after a failure.

    devices -- one for each process; the first is this process's own
    source  -- the digest of the workload's code, which all must have: a file may be edited after
               this process has loaded it
    """

    def __init__(
        self,
        spec: str,
        goal: float | None,
        precision: str | None,
        devices: Sequence[torch.device],
        micro_batches: MicroBatchSizes,
        source: str | None = None,
    ) -> None:
        self._source, self._files = source, None if source is None else files_digest(spec)
        self._workload = (spec, goal, precision)
        self.devices, self._micro_batches = devices, micro_batches
        self._followers: Followers | None = None
        self._dropped: deque[int] = deque()

    @property
    def followers(self) -> Followers | None:
        """The followers that work now, if any do."""
        return None if self._followers is None or self._followers.closed else self._followers

    def start(self, stop: Event | None) -> Followers | None:
        """Give the followers that work now, or start new ones.

        Returns None if `stop` was set before they were there. Raises FollowerFailed if one can't be
        started.
        """
        if self.followers is not None:
            return self.followers
        self.close()
        processes = [FollowerProcess(task) for task in self._tasks()]
        try:
            there = self._await(processes, stop)
        except BaseException:
            _end(processes)
            raise
        if not there:
            _end(processes)
            return None
        self._dropped.clear()
        self._followers = Followers(processes, self.devices[0])
        return self._followers

    def drop(self, key: int) -> None:
        """Have the others forget a trial, when they are next told something."""
        self._dropped.append(key)

    def tell(self, followers: Followers, command: Command) -> None:
        """Tell every follower, and before that what to forget."""
        while self._dropped:
            followers.tell(Drop(self._dropped.popleft()))
        followers.tell(command)

    @contextmanager
    def leading(self, followers: Followers, seconds: float) -> Iterator[None]:
        """`Followers.leading`, and remember how much memory there turned out to be."""
        try:
            with followers.leading(seconds):
                yield
        except FollowerFailed:
            followers.learn(self._micro_batches)
            raise

    def close(self) -> None:
        """End the followers: `start` makes new ones."""
        if self._followers is not None:
            self._followers.close()
            self._followers = None

    def _tasks(self) -> list[Task]:
        world = len(self.devices)
        return [
            Task(
                *self._workload,
                str(device),
                rank,
                world,
                self._micro_batches,
                self._source,
                self._files,
            )
            for rank, device in enumerate(self.devices)
            if rank
        ]

    @staticmethod
    def _await(processes: Sequence[FollowerProcess], stop: Event | None) -> bool:
        for process in processes:
            while not process.ready:
                if stop is not None and stop.is_set():
                    return False
                process.listen(_WATCH_SECONDS)
                if process.trouble is not None:
                    raise FollowerFailed(process.trouble)
        return True


def _end(processes: Sequence[FollowerProcess]) -> None:
    for process in processes:
        process.end()
