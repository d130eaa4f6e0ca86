"""Workers as processes of this machine."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from signal import SIGKILL, SIGTERM
from threading import Thread
from time import monotonic
from uuid import uuid4

from service.database import Storage
from service.errors import WorkersFailed
from service.ledger import Ledger
from service.slots import Filter

log = logging.getLogger(__name__)

_RESTARTS = 3  # per place; a worker that dies more often than this has a cause to be told
_PATIENCE = 60.0  # seconds from asking workers to stop until they are killed


@dataclass
class _Place:
    """One of the worker processes, and what has happened to it so far."""

    device: str
    worker_id: str
    process: subprocess.Popen[str] = field(init=False)
    listener: Thread = field(init=False)
    restarts: int = 0
    last_line: str = ""


class LocalWorkers:
    """Worker processes that live no longer than this object's `with` block.

    A worker that dies is replaced, and its slots are free at once. Should this process itself be
    killed, the workers notice that their standard input has closed, and stop in good order.
    """

    def __init__(
        self,
        storage: Storage,
        wanted: Filter,
        devices: Sequence[str],
        checkpoints: str | None,
        tell: Callable[[str], None],
    ) -> None:
        self.storage, self.wanted, self.checkpoints, self.tell = storage, wanted, checkpoints, tell
        self._devices = devices
        self._places: list[_Place] = []

    def __enter__(self) -> "LocalWorkers":
        for device in self._devices:
            worker_id = uuid4().hex
            self._places.append(place := _Place(device, worker_id))
            self._start(place)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def watch(self) -> int:
        """Replace the workers that died; how many are alive now.

        Raises WorkersFailed when one has died too often, with the last line that it wrote.
        """
        alive = 0
        for place in self._places:
            code = place.process.poll()
            alive += code != 0
            if not code:
                continue
            _hang_up(place)
            Ledger(self.storage, place.worker_id).bury()
            ended = f"signal {-code}" if code < 0 else f"exit code {code}"
            if code == 2 or place.restarts >= _RESTARTS:
                raise WorkersFailed(f"a worker ended with {ended}: {place.last_line or 'no word'}")
            log.warning("a worker ended with %s; starting another", ended)
            place.restarts += 1
            place.worker_id = uuid4().hex
            self._start(place)
        return alive

    @property
    def running(self) -> int:
        """How many worker processes are alive."""
        return sum(place.process.poll() is None for place in self._places)

    def stop(self) -> None:
        """Ask all workers to save and hand back what they hold, and wait until they have."""
        for place in self._places:
            if place.process.poll() is None:
                place.process.send_signal(SIGTERM)
        deadline = monotonic() + _PATIENCE
        for place in self._places:
            try:
                place.process.wait(max(deadline - monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                self.kill()
                place.process.wait()
            _hang_up(place)
            if place.process.returncode:
                Ledger(self.storage, place.worker_id).bury()

    def kill(self) -> None:
        """End all workers at once; their trials restart from their last checkpoints."""
        for place in self._places:
            if place.process.poll() is None:
                place.process.send_signal(SIGKILL)

    def _start(self, place: _Place) -> None:
        command = [sys.executable, "-P", "-m", "service.cli.main", "work"]
        command += ["--device", place.device, "--worker-id", place.worker_id, "--leash", "--quiet"]
        command += ["--sharing", str(self._devices.count(place.device))]
        if self.wanted.batch_sizes:
            command += ["--batch-sizes", ",".join(map(str, self.wanted.batch_sizes))]
        if self.checkpoints is not None:
            command += ["--checkpoint-dir", self.checkpoints]
        command += ["--", *self.wanted.workloads]
        # In the environment, not in the command: a URL may hold a password, and ps shows commands.
        url = self.storage.url.render_as_string(hide_password=False)
        place.process = subprocess.Popen(
            command,
            env={**os.environ, "BATCHFRONT_STORAGE": url},
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # a Ctrl-C is for this process, which then tells the workers
        )
        place.listener = Thread(target=self._forward, args=(place,), daemon=True)
        place.listener.start()

    def _forward(self, place: _Place) -> None:
        for line in place.process.stderr or ():
            place.last_line = line.rstrip()
            self.tell(place.last_line)


def _hang_up(place: _Place) -> None:
    """Read what an ended worker still had to say, and close its pipes."""
    place.listener.join()
    for pipe in (place.process.stdin, place.process.stderr):
        if pipe is not None:
            pipe.close()
