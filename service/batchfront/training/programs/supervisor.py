"""What stands between a worker and a program: it pauses and ends all that belongs to the program,
and ends it, too, when the worker is gone, however it went, or is not heard for as long as a lease.

It is run as a script by a bare interpreter (`python -I -S supervisor.py ...`), so that it is there
in some 20 ms: it imports nothing but the standard library, and little of that. Its arguments are
the worker's process id and open files, of which the first says what to run.

On Linux it is a *subreaper* (prctl(2), PR_SET_CHILD_SUBREAPER): whatever loses its parent becomes
the supervisor's own child, also what has made a session of its own, so nothing of the program is
left exactly when the supervisor has no child; and the program itself dies with it
(PR_SET_PDEATHSIG). Elsewhere what belongs to the program is its process group and whatever descends
from it: what has left the group and lost its parent isn't found.
"""

import ctypes
import fcntl
import marshal
import os
import select
import signal
import sys
import termios
import time
from contextlib import suppress

LEFT_TO_THEMSELVES = 0.5
"""Seconds that what a program leaves behind has to end by itself, as helpers of libraries do."""

LEFT_TERMINATED = 2.0
"""Seconds from SIGTERM to SIGKILL for what a program leaves behind."""

_STOPPING = 5.0  # seconds in which what was sent SIGSTOP stops, unless the kernel holds it up

_NEVER = float("inf")
_LINUX = sys.platform == "linux"
_PDEATHSIG, _NAME, _SUBREAPER = 1, 15, 36  # of prctl(2)
_ENDED = "ZX"  # states of proc_pid_stat(5)
_STILL = "TtDZX"  # D waits in the kernel: it does nothing before it hears what it was sent


class Process:
    """A line of the process table. `started` is in clock ticks since the machine's start."""

    def __init__(self, pid: int, parent: int, group: int, session: int, state: str, started: int):
        self.pid, self.parent, self.group = pid, parent, group
        self.session, self.state, self.started = session, state, started


def has_table() -> bool:
    """Whether /proc lists processes by the ids that this one knows them by."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def process(pid: int) -> Process | None:
    """One process of this machine, or None if it has gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # its name may hold anything
    except OSError:
        return None
    parent, group, session = (int(field) for field in fields[1:4])
    return Process(pid, parent, group, session, fields[0].decode(), int(fields[19]))


def all_processes() -> list[Process]:
    """Every process of this machine that this one may see."""
    if has_table():
        found = (process(int(name)) for name in os.listdir("/proc") if name.isdigit())
        return [each for each in found if each is not None]
    if _LINUX:
        return []
    with os.popen("ps -A -o pid=,ppid=,pgid=,state=") as table:
        rows = [line.split() for line in table]
    return [Process(int(p), int(pp), int(g), 0, state[0], 0) for p, pp, g, state in rows]


def descendants(pid: int) -> list[Process]:
    """The children of a process and theirs, each after its parent."""
    listed = has_table() and os.path.exists(f"/proc/self/task/{os.getpid()}/children")
    table: dict[int, list[Process]] = {}
    for each in () if listed else all_processes():
        table.setdefault(each.parent, []).append(each)
    found = _children(pid) if listed else table.get(pid, [])
    for each in found:  # which grows
        found.extend(_children(each.pid) if listed else table.get(each.pid, []))
    return found


def _children(pid: int) -> list[Process]:
    """The children of a process, which Linux lists for each of its threads."""
    found: list[Process] = []
    with suppress(OSError):  # it has gone, and its children have another parent
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found.extend(filter(None, map(process, map(int, file.read().split()))))
    return found


def send(number: int, processes: list[Process]) -> None:
    """Send a signal to the process groups of so many processes, in their order.

    To a group, it comes to all of it at once, whatever is being forked in it. A program has made a
    session, so that its groups have none but its processes.
    """
    for group in dict.fromkeys(each.group for each in processes if each.group > 1):
        with suppress(ProcessLookupError, PermissionError):  # has ended; is another user's by now
            os.killpg(group, number)


