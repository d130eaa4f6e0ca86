"""A command that serves, as a process of its own."""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.waiting import LONG


@dataclass
class Serving:
    """What it says first, up to the line with its address, and the process."""

    process: "subprocess.Popen[str]"
    said: str
    address: str

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal; the exit code, and what else was said."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=LONG)
        return self.process.returncode, err


@contextmanager
def serving(started: Callable[..., "subprocess.Popen[str]"], *arguments: str) -> Iterator[Serving]:
    """Start it on a free port."""
    process = started(*arguments, "--port", "0")
    said = ""
    try:
        assert process.stderr is not None
        while (found := re.search(r"http://\S+/", said)) is None:
            line = process.stderr.readline()
            assert line, (said, process.wait(timeout=LONG))
            said += line
        yield Serving(process, said, found[0])
    finally:
        process.kill()
        process.communicate(timeout=LONG)
