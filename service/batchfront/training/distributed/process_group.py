"""All ranks of a worker's trials: their processes, and rank 0's place among them."""

import logging
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from socket import create_server
from threading import Event, Thread
from time import monotonic
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from batchfront.errors import RankFailed
from batchfront.training.distributed.messages import (
    Command,
    Drop,
    Failed,
    Meet,
    Ready,
    Report,
    Task,
)
from batchfront.training.memory import Passes, is_lost_device, is_out_of_memory

_ENDING_SECONDS = 3.0  # a process that was hung up on ends at once, unless it is frozen


class Member:
    """Started with a task; it lives no longer than this process, or than until `end`."""

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
                start_new_session=True,  # a Ctrl-C is for the worker, which then tells its ranks
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
        """Why it is of no more use, in one line; None if it is."""
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


LONGEST_SECONDS = 600.0
"""What ranks wait for each other at most: the first step may load, decode and compile."""


_HOST = "127.0.0.1"  # all ranks are on this machine, and nobody else is to reach them


_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


def meeting_point(world: int, port: int = 0) -> Any:
    """torch's store, at which so many ranks meet: a new one, whose `port` the others are told, or
    the one that listens there."""
    listening = None if port else create_server((_HOST, 0))  # torch's own would on every network
    return dist.TCPStore(  # type: ignore[attr-defined]
        _HOST,
        port if listening is None else listening.getsockname()[1],
        world,
        is_master=listening is not None,
        wait_for_workers=False,
        master_listen_fd=None if listening is None else listening.detach(),
    )


@dataclass(frozen=True)
class Team:
    """This process's place in torch's process group, of which a process has one at a time."""

    rank: int
    world: int
    device: torch.device

    def join(self, store: Any) -> None:
        """Meet the others, who all do this at the same time, at `store`."""
        for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(variable, _LOOPBACK)
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(self.device)
            # Or NCCL's own watchdog ends this process, and all trials with it, when a rank dies.
            os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0")
        # One that failed to meet has counted, and groups of other numbers would wait for ever.
        dist.distributed_c10d._world.group_count = 0
        dist.init_process_group(
            "nccl" if on_gpu else "gloo",
            store=store,
            rank=self.rank,
            world_size=self.world,
            timeout=timedelta(seconds=LONGEST_SECONDS),
        )

    def leave(self) -> None:
        """Be alone again, whatever has become of the others."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def abort(self) -> None:
        """Release this process from waiting for others that won't come, from another thread.
        gloo needs no such thing: it notices a connection that closes."""
        if self.device.type == "cuda" and dist.is_initialized():
            dist.distributed_c10d._abort_process_group()

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each by its sum over the ranks, in place."""
        for tensor in tensors:
            dist.all_reduce(tensor)


log = logging.getLogger(__name__)


_LOOK_SECONDS = 0.2  # between two looks at whether all are alive


_LAST_WORDS_SECONDS = 1.0  # a connection closes a moment before it is known why