class Supervisor:
    """Keeps one program.

    orders -- where the worker's orders come in, and are answered
    report -- what tells the worker, in the end, how the program ended
    output -- standard output and error of the program
    worker -- the process that it is kept for
    """

    def __init__(self, orders: int, report: int, output: tuple[int, int], worker: int) -> None:
        self.orders, self.report, self.output, self.worker = orders, report, output, worker
        self.program = 0
        self.code = -int(signal.SIGKILL)
        self.terminate_at = self.kill_at = _NEVER
        self.begun = b""  # an order
        self.lease = self.heard_at = 0.0
        self.hung = False
        self.pace = 0.005
        self.worker_fd = -1
        self.poll = select.poll()
        self.children_woke, wake = os.pipe()
        for end in (self.children_woke, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTTOU):
            signal.signal(number, signal.SIG_IGN)  # they are the worker's to hear
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):  # gone, which its parent tells, or a kernel before 5.3
                self.worker_fd = os.pidfd_open(worker)
                self.poll.register(self.worker_fd, select.POLLIN)
        self.poll.register(self.children_woke, select.POLLIN)
        self.poll.register(self.orders, select.POLLIN)

    def start(self) -> None:
        """Start the program that the worker asks for, and answer with its process id, or with what
        failed and its error number."""
        size = int.from_bytes(_read(self.orders, 8), "little")
        argv, env, directory, terminal, self.lease = marshal.loads(_read(self.orders, size))
        failed, failing = os.pipe()  # which closes when the program runs
        supervisor = os.getpid()
        self.program = os.fork()
        if self.program == 0:
            try:
                self._become(supervisor, argv, env, directory, terminal, failing)
            finally:
                os._exit(127)
        os.close(failing)
        for end in set(self.output):
            os.close(end)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):  # standard error was the program's: nothing may hold that open
            os.dup2(null, standard)
        failure = _read(failed, 256)
        self.heard_at = time.monotonic()
        _tell(self.orders, failure or b"started %d" % self.program)

    def _become(
        self,
        supervisor: int,
        argv: list[str],
        env: dict[str, str],
        directory: str,
        terminal: bool,
        failing: int,
    ) -> None:
        stage = b"other"
        try:
            os.setsid()
            prctl(_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != supervisor:
                os._exit(127)
            if terminal:
                fcntl.ioctl(self.output[0], termios.TIOCSCTTY, 0)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(self.output[0], 1)
            os.dup2(self.output[1], 2)
            signal.set_wakeup_fd(-1)
            for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            stage = b"directory"
            os.chdir(directory)
            stage = b"program"
            os.execvpe(argv[0], argv, env)
        except OSError as error:
            os.write(failing, b"%s %d" % (stage, error.errno or 0))
        except Exception as error:  # such as an argument that holds a null character
            os.write(failing, b"other " + str(error).encode(errors="replace")[:200])

    def keep(self) -> None:
        """Do what the worker says, until nothing is left of the program."""
        while self._reap():
            now = time.monotonic()
            if self.terminate_at <= now:
                self.terminate_at = _NEVER
                self._terminate()
            pause = min(self.terminate_at, self.kill_at) - now
            if self.kill_at <= now:
                send(signal.SIGKILL, self._kept())
                pause = self.pace
                self.pace = min(2 * self.pace, 0.5)
            pause = max(0.0, min(pause, self.lease / 10, 1.0))
            woken = self.poll.poll(pause * 1000)
            # While this process stands still, as all do on a machine that sleeps, it hears nobody.
            self.heard_at += max(0.0, time.monotonic() - now - pause - 0.1)
            for ready, _ in woken:
                if ready == self.children_woke:
                    os.read(ready, 4096)
                elif ready == self.orders:
                    self._obey()
                else:
                    self._lose_worker()
            if os.getppid() != self.worker:  # which tells where there is no pidfd
                self._lose_worker()
            elif self.kill_at == _NEVER and time.monotonic() > self.heard_at + self.lease:
                self.hung, self.kill_at = True, 0.0
        _tell(self.report, b"gone %d" % self.code + b" hung" * self.hung)

    def _obey(self) -> None:
        heard = os.read(self.orders, 4096)
        if not heard:
            self._lose_worker()
        now = self.heard_at = time.monotonic()
        *orders, self.begun = (self.begun + heard).split(b"\n")
        for order in orders:
            if order == b"alive":
                continue
            if order.startswith(b"end"):
                if self.kill_at == _NEVER or self.terminate_at != _NEVER:  # it hasn't been told
                    self.terminate_at = now
                self.kill_at = min(self.kill_at, now + float(order.split()[1]))
            elif self.kill_at != _NEVER:  # what ends must hear and do what it is told
                _tell(self.orders, b"ending")
            elif order == b"pause":
                self._pause()
                _tell(self.orders, b"paused")
            elif order == b"resume":
                send(signal.SIGCONT, self._kept()[::-1])
                _tell(self.orders, b"resumed")

    def _lose_worker(self) -> None:
        """End the program at once: whoever takes over its trial may start it anew any time now."""
        for end in (self.orders, self.worker_fd):
            with suppress(KeyError, OSError):
                self.poll.unregister(end)
        self.worker = os.getppid()
        self.kill_at = 0.0

    def _reap(self) -> bool:
        """Take leave of whatever has ended. Returns whether anything is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return not _LINUX and any(each.state not in _ENDED for each in self._kept())
            if pid == 0:
                return True
            if pid == self.program:
                self.code = os.waitstatus_to_exitcode(status)
                now = time.monotonic()
                self.terminate_at = min(self.terminate_at, now + LEFT_TO_THEMSELVES)
                self.kill_at = min(self.kill_at, self.terminate_at + LEFT_TERMINATED)

    def _kept(self) -> list[Process]:
        """All that belongs to the program, parents first."""
        found = descendants(os.getpid())
        if _LINUX and not has_table():  # its group is all that is known of it
            return [Process(self.program, os.getpid(), self.program, self.program, "T", 0)]
        if not _LINUX:
            ids = {each.pid for each in found}
            group = [each for each in all_processes() if each.group == self.program]
            found += [each for each in group if each.pid not in ids]
        return found

    def _pause(self) -> None:
        """Stop parents before their children, so that none sees a child stop; and look again,
        until two looks in a row find nothing that isn't still."""
        told: set[int] = set()
        calm, until = 0, time.monotonic() + _STOPPING
        while calm < 2 and time.monotonic() < until:
            kept = [each for each in self._kept() if each.state not in _ENDED]
            running = [each for each in kept if each.state not in _STILL or each.group not in told]
            send(signal.SIGSTOP, running)
            told.update(each.group for each in running)
            calm = 0 if running else calm + 1
            if running:
                time.sleep(0.0005)

    def _terminate(self) -> None:
        """Only what is there now: what a program starts in order to save itself may do so."""
        kept = self._kept()
        send(signal.SIGTERM, kept)
        send(signal.SIGCONT, kept[::-1])


def prctl(option: int, value: int | bytes) -> None:
    """Set one of this process's attributes, where there is such a thing."""
    if _LINUX:
        call = ctypes.CDLL(None).prctl
        last = ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.c_ulong(value)
        call(ctypes.c_int(option), last, ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))


def _tell(end: int, what: bytes) -> None:
    with suppress(OSError):  # the worker is gone, which it is told elsewhere
        os.write(end, what)


def _read(end: int, size: int) -> bytes:
    """So many bytes, or what there is before the end."""
    whole = b""
    while len(whole) < size and (part := os.read(end, size - len(whole))):
        whole += part
    return whole


def main() -> None:
    """Keep a program."""
    worker, *given = map(int, sys.argv[1:])
    for end in given:  # which are this process's alone, as a lock that it holds is
        os.set_inheritable(end, False)
    orders, report, output, errors = given[:4]
    prctl(_SUBREAPER, 1)
    prctl(_NAME, b"batchfront-keep")
    supervisor = Supervisor(orders, report, (output, errors), worker)
    supervisor.start()
    supervisor.keep()


if __name__ == "__main__":
    main()
