"""Workers as processes of this machine."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from select import select
from signal import SIGKILL, SIGTERM
from threading import Event, Thread
from time import monotonic
from uuid import uuid4

from batchfront.errors import BatchfrontError, StorageLost, Unreachable, UsageError, WorkersFailed
from batchfront.extras import has_torch
from batchfront.launch.launcher import Launched
from batchfront.launch.worker_options import Order
from batchfront.ledger.ledger import Ledger
from batchfront.log_lines import message_of
from batchfront.store.commands import command
from batchfront.store.database import Storage
from batchfront.study.study import find_studies
from batchfront.training import device_names
from batchfront.training.programs.leftovers import sweep_left
from batchfront.vocabulary import SHARED_BY
from batchfront.worker.options import WorkerOptions
from batchfront.workload.catalog import is_sweep_file
from batchfront.workload.sweep_file import read_sweep_file

log = logging.getLogger(__name__)

_RESTARTS = 3  # per place; a worker that dies more often than this has a cause to be told

_LAST_WORDS_SECONDS = 2.0  # in which what an ended worker has said is read

_LONGEST_LINE = 1 << 16  # bytes; what is longer comes in parts

_POLL_SECONDS = 0.2  # after which it is asked again whether all are alive


Tell = Callable[[str, str], None]
"""Says on standard error a line that a worker has said there, and the worker's id."""


@dataclass
class _Place:
    """One of the worker processes, and what has happened to it so far."""

    device: str
    worker_id: str
    process: subprocess.Popen[bytes] = field(init=False)
    listener: "Listener" = field(init=False)
    restarts: int = 0
    last_line: str = ""


class LocalWorkers:
    """Worker processes that live no longer than this object's `with` block.

    A worker that dies is replaced, and its slots are free at once. Should this process itself be
    killed, the workers notice that their standard input has closed, and stop in good order.

    patience -- seconds from asking workers to stop until they are killed
    """

    patience = 60.0

    def __init__(
        self,
        storage: Storage,
        order: Order,
        devices: Sequence[str],
        tell: Tell,
    ) -> None:
        self.storage, self.order, self.tell = storage, order, tell
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

        Raises WorkersFailed when one has died too often, with the last line that it wrote, and
        StorageLost when there is no database left to work on.
        """
        self.storage.check_file()
        alive = 0
        for place in self._places:
            code = place.process.poll()
            alive += code != 0
            if not code:
                continue
            _hang_up(place)
            self._reap(place)
            self.storage.check_file()
            ended = f"signal {-code}" if code < 0 else f"exit code {code}"
            if code == 2 or place.restarts >= _RESTARTS:
                raise WorkersFailed(f"a worker ended with {ended}: {place.last_line or 'no word'}")
            log.warning("a worker ended with %s; starting another", ended)
            place.restarts += 1
            place.worker_id = uuid4().hex
            self._start(place)
        return alive

    def hold(self, stop: Event) -> None:
        """Wait until all have ended, or `stop` is set and they have released everything; a Ctrl-C
        while they do ends them at once."""
        while self.watch() and not stop.wait(_POLL_SECONDS):
            pass
        if stop.is_set():
            try:
                self.stop()
            except KeyboardInterrupt:
                self.kill()

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes, one for each device."""
        return tuple(place.process.pid for place in self._places)

    @property
    def running(self) -> int:
        """How many worker processes are alive."""
        return sum(place.process.poll() is None for place in self._places)

    def stop(self) -> None:
        """Ask all workers to save and release what they hold, and wait until they have."""
        for place in self._places:
            if place.process.poll() is None:
                place.process.send_signal(SIGTERM)
        deadline = monotonic() + self.patience
        for place in self._places:
            try:
                place.process.wait(max(deadline - monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                self.kill()
                place.process.wait()
            _hang_up(place)
            if place.process.returncode:
                self._reap(place)

    def kill(self) -> None:
        """End all workers at once; their trials restart from their last checkpoints."""
        for place in self._places:
            if place.process.poll() is None:
                place.process.send_signal(SIGKILL)

    def _reap(self, place: _Place) -> None:
        """End what a dead worker has left running, and free at once what it held; in an outage, its
        lease does that in a while."""
        sweep_left()
        try:
            Ledger(self.storage, place.worker_id).reap()
        except StorageLost:
            pass  # nothing is held any more
        except Unreachable as error:
            log.warning("%s", error)

    def _start(self, place: _Place) -> None:
        order = replace(self.order, worker=replace(self.order.worker, device=place.device))
        sharing = str(self._devices.count(place.device))
        told = order.arguments("--worker-id", place.worker_id, "--leash", "--sharing", sharing)
        place.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "batchfront.cli.main", "work", *told],
            env={**os.environ, **order.environment(), SHARED_BY: self._processes()},
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for this process, which then tells the workers
        )
        place.listener = Listener(place.process, partial(self._heard, place, place.worker_id))

    def _processes(self) -> str:
        """How many of this launcher's processes train, those of several devices among them."""
        return str(len(self._devices) * self.order.worker.devices_per_trial)

    def _heard(self, place: _Place, worker_id: str, line: str) -> None:
        place.last_line = message_of(line)
        if not self._says_storage_is_lost(line):
            self.tell(line, worker_id)

    def _says_storage_is_lost(self, line: str) -> bool:
        """Whether it is what every worker says that finds no database any more: `watch` does."""
        try:
            self.storage.check_file()
        except StorageLost as error:
            return str(error) in line
        return False


