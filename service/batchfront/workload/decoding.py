"""Processes that decode examples, several at once.

They are forked, so that a data set is there as it is in this process, whatever it consists of:
lambdas, what a file of the user's defines, arrays, mapped files. What they make comes back through
memory without a name, which is gone when its processes are. None outlives this one, however it
ends: the kernel kills each with the thread that has forked it.
"""

import ctypes
import fcntl
import gc
import mmap
import os
import pickle
import signal
import socket
import stat
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock, local
from typing import Any, NoReturn

import psutil
import torch
from torch import Tensor

from batchfront.errors import BatchfrontError, WorkloadError
from batchfront.vocabulary import SHARED_BY
from batchfront.workload.user_error import error_in

CAN_FORK = sys.platform == "linux"

_MOST = 16  # by default

_ROOM = 1 << 26  # bytes that come back in shared memory; what is larger goes through the socket

_STARTING_SECONDS = 60.0  # until one that has just been forked says so

_PDEATHSIG = 1  # of prctl(2)

_FORKING = Lock()


def sharing() -> int:
    """How many workers share this machine, as far as whoever started them has said."""
    told = os.environ.get(SHARED_BY, "")
    return max(int(told), 1) if told.isdecimal() else 1


def memory_here() -> int:
    """Bytes of memory of this machine, or of what this process's container may use."""
    whole = int(psutil.virtual_memory().total)  # type: ignore[no-untyped-call]
    try:
        return min(whole, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such limit
        return whole


def usual_processes() -> int:
    """How many decode for one worker: its part of the cores, less the one that it trains on."""
    if not CAN_FORK:
        return 0
    return min(max(len(os.sched_getaffinity(0)) // sharing() - 1, 0), _MOST)


class Decoders:
    """`count` processes, each of which does one piece of `work` at a time. They are there from the
    first piece on, until this is no longer used."""

    def __init__(self, work: Callable[[Any], Any], count: int) -> None:
        self.count = count
        self._work = work
        self._lock, self._mine = Lock(), local()
        self._pool: ThreadPoolExecutor | None = None
        self._processes: set[_Process] = set()

    def __call__(self, pieces: Iterable[Any]) -> list[Any]:
        """What `work` gives for each of these. For any thread.

        Raises WorkloadError if it raises something, in words, or if a process has died.
        """
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="decode")
                weakref.finalize(self, _end, self._pool, self._processes)
        asked = [self._pool.submit(self._ask, piece) for piece in pieces]
        try:
            return [one.result() for one in asked]
        finally:
            for one in asked:
                one.cancel()

    def _ask(self, piece: Any) -> Any:
        """Each thread has a process of its own, and is all that speaks with it."""
        process: _Process | None = getattr(self._mine, "process", None)
        if process is None:
            process = self._mine.process = _Process(self._work)
            self._processes.add(process)
        try:
            return process.ask(piece)
        except _Died as error:
            self._processes.discard(process)
            self._mine.process = None
            raise WorkloadError(
                f"a process that decodes examples {process.ended()}; with fewer of them, "
                "Examples.of(..., processes=1), each has more memory, and with processes=0 there "
                "are none"
            ) from error


class _Died(Exception):
    """A process says nothing any more."""


def _end(pool: ThreadPoolExecutor, processes: set["_Process"]) -> None:
    for process in list(processes):
        process.kill()
    pool.shutdown(wait=False, cancel_futures=True)


class _Process:
    """A process that has been forked to do pieces of work, and what is heard of it."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._room = mmap.mmap(-1, _ROOM)
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # else what it still holds is written twice
                stream.flush()
        with _FORKING, warnings.catch_warnings():
            # It has other threads, which the child does without.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
            if not self.pid:
                ours.close()
                _serve(work, Connection(theirs.detach()), self._room, parent)
            theirs.close()  # so that the next one doesn't hold it open
        self._connection = Connection(ours.detach())
        if not self._connection.poll(_STARTING_SECONDS):
            self.kill()
        self._hear()

    def ask(self, piece: Any) -> Any:
        """What the work gives for this piece."""
        try:
            self._connection.send(piece)
        except OSError as error:
            raise _Died from error
        well, answer = self._hear()
        if not well:
            raise WorkloadError(answer)
        return unpacked(answer, self._room)

    def _hear(self) -> Any:
        try:
            return self._connection.recv()
        except (EOFError, OSError) as error:
            raise _Died from error

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def ended(self) -> str:
        """How it has ended, in words."""
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            return "has ended"
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            return f"has ended with exit code {code}"
        why = " (which the system does where memory is short)" if code == -signal.SIGKILL else ""
        return f"was killed by {signal.Signals(-code).name}{why}"


def _serve(work: Callable[[Any], Any], asked: Connection, room: mmap.mmap, parent: int) -> NoReturn:
    """The life of a process: it does as it is told until there is nobody to tell it."""
    try:
        _part_from(parent)
        asked.send(None)
        while True:
            asked.send(_answer(work, asked.recv(), room))
    except BaseException:  # whatever it is, nothing of the parent's may run here
        os._exit(1)
    os._exit(0)


def _answer(work: Callable[[Any], Any], piece: Any, room: mmap.mmap) -> tuple[bool, Any]:
    try:
        return True, packed(work(piece), room)
    except BatchfrontError as error:
        return False, str(error)
    except BaseException as error:
        return False, f"what a data set gives can't come from another process: {error_in(error)}"


def _part_from(parent: int) -> None:
    """Leave behind what belongs to the process that this one was forked from."""
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    sys.settrace(None)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the parent's, which ends this one
    torch.set_num_threads(1)
    gc.freeze()  # else a collection copies all pages
    _reopen_files()


def _reopen_files() -> None:
    """Read on from the same places, but for itself: the place where an open file is read is shared
    with the parent and its other children, and each would read where another has gone."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        descriptor = int(entry.name)
        with suppress(OSError):
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            if regular and flags & os.O_ACCMODE == os.O_RDONLY:
                own = os.open(entry, flags)
                os.lseek(own, os.lseek(descriptor, 0, os.SEEK_CUR), os.SEEK_SET)
                os.dup2(own, descriptor)
                os.close(own)


@dataclass(frozen=True)
class Packed:
    """An object as bytes, from which it is made as often as it is wanted.

    buffers -- what its tensors and arrays hold; or how many bytes each has in shared memory
    """

    head: bytes
    buffers: Sequence[bytes | bytearray] | Sequence[int]

    @property
    def nbytes(self) -> int:
        """What it takes."""
        return len(self.head) + sum(n if isinstance(n, int) else len(n) for n in self.buffers)


def packed(value: Any, room: mmap.mmap | None = None) -> Packed:
    """An object as bytes, those of its tensors in `room` where it holds them."""
    found: list[pickle.PickleBuffer] = []
    head = BytesIO()
    _Pickler(head, protocol=5, buffer_callback=found.append).dump(value)
    raw = [buffer.raw() for buffer in found]
    if room is None or sum(len(one) for one in raw) > len(room):
        return Packed(head.getvalue(), [bytes(one) for one in raw])
    place = 0
    for one in raw:
        room[place : place + len(one)] = one
        place += len(one)
    return Packed(head.getvalue(), [len(one) for one in raw])


def unpacked(value: Packed, room: mmap.mmap | None = None) -> Any:
    """The object, which shares nothing with what it was made from."""
    buffers, place = [], 0
    for one in value.buffers:
        if isinstance(one, int):
            assert room is not None
            with memoryview(room) as whole, whole[place : place + one] as part:
                buffers.append(bytearray(part))
            place += one
        else:
            buffers.append(bytearray(one))
    return pickle.loads(value.head, buffers=buffers)


class _Pickler(pickle.Pickler):
    """Takes tensors as arrays: torch writes them into files."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is not Tensor or value.device.type != "cpu" or value.is_quantized:
            return NotImplemented
        if value.layout != torch.strided or value.requires_grad:
            return NotImplemented
        flat = value.resolve_conj().resolve_neg().contiguous().flatten().view(torch.uint8)
        return _tensor, (pickle.PickleBuffer(flat.numpy().data), value.dtype, tuple(value.shape))


def _tensor(buffer: bytearray, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    if not len(buffer):
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(buffer, dtype=torch.uint8).view(dtype).view(shape)