class Group:
    """The ranks from their meeting until one fails, or until `close`."""

    def __init__(self, members: Sequence[Member], device: torch.device) -> None:
        self._members = members
        self._deadline: float | None = None
        self._hung = False
        self._closed = Event()
        self.team = Team(0, len(members) + 1, device)
        self._watch = Thread(target=self._keep_watch, name="rank-watch", daemon=True)
        self._watch.start()
        with self.leading(LONGEST_SECONDS):
            store = meeting_point(self.team.world)
            self.tell(Meet(store.port))
            self.team.join(store)

    @property
    def closed(self) -> bool:
        """Whether it has ended, and another has to be made."""
        return self._closed.is_set()

    def tell(self, command: Command) -> None:
        """Tell every other rank."""
        for member in self._members:
            member.tell(command)

    @contextmanager
    def leading(self, seconds: float) -> Iterator[None]:
        """Do something together with the other ranks, who are not to take longer than that.

        Raises RankFailed if one of them dies, fails or hangs. Whatever is raised, the group is
        closed: its ranks may wait for each other at different places.
        """
        self._deadline = monotonic() + seconds
        try:
            yield
        except BaseException as error:
            self._deadline = None
            cause = self._cause_of(error)
            self.close()
            if cause is not None:
                raise RankFailed(cause) from error
            raise
        self._deadline = None

    def close(self) -> None:
        """End the other ranks."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._watch.join()
        for member in self._members:
            member.end()
        self.team.leave()

    def learn(self, passes: Passes) -> None:
        """Take over what ranks that ran out of memory have found."""
        for member in self._members:
            if member.failed is not None:
                for mine, theirs in (
                    (passes.training, member.failed.passes.training),
                    (passes.evaluation, member.failed.passes.evaluation),
                ):
                    found = [size.limit for size in (mine, theirs) if size.limit is not None]
                    mine.limit = min(found, default=None)

    def _cause_of(self, error: BaseException) -> str | None:
        """What another rank did that this one's error comes from, if that is so."""
        if not isinstance(error, RuntimeError | OSError):
            return None
        if is_out_of_memory(error) or is_lost_device(error):
            return None
        until = monotonic() + _LAST_WORDS_SECONDS
        while monotonic() < until and not self._hung:
            for member in self._members:
                member.listen(_LOOK_SECONDS / 4)
            # One that failed made others fail: its own words say more than theirs.
            told = [m for m in self._members if m.failed is not None]
            dead = [m for m in self._members if m.trouble is not None]
            if told or dead:
                return (told or dead)[0].trouble
        return "a rank hung, and all were ended" if self._hung else None

    def _keep_watch(self) -> None:
        while not self._closed.wait(_LOOK_SECONDS):
            deadline = self._deadline
            late = deadline is not None and monotonic() > deadline
            if late:
                self._hung = True
                for member in self._members:
                    member.kill()
            if deadline is not None and any(m.trouble is not None for m in self._members):
                self.team.abort()
                return


class Ranks:
    """The ranks of a bench's trials: started when first needed, and again after a failure.

    devices -- one for each rank; the first is this process's own
    source  -- the digest of the workload's code, which all must have: a file may be edited after
               this process has loaded it
    """

    def __init__(
        self,
        spec: str,
        goal: float | None,
        precision: str | None,
        devices: Sequence[torch.device],
        passes: Passes,
        source: str | None = None,
    ) -> None:
        self._source = source
        self._workload = (spec, goal, precision)
        self.devices, self._passes = devices, passes
        self._group: Group | None = None
        self._dropped: deque[int] = deque()

    @property
    def group(self) -> Group | None:
        """The ranks that work now, if any do."""
        return None if self._group is None or self._group.closed else self._group

    def start(self, stop: Event | None) -> Group | None:
        """The ranks that work now, or new ones; None if `stop` was set before they were there.

        Raises RankFailed if one can't be started.
        """
        if self.group is not None:
            return self.group
        self.close()
        members = [Member(task) for task in self._tasks()]
        try:
            there = self._await(members, stop)
        except BaseException:
            _end(members)
            raise
        if not there:
            _end(members)
            return None
        self._dropped.clear()
        self._group = Group(members, self.devices[0])
        return self._group

    def drop(self, key: int) -> None:
        """Have the others forget a trial, when they are next told something."""
        self._dropped.append(key)

    def tell(self, group: Group, command: Command) -> None:
        """Tell every other rank, and before that what to forget."""
        while self._dropped:
            group.tell(Drop(self._dropped.popleft()))
        group.tell(command)

    @contextmanager
    def leading(self, group: Group, seconds: float) -> Iterator[None]:
        """`Group.leading`, after which it is remembered how much memory there turned out to be."""
        try:
            with group.leading(seconds):
                yield
        except RankFailed:
            group.learn(self._passes)
            raise

    def close(self) -> None:
        """End the other ranks; `start` makes new ones."""
        if self._group is not None:
            self._group.close()
            self._group = None

    def _tasks(self) -> list[Task]:
        world = len(self.devices)
        return [
            Task(*self._workload, str(device), rank, world, self._passes, self._source)
            for rank, device in enumerate(self.devices)
            if rank
        ]

    @staticmethod
    def _await(members: Sequence[Member], stop: Event | None) -> bool:
        for member in members:
            while not member.ready:
                if stop is not None and stop.is_set():
                    return False
                member.listen(_LOOK_SECONDS)
                if member.trouble is not None:
                    raise RankFailed(member.trouble)
        return True


def _end(members: Sequence[Member]) -> None:
    for member in members:
        member.end()
