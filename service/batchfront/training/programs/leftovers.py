"""Programs that have outlived their worker and their supervisor: how they are known, and ended.

Each start of a program has a mark in its environment, which all that it starts inherits: an id, and
which process of which machine started it. What carries a mark whose process is gone, is left over.
A mark of another machine, or of another container's processes, says nothing here, and is let be.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

from batchfront.training.programs.supervisor import (
    Process,
    all_processes,
    descendants,
    has_table,
    process,
)

MARK = "BATCHFRONT_TRIAL"
"""The environment variable."""

_SECONDS = 5.0  # in which what was sent SIGKILL is gone, unless the kernel holds it up


def new_mark() -> str:
    """What marks a program that this process starts."""
    own = process(os.getpid())
    return f"{uuid4().hex[:12]}.{os.getpid()}.{own.started if own else 0}.{_machine()}"


def sweep_left() -> int:
    """End what dead workers of this machine have left running, and whatever descends from it.

    Returns how many processes that were. On a machine without /proc that is none.
    """
    return len(_end(lambda each: (mark := _mark_of(each)) is not None and not _is_alive(mark)))


def end_marked(mark: str, program: Process | None = None) -> int:
    """End what one start of a program has left running.

    program -- as it was when it started, with a session of its own: whatever is in that is ended
               though it carries no mark

    Returns how many processes that were.
    """
    session = -1
    if program is not None:
        leader = process(program.pid)
        if leader is None or leader.started == program.started:  # or else the id is another's
            session = program.pid
    ended = _end(lambda each: each.session == session or _mark_of(each) == mark)
    for pid in ended:  # which come to be children of a container's first process, as this may be
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return len(ended)


def _end(is_left: Callable[[Process], bool]) -> set[int]:
    """Kill what is left, until nothing is found: it may start others while it is looked for.

    Returns the ids of the processes.
    """
    ended: set[tuple[int, int]] = set()
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until and (found := list(_left(is_left))):
        for each in found:
            _kill(each)
            ended.add((each.pid, each.started))
        time.sleep(0.01)
    return {pid for pid, _ in ended}


def _left(is_left: Callable[[Process], bool]) -> Iterator[Process]:
    if not has_table():
        return
    ours = _ancestry()
    for each in all_processes():
        if each.state not in "ZX" and each.pid not in ours and is_left(each):
            yield each
            yield from (child for child in descendants(each.pid) if child.state not in "ZX")


def _ancestry() -> set[int]:
    """This process and those that it descends from, which aren't its to end."""
    found, each = set(), process(os.getpid())
    while each is not None and each.pid not in found:
        found.add(each.pid)
        each = process(each.parent)
    return found


def _mark_of(each: Process) -> str | None:
    """The mark that this user's process was started with; None if it has none."""
    try:
        folder = Path(f"/proc/{each.pid}")
        if folder.stat().st_uid != os.geteuid():
            return None
        environment = (folder / "environ").read_bytes()
    except OSError:
        return None
    for entry in environment.split(b"\0"):
        if entry.startswith(f"{MARK}=".encode()):
            return entry.partition(b"=")[2].decode(errors="replace")
    return None


def _is_alive(mark: str) -> bool:
    """Whether the process that has started it runs, or may run where this one can't see it."""
    match mark.split("."):
        case [_, pid, started, machine] if pid.isdigit() and machine == _machine():
            worker = process(int(pid))
            return worker is not None and str(worker.started) == started and worker.state != "Z"
    return True


@cache
def _machine() -> str:
    """This start of this machine, and these processes of it: process ids are unique in it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return f"{uuid4().hex}-0"


def _kill(found: Process) -> None:
    """End a process, and no other that has come to have its id."""
    now = process(found.pid)
    if now is not None and now.started == found.started:
        with suppress(ProcessLookupError, PermissionError):  # it may have become another user's
            os.kill(found.pid, signal.SIGKILL)
