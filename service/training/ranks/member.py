"""Another rank's process, as rank 0 has it."""

import os
import socket
import subprocess
import sys
from multiprocessing.connection import Connection

from service.training.ranks.messages import Command, Failed, Ready, Report, Task

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
            program = [sys.executable, "-P", "-m", "service.training.ranks.follower"]
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
