"""What does it cost to look at a database of 2,000 studies?

    python -m tests.benchmarks.looking

200 workloads of 10 batch sizes with 100 trials each, two of them open, a tenth of the trials with
curves, in SQLite and in PostgreSQL. Every command is a process of its own, `report --serve`
one that goes on: until it listens, then looks at the index, which is looked at until it has all
answers, and at the page of one workload.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil

from batchfront.ledger.ledger import Ledger
from batchfront.store.url import open_storage
from batchfront.study.study import Filter
from tests.benchmarks.finished_database import BATCH_SIZES, finish_studies
from tests.benchmarks.markdown import table
from tests.benchmarks.noop_trials import VERSIONS, reached
from tests.benchmarks.production_server import Server, server

T = TypeVar("T")

COLUMNS = ("", "CPU s", "server's CPU s", "seconds", "peak MB", "bytes")


@dataclass(frozen=True)
class Size:
    workloads: int
    studies: int  # a workload
    trials: int  # a study, two of them open


_EVERY = 3.0  # seconds between two questions of a browser

MINE, OTHER = "clouds/mlp_0/momentum", "clouds/mlp_1/momentum"

FULL, QUICK = Size(200, 10, 100), Size(2, 2, 8)


@dataclass(frozen=True)
class Cost:
    """What one look took.

    cpu     -- seconds of the process and of those that it started
    server  -- seconds of the database's own processes; of SQLite they are the reader's
    seconds -- by the clock, or those until an answer
    peak    -- bytes of memory at the most, since the process began
    size    -- bytes of what came of it
    """

    what: str
    cpu: float
    server: float
    seconds: float
    peak: int
    size: int

    def row(self) -> list[str]:
        """The cells of COLUMNS."""
        times = (f"{seconds:.2f}" for seconds in (self.cpu, self.server, self.seconds))
        return [self.what, *times, f"{self.peak / 1e6:,.0f}", f"{self.size:,}"]


def fill(url: str, size: Size) -> None:
    """Leave the studies in a database that is made where it is missing."""
    storage = open_storage(url, create=True)
    batch_sizes = BATCH_SIZES[: size.studies]
    finish_studies(storage, size.workloads * size.studies * size.trials, size.trials, batch_sizes)
    storage.close()


def end_one(url: str, workload: str) -> None:
    """End one open trial of a workload as a worker does."""
    storage = open_storage(url)
    ledger = Ledger(storage, "another")
    ledger.register("here", 1, "cpu")
    claimed = ledger.claim(Filter((workload,)), lambda _: 1)
    assert claimed is not None
    study, taken = claimed
    started = ledger.start(study, taken, study.space, VERSIONS)
    ledger.finish(study, [(slot, reached(5_000)) for slot in started])
    storage.close()


def costs(url: str, name: str, folder: Path, database: Callable[[], float]) -> Iterator[Cost]:
    """What each way of looking takes.

    name     -- of the storage, in the table
    folder   -- for what is written
    database -- CPU seconds of the database's processes so far
    """
    commands = {
        "status": (["status"], folder / "status"),
        "report": (["report", "--output", str(folder / "report.html")], folder / "report.html"),
        "export": (["export", "--output", str(folder / "export")], folder / "export"),
    }
    for what, (arguments, made) in commands.items():
        yield _command(f"{name}: {what}", [*arguments, "--storage", url], made, database)
    yield from _served(url, f"{name}: report --serve", database)


_USED = """
import os, sys
pid = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ)
_, status, used = os.wait4(pid, 0)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Runs a command in between: a process counts the memory of the one that it was made from as its
own peak, so that this one must be small."""


def _command(
    what: str, arguments: Sequence[str], made: Path, database: Callable[[], float]
) -> Cost:
    """Its size is that of the file or folder that it makes, or else of what it prints."""
    command = [sys.executable, "-c", _USED, "-m", "batchfront.cli.main", *arguments]
    began, before = time.perf_counter(), database()
    ran = subprocess.run(command, capture_output=True)
    seconds, after = time.perf_counter() - began, database()
    if ran.returncode:
        raise RuntimeError(ran.stderr.decode())
    cpu, kilobytes = ran.stderr.split()[-2:]
    size = _bytes(made) if made.exists() else len(ran.stdout)
    return Cost(what, float(cpu), after - before, seconds, int(kilobytes) * 1024, size)


def _bytes(made: Path) -> int:
    """Of a file, a folder, or an index with the folder of its pages."""
    folder = made if made.is_dir() else made.with_name(f"{made.stem}_files")
    return sum(file.stat().st_size for file in (made, *folder.rglob("*")) if file.is_file())


def _served(url: str, name: str, database: Callable[[], float]) -> Iterator[Cost]:
    arguments = ["report", "--serve", "--port", "0", "--storage", url]
    process = subprocess.Popen(
        [sys.executable, "-m", "batchfront.cli.main", *arguments], stderr=subprocess.PIPE
    )
    watched = _Watched(process.pid, database)
    try:
        cost, index = watched.cost(f"{name}, until it listens", lambda: _address(process))
        yield cost
        cost, page = watched.cost(f"{name}, index: first look", partial(_look, index))
        yield cost
        time.sleep(_EVERY)  # an answer may be as old as that
        again = partial(_look, index, page.tag, 1)
        yield watched.cost(f"{name}, index: nothing has changed", again)[0]
        time.sleep(_EVERY)
        end_one(url, OTHER)
        newer = partial(_look, index, page.tag)
        yield watched.cost(f"{name}, index: a trial has ended", newer)[0]
        mine = f"{index}?workload={MINE}"
        cost, page = watched.cost(f"{name}, page: first look", partial(_look, mine))
        yield cost
        time.sleep(_EVERY)
        end_one(url, OTHER)
        again = partial(_look, mine, page.tag, 1)
        yield watched.cost(f"{name}, page: another's trial has ended", again)[0]
        time.sleep(_EVERY)
        end_one(url, MINE)
        newer = partial(_look, mine, page.tag)
        yield watched.cost(f"{name}, page: a trial has ended", newer)[0]
    finally:
        process.terminate()
        process.wait()


def _address(process: "subprocess.Popen[bytes]") -> str:
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(rb"http://\S+/", line)
        if found:
            return found[0].decode()
    raise RuntimeError(f"the server ended with {process.wait()}")


@dataclass(frozen=True)
class _Page:
    tag: str
    size: int


def _look(address: str, tag: str = "", times: int = 1_000) -> _Page:
    """Ask for a page as a browser does that has one, until there is another that is whole, or so
    many times."""
    for _ in range(times):
        try:
            with urlopen(Request(address, headers={"If-None-Match": tag})) as answer:
                page = answer.read()
            if b" data-soon" not in page and b'role="status" hidden' in page:
                return _Page(answer.headers["ETag"], len(page))
        except HTTPError as error:
            if error.code != 304:
                raise
        if times > 1:
            time.sleep(_EVERY / 10)
    return _Page(tag, 0)


class _Watched:
    """A process that goes on, and what its parts take."""

    def __init__(self, pid: int, database: Callable[[], float]) -> None:
        self._process = psutil.Process(pid)  # type: ignore[no-untyped-call]
        self._database = database

    def cost(self, what: str, act: Callable[[], T]) -> tuple[Cost, T]:
        """What it took meanwhile, and what came of it."""
        began, cpu, before = time.perf_counter(), self._cpu(), self._database()
        made = act()
        seconds = time.perf_counter() - began
        spent = self._cpu() - cpu, self._database() - before
        size = made.size if isinstance(made, _Page) else 0
        return Cost(what, *spent, seconds, self._peak(), size), made

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _peak(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024


def _apart(act: Callable[..., None], *arguments: object) -> None:
    """In a process of its own: what starts others stays small, as each begins at its size."""
    process = get_context("spawn").Process(target=act, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0


def _sqlite(file: Path, size: Size, folder: Path) -> Iterator[Cost]:
    if not file.exists():
        part = file.with_suffix(".part")
        _apart(fill, f"sqlite:///{part}", size)
        part.rename(file)
    yield from costs(f"sqlite:///{file}", "SQLite", folder, lambda: 0.0)


def _postgresql(on: Server, size: Size, folder: Path) -> Iterator[Cost]:
    on.fresh().close()
    _apart(fill, on.url(), size)
    on.analyze()
    yield from costs(on.url(), "PostgreSQL", folder, on.cpu)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2 workloads of 2 batch sizes")
    parser.add_argument("--storages", default="sqlite,postgresql", help="default: %(default)s")
    parser.add_argument(
        "--sqlite", type=Path, metavar="FILE", help="a database that an earlier turn has left here"
    )
    asked = parser.parse_args(arguments)
    size = QUICK if asked.quick else FULL
    found: list[Cost] = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if "sqlite" in asked.storages:
            found += _told(_sqlite(asked.sqlite or folder / "looking.db", size, folder))
        if "postgresql" in asked.storages:
            with server() as on:
                found += _told(_postgresql(on, size, folder))
    print(table(COLUMNS, [cost.row() for cost in found]))
    return 0


def _told(found: Iterator[Cost]) -> Iterator[Cost]:
    for cost in found:
        print(*cost.row(), sep=" | ", file=sys.stderr, flush=True)
        yield cost


if __name__ == "__main__":
    sys.exit(main())
