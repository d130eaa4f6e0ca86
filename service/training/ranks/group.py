"""All ranks of a worker's trials: their processes, and rank 0's place among them."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic

import torch

from service.errors import RankFailed
from service.training.memory import Passes, is_lost_device, is_out_of_memory
from service.training.ranks.member import Member
from service.training.ranks.messages import Command, Drop, Meet, Task
from service.training.ranks.team import LONGEST_SECONDS, Team, meeting_point

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
