"""Programs that tests start, of which none may be left when a test is over."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from batchfront.training.programs.leftovers import MARK
from batchfront.training.programs.process import ProgramProcess
from tests.waiting import LONG, eventually

PYTHON = [sys.executable, "-I", "-S", "-u", "-c"]
"""What runs a Python text as a program, at once."""


class Started(ProgramProcess):
    """A program, and the lines that it has printed."""

    def __init__(self, argv: list[str], **options: Any) -> None:
        self.lines: list[str] = []
        super().__init__(argv, **{"on_line": self.lines.append, **options})

    def says(self, line: str) -> "Started":
        """Wait until it has printed a line."""
        eventually(lambda: line in self.lines, f"{line} in {self.lines[-5:]}", 0.005)
        return self

    def ended(self) -> int | None:
        """Wait until it has ended; its exit code."""
        assert self.wait(LONG)
        return self.exit_code

    def number(self, name: str) -> int:
        """The number that it prints in a line such as `name 7`."""
        told = lambda: [line for line in self.lines if line.startswith(f"{name} ")]  # noqa: E731
        return int(eventually(told, f"no {name}", 0.005)[0].split()[1])


class Worker:
    """A process that keeps a program as a worker does, in a trial's folder that it has taken."""

    def __init__(self, text: str, folder: Path, lease: float) -> None:
        given = [repr([*PYTHON, text]), str(folder), str(lease)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, *given], stdout=subprocess.PIPE
        )
        self._lines: list[str] = []
        self.supervisor, self.program = self.numbers("supervisor", "program")

    def numbers(self, *names: str) -> list[int]:
        """The numbers that are printed in lines such as `supervisor 7`."""
        found: dict[str, int] = {}
        assert self._process.stdout is not None
        while not found.keys() >= set(names):
            self._lines.append(self._process.stdout.readline().decode())
            assert self._lines[-1], self._lines
            found = {name: int(number) for name, number in map(str.split, self._lines)}
        return [found[name] for name in names]

    def freeze(self) -> None:
        """Have it hang."""
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """Kill it, and nothing else."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def kill_with_supervisor(self) -> None:
        """Kill it and the supervisor, which has no time to do anything."""
        os.kill(self.supervisor, signal.SIGSTOP)
        self.kill()
        os.kill(self.supervisor, signal.SIGKILL)
        eventually(lambda: not runs(self.supervisor))


_WORKER = """
import os, sys, time
from pathlib import Path
from batchfront.training.programs.folder import TrialFolder
from batchfront.training.programs.process import ProgramProcess
folder = TrialFolder(Path(sys.argv[2]))
tell = lambda line: os.write(1, f"{line}\\n".encode())
program = ProgramProcess(eval(sys.argv[1]), env=dict(os.environ), cwd=folder.path,
    folder=folder.path, on_line=tell, lock=folder.lock, lease=float(sys.argv[3]))
tell(f"supervisor {program.supervisor_pid}")
tell(f"program {program.pid}")
time.sleep(1000)
"""


@pytest.fixture
def start_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Worker]]:
    """Start a worker that keeps a Python text as its program, in `trial` of the test's folder."""
    started: list[Worker] = []
    monkeypatch.setenv("BATCHFRONT_TEST", uuid4().hex)

    def begin(text: str, lease: float = 30.0) -> Worker:
        started.append(Worker(text, tmp_path / "trial", lease))
        return started[-1]

    yield begin
    for worker in started:
        worker.kill()
    eventually(lambda: not marked(), "something is left")


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Started]]:
    """Start a Python text, or a command, as a program in a folder of the test's own."""
    started: list[Started] = []
    monkeypatch.setenv("BATCHFRONT_TEST", uuid4().hex)

    def begin(command: str | list[str], **options: Any) -> Started:
        argv = [*PYTHON, command] if isinstance(command, str) else command
        given = {"env": dict(os.environ), "cwd": tmp_path, "folder": tmp_path, **options}
        started.append(Started(argv, **given))
        return started[-1]

    yield begin
    for program in started:
        program.end(0.0)
    assert not marked()


def marked() -> list[psutil.Process]:
    """All processes that run and carry a mark, of those that this test has started."""
    found, test = [], os.environ["BATCHFRONT_TEST"]
    for each in psutil.process_iter():
        try:
            given = each.environ()
            if MARK in given and given.get("BATCHFRONT_TEST") == test and runs(each.pid):
                found.append(each)
        except psutil.Error:
            pass
    return found


def runs(pid: int) -> bool:
    """Whether there is such a process, and it hasn't ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
