"""Worker processes that run `batchfront work`, to be killed, frozen, terminated and replaced.

A fork server that has torch imported makes them, so that a worker starts in a moment and still is
a process of its own with the whole of the command in it.
"""

import faulthandler
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from uuid import uuid4

import psutil

from batchfront.training import checkpoints as checkpoint
from batchfront.training.programs.leftovers import sweep_left
from tests import toy
from tests.processes import Child, forkserver
from tests.waiting import LONG

forkserver(
    "batchfront.cli.work",
    "batchfront.worker.worker",
    "batchfront.worker.backends.models",
    "tests.toy",
)


@dataclass
class Worker:
    """One process. `thaws` is when a frozen one runs on, `told` when it was told to end."""

    process: BaseProcess
    log: Path
    thaws: float | None = None
    told: float | None = None
    killed: bool = False

    @property
    def at_large(self) -> bool:
        """Whether it runs, and nothing has been done to it."""
        return self.process.is_alive() and self.thaws is None and self.told is None

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        if self.process.is_alive() and self.process.pid:
            os.kill(self.process.pid, number)


@dataclass
class Fleet:
    """So many workers on one database, whatever happens to them.

    urls        -- of the database: the ways to it, which the workers take in turn
    folder      -- for their logs, and for the checkpoints that they share
    pause       -- seconds that each training step takes longer
    hit         -- folders of trials whose program was killed: one that is killed in three attempts
                   has failed
    wrong       -- what a worker did that it must not
    """

    urls: tuple[str, ...]
    folder: Path
    pause: float
    live: list[Worker] = field(default_factory=list)
    started: int = 0
    killed: int = 0
    frozen: int = 0
    terminated: int = 0
    programs_killed: int = 0
    supervisors_killed: int = 0
    hit: set[str] = field(default_factory=set)
    slowest_end: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoints"

    @property
    def faults(self) -> int:
        """How much has been done to them."""
        workers = self.killed + self.frozen + self.terminated
        return workers + self.programs_killed + self.supervisors_killed

    def start(self, number: int) -> None:
        """Start so many workers."""
        for _ in range(number):
            self.started += 1
            log = self.folder / f"worker-{self.started}.log"
            url = self.urls[self.started % len(self.urls)]
            process = Child(_work, (url, str(self.folder), str(log), self.pause))
            process.start()
            self.live.append(Worker(process, log))

    def kill(self, worker: Worker) -> None:
        """End a worker without a word."""
        worker.send(signal.SIGKILL)
        worker.killed = True
        self.killed += 1

    def kill_program(self, worker: Worker) -> None:
        """Kill the process that a worker's command has started, of one of its programs."""
        for supervisor in self._unhit(worker):
            with suppress(psutil.Error, IndexError):
                supervisor.children()[0].kill()
                self.programs_killed += 1

    def kill_supervisor(self, worker: Worker) -> None:
        """Kill what keeps one of a worker's programs."""
        for supervisor in self._unhit(worker):
            with suppress(psutil.Error):
                supervisor.kill()
                self.supervisors_killed += 1

    def kill_with_supervisors(self, worker: Worker) -> None:
        """Kill a worker and all its supervisors, before any of these could do anything."""
        supervisors = self.supervisors(worker)
        for supervisor in supervisors:
            with suppress(psutil.Error):
                supervisor.suspend()
        self.kill(worker)
        for supervisor in supervisors:
            with suppress(psutil.Error):
                supervisor.kill()
                self.supervisors_killed += 1

    def supervisors(self, worker: Worker) -> list[psutil.Process]:
        """The supervisors of a worker's programs."""
        with suppress(psutil.Error):
            children = psutil.Process(worker.process.pid).children()
            return [each for each in children if each.name() == "batchfront-keep"]
        return []

    def _unhit(self, worker: Worker) -> list[psutil.Process]:
        """The supervisor of a program whose trial becomes hit now, if there is one."""
        for each in self.supervisors(worker):
            with suppress(psutil.Error, IndexError):  # it ends this moment
                trial = each.children()[0].environ()["BATCHFRONT_TRIAL_DIR"]
                if trial not in self.hit:
                    self.hit.add(trial)
                    return [each]
        return []

    def freeze(self, worker: Worker, seconds: float) -> None:
        """Stop a worker's clock for so long."""
        worker.send(signal.SIGSTOP)
        worker.thaws = time.monotonic() + seconds
        self.frozen += 1

    def terminate(self, worker: Worker) -> None:
        """Tell a worker to end in good order."""
        worker.send(signal.SIGTERM)
        worker.told = time.monotonic()
        self.terminated += 1

    def look(self, *, replace: bool) -> None:
        """Thaw whose time has come, take note of who has ended and how, and start others for
        those that something was done to."""
        now = time.monotonic()
        for worker in list(self.live):
            if worker.thaws is not None and now >= worker.thaws:
                worker.send(signal.SIGCONT)
                worker.thaws = None
            if worker.process.is_alive():
                if worker.told is not None and now - worker.told > LONG:
                    worker.send(signal.SIGUSR1)  # where?
                    time.sleep(0.5)
                    self._blame(worker, f"still there {LONG:g} s after SIGTERM")
                    self.kill(worker)
                    worker.told = None
                continue
            worker.process.join()
            self.live.remove(worker)
            sweep_left()  # as whoever starts workers does
            if worker.told is not None:
                self.slowest_end = max(self.slowest_end, now - worker.told)
            if not worker.killed and worker.process.exitcode != 0:
                self._blame(worker, f"ended with {worker.process.exitcode}")
            if replace and (worker.killed or worker.told is not None):
                self.start(1)

    def wait(self, seconds: float) -> None:
        """Until all have ended by themselves; whoever has not by then is to blame."""
        deadline = time.monotonic() + seconds
        while self.live and time.monotonic() < deadline:
            self.look(replace=False)
            time.sleep(0.05)
        for worker in self.live:
            self._blame(worker, f"still at work {seconds:g} s after the last slot was done")
        self.end()

    def end(self) -> None:
        """Leave no process."""
        for worker in self.live:
            worker.send(signal.SIGKILL)
            worker.process.join()
        self.live.clear()

    def blame_left(self) -> None:
        """Nothing may run that a worker has started, once all have ended."""
        deadline = time.monotonic() + LONG
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.wrong += [f"process {each.pid} is left: {each.name()}" for each in left]

    def _left(self) -> list[psutil.Process]:
        found = []
        for each in psutil.process_iter():
            with suppress(psutil.Error):
                if each.environ().get("CHAOS") == str(self.folder) and each.is_running():
                    found.append(each)
        return found

    def _blame(self, worker: Worker, what: str) -> None:
        said = worker.log.read_text().strip().splitlines() if worker.log.exists() else []
        last = "\n  ".join(said[-30:]) or "it said nothing"
        self.wrong.append(f"worker {worker.process.pid} {what}: {last}")


