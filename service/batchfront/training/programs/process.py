"""A trial's program, as a process: started, read as it prints, paused, continued and ended.

Between this process and the program stands a supervisor (`supervisor.py`), which does what is said
here to all that belongs to the program, and ends it when this process is gone. Where it is the
supervisor that has been killed, the program dies with it, and what is left is found by its mark
(`leftovers.py`).
"""

import errno
import fcntl
import logging
import marshal
import math
import os
import pty
import selectors
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event, Lock, RLock, Thread, current_thread

from batchfront.errors import ProgramError
from batchfront.store.schema import LEASE_SECONDS
from batchfront.training.programs import supervisor
from batchfront.training.programs.leftovers import MARK, end_marked, new_mark
from batchfront.training.programs.printed import LastLines, Line, Lines, Log

log = logging.getLogger(__name__)

LOG_LIMIT = 24 * 1024 * 1024
"""Bytes that are kept of what a program prints."""

_LAST_LINES = 200  # that are remembered
_CHUNK = 128 * 1024  # bytes read at once
_ROWS, _COLUMNS = 24, 200  # of a pseudo-terminal: wide, so that nothing is wrapped

_ANSWER_SECONDS = 60.0  # in which a supervisor answers, on a machine however busy
_DRAIN_SECONDS = 3.0  # in which the end of what was printed comes, once nothing runs; it comes
# later only if something that isn't the program's holds its output open
_END_SECONDS = 30.0  # in which what was killed is gone, unless the kernel holds it up