class Listener:
    """Reads what a process and all that it starts write to its standard error, a line at a time.

    It reads on whatever comes, and wherever that goes: a worker waits while its pipe is full. And
    the pipe stays open for as long as anything that the worker has started has it.
    """

    def __init__(self, process: subprocess.Popen[bytes], hear: Callable[[str], None]) -> None:
        assert process.stderr is not None
        self._said, self._hear = process.stderr, hear
        self._ended, self._all_heard = Event(), Event()
        Thread(target=self._listen, daemon=True).start()

    def hear_out(self) -> None:
        """Wait until all has been heard that the process, which has ended, had to say."""
        self._ended.set()
        self._all_heard.wait(_LAST_WORDS_SECONDS)

    def _listen(self) -> None:
        begun = b""
        with self._said:
            while (data := self._next()) != b"":
                *lines, begun = (begun + (data or b"")).split(b"\n")
                if data is None or len(begun) > _LONGEST_LINE:  # nothing follows now, or too much
                    lines, begun = [*lines, begun], b""
                for line in lines:
                    self._pass(line)
                if data is None:
                    self._all_heard.set()
            self._pass(begun)
        self._all_heard.set()

    def _next(self) -> bytes | None:
        """What comes next: nothing at the end; None where the process has ended and others, which
        have its standard error still, write nothing."""
        while not select([self._said], [], [], _POLL_SECONDS)[0]:
            if self._ended.is_set() and not self._all_heard.is_set():
                return None
        return os.read(self._said.fileno(), _LONGEST_LINE)

    def _pass(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip().rpartition("\r")[2]  # of a progress bar
        if text:
            with suppress(Exception):  # wherever it goes, the next is to be read
                self._hear(text)


def devices_for(specs: Collection[str], worker: WorkerOptions, workers: int | None) -> list[str]:
    """The device of each worker on this machine: by default every GPU, or else each core.

    specs -- of the workloads that they work on. Where all are programs, the GPUs are those that the
             driver lists, which torch may not see, and one worker on a device runs as many as are
             to be in memory together there

    Raises UsageError if there are no such devices.
    """
    together = worker.devices_per_trial
    files = [spec for spec in specs if is_sweep_file(spec)]
    if len(files) < len(specs) and has_torch():
        from batchfront.training.devices import local_devices  # which brings torch

        return local_devices(worker.device, workers, together)
    gpus = len(device_names.visible_gpus()) if worker.device != "cpu" else 0
    for spec in files:
        needed = _gpus_needed(spec)
        if needed > gpus:
            raise UsageError(
                f"{spec}, [resources] gpus: {needed} are needed, and there are {gpus} here"
                + (" with --device cpu" if worker.device == "cpu" else "")
            )
        together = max(together, needed)
    if workers is None and device_names.resolve(worker.device, gpus) == "cpu":
        workers = 1
    return device_names.local_devices(worker.device, workers, together, gpus)


def _gpus_needed(spec: str) -> int:
    """How many each of a program's trials takes; 0 where its sweep file can't be read, which who
    plans it is told, and who works on it finds elsewhere."""
    try:
        return read_sweep_file(Path(spec)).program.resources.gpus
    except BatchfrontError:
        return 0


class Local:
    """Launches workers as processes of this machine, on every device in turn."""

    def __init__(self, storage: Storage, tell: Tell) -> None:
        self.storage, self.tell = storage, tell

    def launch(self, order: Order, workers: int | None = None) -> Launched:
        """Start them; by default one per GPU, or else one per CPU core."""
        with self.storage.read() as conn:
            specs = {study.spec for study in find_studies(conn, order.wanted)}
        devices = devices_for(specs, order.worker, workers)
        started = LocalWorkers(self.storage, order, devices, self.tell).__enter__()

        def hold(stop: Event) -> None:
            try:
                started.hold(stop)
            finally:
                started.stop()

        ids = tuple(map(str, started.pids))
        watch = command(self.storage, "status", "--watch")
        return Launched(ids, watch, "Ctrl-C", hold)


def _hang_up(place: _Place) -> None:
    """Hear what an ended worker still had to say."""
    place.listener.hear_out()
    if place.process.stdin is not None:
        place.process.stdin.close()