def _work(url: str, folder: str, log: str, pause: float) -> None:
    """The body of a worker process."""
    sys.stderr = Path(log).open("w", buffering=1)  # noqa: SIM115 -- for as long as it lives
    faulthandler.register(signal.SIGUSR1, sys.stderr)
    os.environ |= {"BATCHFRONT_STORAGE": url, "TOY_PAUSE": str(pause), "CHAOS": folder}
    checkpoint._WRITER = uuid4().hex[:8]  # which the fork server has made for all
    _hurry()
    from batchfront.cli.main import main

    places = ["--checkpoint-dir", f"{folder}/checkpoints", "--trial-dir", f"{folder}/trials"]
    trusted = ["--code", str(Path(toy.__file__).parent), "--code", str(Path(folder).parent)]
    main(["work", "--device", "cpu", *places, *trusted, "--max-outage", "60s", "--quiet"])


def _hurry() -> None:
    """Leases here are a tenth of what they are, and so is what goes with them. A worker lives for
    seconds, so that a trial may well lose six in a row: that is no longer its own fault."""
    from batchfront.ledger import claims
    from batchfront.store import postgresql
    from batchfront.worker import worker
    from batchfront.worker.pace import Pace

    often = Pace(0.5, first_checkpoint=1.0, checkpoints=2.0, copying_share=0.2, writing_share=0.2)
    worker.Pace = lambda: often
    claims.DEATHS = 1_000
    for name in ("SILENT_SECONDS", "PING_SECONDS", "ANSWER_SECONDS"):
        setattr(postgresql, name, getattr(postgresql, name) / 10)
    for name in postgresql._LIMITS:
        postgresql._LIMITS[name] //= 10
    postgresql._TICK = 0.2