class ProgramProcess:
    """A program that runs from the moment that this is made.

    argv      -- the command; a name without a slash is looked for in `env`'s PATH
    env       -- its environment, to which the mark by which it is found is added
    folder    -- where its log goes
    tty       -- whether it prints to a pseudo-terminal
    on_line   -- told each line, by a thread of this object's, with escape sequences taken out; it
                 may pause the program, and end it
    on_error  -- told those of standard error instead, if it is given
    on_exit   -- told, by the same thread, when nothing of the program is left and all is read
    log_limit -- bytes that are kept of what it prints
    lock      -- a file that stays open, and locked, as long as anything of the program runs
    lease     -- seconds for which this process may hang until the program is ended: others may then
                 have its trial

    Raises ProgramError if it can't be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        folder: Path,
        tty: bool = False,
        on_line: Callable[[str], None],
        on_error: Callable[[str], None] | None = None,
        on_exit: Callable[[], None] = lambda: None,
        log_limit: int = LOG_LIMIT,
        lock: int | None = None,
        lease: float = LEASE_SECONDS,
    ) -> None:
        self._argv, self._cwd, self._lease = list(argv), cwd, lease
        self._on_exit = on_exit
        self._mark = new_mark()
        self._clock = _Clock()
        self._last = LastLines(_LAST_LINES)
        self._speaking = Lock()
        self._finished = Event()
        self._code: int | None = None
        self._failure: Exception | None = None
        self.supervisor_lost = False
        order = (self._argv, {**env, MARK: self._mark}, os.fspath(cwd), tty, lease)
        with ExitStack() as opened:
            try:
                self._log = Log(folder, log_limit)
                opened.callback(self._log.close)
                streams = [_Stream(tty, opened, to) for to in (on_line, on_error or on_line)]
                self._start(order, streams, () if lock is None else (lock,))
            except OSError as error:
                raise ProgramError(f"{self._argv[0]} can't be started: {error}") from None
            self._opened = opened.pop_all()
        name = f"program-{self.pid}"
        self._reader = Thread(target=self._attend, args=(streams,), name=name, daemon=True)
        self._reader.start()

    @property
    def paused(self) -> bool:
        """Whether it has been paused."""
        return self._clock.paused

    @property
    def paused_seconds(self) -> float:
        """How long it has been paused for; 0 while it isn't."""
        return self._clock.paused_seconds

    @property
    def running_seconds(self) -> float:
        """How long it has run, without its pauses."""
        return self._clock.running_seconds

    @property
    def silent_seconds(self) -> float:
        """How long it has run since it printed anything, without its pauses."""
        return self._clock.silent_seconds

    @property
    def exit_code(self) -> int | None:
        """How it has ended, negative for a signal; None until nothing of it is left, and all that
        it printed has been told. Raises what `on_line` has raised."""
        if not self._finished.is_set():
            return None
        if self._failure is not None:
            raise self._failure
        return self._code

    @property
    def ended_well(self) -> bool:
        """Whether it has ended by itself, with exit code 0."""
        return self._finished.is_set() and self._code == 0

    def last_lines(self, number: int = 50) -> list[str]:
        """The last lines that it printed."""
        return self._last.last(number)

    def hear(self) -> None:
        """Take note that it has been heard of otherwise than by what it prints."""
        self._clock.hear()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it has an exit code. Returns whether it has."""
        return self._finished.wait(seconds)

    def pause(self, *, waits: bool = False) -> None:
        """Stop all that belongs to it where it is. Nothing happens where it is paused, or ended.

        waits -- whether it stands still by itself, so that only its time is stopped
        """
        with self._speaking:
            if not self.paused and (waits or self._ask(b"pause") == b"paused"):
                self._clock.pause()

    def resume(self) -> None:
        """Let it go on."""
        with self._speaking:
            if self.paused and self._ask(b"resume") == b"resumed":
                self._clock.resume()

    def end(self, grace: float) -> None:
        """Ask all that belongs to it to end, and kill what is left after so many seconds. Returns
        when nothing is left; or at once where `on_line` calls it, as the rest is read first.

        Raises ProgramError if something can't be ended: the kernel holds it up, or it has become
        another user's.
        """
        with self._speaking:
            self._say(b"end %f" % grace)
            self._clock.resume()
        if current_thread() is self._reader or self.wait(grace + _END_SECONDS):
            return
        with self._speaking:
            heard = self._ask(b"pause")  # which ends a supervisor that doesn't hear
        if heard or not self.wait(_END_SECONDS):
            left = " ".join(str(each.pid) for each in supervisor.descendants(self.supervisor_pid))
            raise ProgramError(f"{self._argv[0]} can't be ended, even by SIGKILL: process {left}")

    def _start(
        self,
        order: tuple[list[str], dict[str, str], str, bool, float],
        streams: list["_Stream"],
        kept: tuple[int, ...],
    ) -> None:
        self._orders, theirs = socket.socketpair()
        self._report, reporting = socket.socketpair()
        for end in (self._orders, theirs, self._report, reporting):
            end.setblocking(True)  # whatever time-out some library has set for new sockets
        with theirs, reporting:
            inner = [each.inner for each in streams]
            given = [theirs.fileno(), reporting.fileno(), *inner, *kept]
            told = map(str, [os.getpid(), *given])
            self._supervisor = subprocess.Popen(
                [sys.executable, "-I", "-S", supervisor.__file__, *told],
                pass_fds=given,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=streams[1].inner,
                start_new_session=True,  # a Ctrl-C is for the worker
                env={**os.environ, MARK: self._mark},
            )
        self.supervisor_pid = self._supervisor.pid
        try:
            for stream in streams:
                stream.close_inner()
            blob = marshal.dumps(order)
            self._orders.sendall(len(blob).to_bytes(8, "little") + blob)
            said = self._answer().split(maxsplit=1)
            if said[:1] != [b"started"]:
                raise ProgramError(self._why(said, streams[1]))
        except BaseException:
            self._hang_up()
            raise
        self.pid = int(said[1])
        self._program = supervisor.process(self.pid)

    def _why(self, said: list[bytes], errors: "_Stream") -> str:
        """One line on why it couldn't be started."""
        name = self._argv[0]
        match said:
            case [b"directory", number]:
                return f"{self._cwd}: no directory to run {name} in: {os.strerror(int(number))}"
            case [b"program", number]:
                return _why_not_run(name, int(number))
            case [b"other", what]:
                return f"{name} can't be started: {what.decode(errors='replace')}"
        told = (errors.read() or b"no word").decode(errors="replace").strip().splitlines()
        return f"{name} can't be started, as its supervisor has failed: {told[-1]}"

    def _ask(self, order: bytes) -> bytes:
        """Have the supervisor do something. Returns its answer: none if all has ended."""
        return self._answer() if self._say(order) else b""

    def _say(self, order: bytes) -> bool:
        try:
            self._orders.sendall(order + b"\n")
        except OSError:  # it has ended
            return False
        return True

    def _answer(self) -> bytes:
        """What the supervisor answers; nothing if it has ended, or doesn't answer: then it is
        killed, and the program with it."""
        self._orders.settimeout(_ANSWER_SECONDS)
        try:
            return self._orders.recv(256)
        except TimeoutError:
            log.warning("the supervisor of %s doesn't answer, and is killed", self._argv[0])
            self._supervisor.kill()
            return b""
        except OSError:
            return b""

    def _attend(self, streams: list["_Stream"]) -> None:
        """Read it to its end, and say that it has come."""
        try:
            self._read(streams)
        except Exception as error:  # of ours: it must not seem to run on for ever
            self._failure = error
            self._supervisor.kill()
        finally:
            self._clock.end()
            self._opened.close()
            self._finished.set()
            self._on_exit()

    def _read(self, streams: list["_Stream"]) -> None:
        """Read all that it prints, until nothing of it is left."""
        alive_at, until = 0.0, math.inf
        with selectors.DefaultSelector() as selector:
            for stream in streams:
                selector.register(stream.outer, selectors.EVENT_READ, stream)
            selector.register(self._report, selectors.EVENT_READ)
            while selector.get_map() and (now := time.monotonic()) < until:
                if now >= alive_at:
                    self._say(b"alive")
                    alive_at = now + self._lease / 6
                for key, _ in selector.select(min(self._lease / 6, _DRAIN_SECONDS)):
                    if key.data is None:
                        selector.unregister(self._report)
                        self._take_leave(self._report.recv(64))
                        until = time.monotonic() + _DRAIN_SECONDS
                    elif self._take(key.data) == b"":
                        selector.unregister(key.fd)
        for stream in streams:
            self._finish(stream)

    def _take_leave(self, report: bytes) -> None:
        """Note how it has ended; where its supervisor went first, see that nothing is left."""
        self._hang_up()
        said = report.split()
        self.supervisor_lost = said[:1] != [b"gone"]
        if self.supervisor_lost:
            log.warning(
                "the supervisor of %s (process %d) has been killed", self._argv[0], self.pid
            )
            if sys.platform == "linux":
                end_marked(self._mark, self._program)
            else:  # where it hasn't died with its supervisor
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)
        if said[2:]:
            self._last.add(Line("[batchfront: ended, as its worker hung]"), self)
        self._code = int(said[1]) if said[1:] else -signal.SIGKILL
        self._clock.end()

    def _hang_up(self) -> None:
        with self._speaking:
            self._orders.close()
        self._supervisor.wait()
        self._report.close()

    def _take(self, stream: "_Stream") -> bytes | None:
        """Take what there is of a stream, and return it."""
        data = stream.read()
        if data:
            self._clock.hear()
            self._log.write(data)
            for line in stream.lines.take(data):
                self._tell(line, stream)
        return data

    def _finish(self, stream: "_Stream") -> None:
        """A last line without an end is one if the program has ended by itself: where it was killed
        in the middle of a number, that would be another number."""
        if begun := stream.lines.begun:
            if self._code == 0:
                self._tell(Line(begun), stream)
            else:
                self._last.add(Line(begun), stream)

    def _tell(self, line: Line, stream: "_Stream") -> None:
        self._last.add(line, stream)
        if self._failure is None:
            try:
                stream.on_line(line.text)
            except Exception as error:  # whoever asks for the exit code has it; reading goes on
                self._failure = error


class _Stream:
    """Standard output or error: its outer end is read here, its inner end is the program's."""

    def __init__(self, tty: bool, opened: ExitStack, on_line: Callable[[str], None]) -> None:
        self.lines, self.on_line = Lines(), on_line
        if tty:
            self.outer, self.inner = pty.openpty()
        else:
            self.outer, self.inner = os.pipe()
        opened.callback(self.close_inner)
        opened.callback(os.close, self.outer)
        os.set_blocking(self.outer, False)
        if tty:
            size = struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0)
            fcntl.ioctl(self.inner, termios.TIOCSWINSZ, size)

    def read(self) -> bytes | None:
        """What there is now: None if nothing is, and b"" at its end."""
        try:
            return os.read(self.outer, _CHUNK)
        except BlockingIOError:
            return None
        except OSError:  # a pseudo-terminal's way to say that all its inner ends are closed
            return b""

    def close_inner(self) -> None:
        """Leave the inner end to the program."""
        if self.inner >= 0:
            os.close(self.inner)
            self.inner = -1


def _why_not_run(name: str, number: int) -> str:
    if number == errno.ENOENT and "/" not in name:
        return f"{name}: command not found"
    if number == errno.ENOENT:
        return f"{name}: no such program, or none such as its first line (#!) names"
    if number == errno.EACCES:
        return f"{name} isn't executable: chmod +x, or write what runs it before it"
    if number == errno.ENOEXEC:
        return f"{name} has no first line (#!) that says what runs it: write that before it"
    return f"{name} can't be started: {os.strerror(number)}"


class _Clock:
    """Seconds that a program runs, is silent, and is paused."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._began = time.monotonic()
        self._heard = 0.0  # how long it had run then
        self._pauses = 0.0  # seconds, of those that are over
        self._paused_at: float | None = None
        self._ended_at: float | None = None

    @property
    def paused(self) -> bool:
        return self._paused_at is not None

    @property
    def paused_seconds(self) -> float:
        with self._lock:
            return 0.0 if self._paused_at is None else self._now() - self._paused_at

    @property
    def running_seconds(self) -> float:
        with self._lock:
            return self._now() - self._began - self._pauses - self.paused_seconds

    @property
    def silent_seconds(self) -> float:
        with self._lock:
            return self.running_seconds - self._heard

    def hear(self) -> None:
        with self._lock:
            self._heard = self.running_seconds

    def pause(self) -> None:
        with self._lock:
            if self._ended_at is None:
                self._paused_at = self._now()

    def resume(self) -> None:
        with self._lock:
            self._pauses += self.paused_seconds
            self._paused_at = None

    def end(self) -> None:
        with self._lock:
            self.resume()
            self._ended_at = self._now()

    def _now(self) -> float:
        return time.monotonic() if self._ended_at is None else self._ended_at
