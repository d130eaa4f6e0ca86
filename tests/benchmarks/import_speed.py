"""How fast is the public archive imported, and in how much memory?

    python -m tests.benchmarks.import_speed

Generates an archive in the format of the paper's, imports it into SQLite and PostgreSQL, each in a
process of its own, and says what the same speeds would mean for the true archive.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from batchfront.exchange.batch_science.archive import find_folders
from batchfront.exchange.batch_science.importer import import_archive
from batchfront.store.url import open_storage
from tests.batchfront.exchange.generated_archive import COLUMNS, trial, write_study
from tests.benchmarks.markdown import table
from tests.postgres import Postgres
from tests.processes import end_with_parent

WORKLOAD = "imagenet/resnet_50/nesterov_momentum"

TRUE_TRIALS, TRUE_MEASUREMENTS = 168_160, 71_638_836
"""Of the public archive, by the paper's abstract."""


@dataclass(frozen=True)
class Size:
    studies: int
    trials: int  # a study
    rows: int  # of measurements a trial, of len(COLUMNS) metrics each


@dataclass(frozen=True)
class Speed:
    """seconds -- in all; cpu -- of the importing process; megabytes -- its peak beyond its start"""

    trials: int
    measurements: int
    seconds: float
    cpu: float
    megabytes: float
    stored: int


def generate(root: Path, size: Size) -> None:
    """An archive of one workload, with falling curves."""
    draw = np.random.default_rng(0)
    for study in range(size.studies):
        trials = []
        for number in range(1, size.trials + 1):
            floor = draw.uniform(0.1, 0.4)
            values = floor + np.exp(-np.linspace(0, 5, size.rows))[:, None] * draw.uniform(
                0.5, 1.0, (size.rows, len(COLUMNS))
            )
            rows = [
                (100 * n, dict(zip(COLUMNS, map(float, line), strict=True)))
                for n, line in enumerate(values)
            ]
            trials.append(trial(number, rows))
        write_study(root, WORKLOAD, 2 ** (study + 1), trials)


def measure(url: str, root: Path, report: "multiprocessing.Queue[Speed]") -> None:
    """Import the archive in this process, and say how fast it was."""
    end_with_parent()
    storage = open_storage(url, create=True)
    import pyarrow.csv  # noqa: F401 - and all else that any import needs is there before the start

    empty = _stored(storage)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, cpu = perf_counter(), process_time()
    results = list(import_archive(storage, find_folders(root), (), lambda _: None))
    seconds, cpu = perf_counter() - began, process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if any(result.error for result in results):
        raise SystemExit(str(results))
    stored = _stored(storage) - empty
    trials = sum(result.trials for result in results)
    measurements = sum(result.measurements for result in results)
    storage.close()
    report.put(Speed(trials, measurements, seconds, cpu, (peak - before) / 1024, stored))


def _stored(storage: object) -> int:
    """Bytes that the database takes."""
    from sqlalchemy import text

    assert hasattr(storage, "read")
    with storage.read() as conn:
        if conn.dialect.name == "postgresql":
            return int(conn.execute(text("SELECT pg_database_size(current_database())")).scalar())
        pages = conn.execute(text("PRAGMA page_count")).scalar()
        return int(pages * conn.execute(text("PRAGMA page_size")).scalar())


def in_a_process(url: str, root: Path) -> Speed:
    """`measure` in a new process, whose peak of memory is its own."""
    context = multiprocessing.get_context("spawn")
    report = context.Queue()
    process = context.Process(target=measure, args=(url, root, report), daemon=True)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"the import ended with exit code {process.exitcode}")
    speed: Speed = report.get()
    return speed


def rows_of(name: str, speed: Speed) -> list[str]:
    """A row of the table. The true archive costs by its trials or by its measurements, whichever
    is more: if those are values, or if those are rows of all metrics."""
    values = TRUE_MEASUREMENTS / speed.measurements
    times = [max(TRUE_TRIALS / speed.trials, values * k) for k in (1, len(COLUMNS))]
    return [
        name,
        f"{speed.trials:,}",
        f"{speed.measurements:,}",
        f"{speed.seconds:.1f}",
        f"{speed.cpu:.1f}",
        f"{speed.trials / speed.seconds:,.0f}",
        f"{speed.measurements / speed.seconds:,.0f}",
        f"{speed.megabytes:,.0f}",
        f"{speed.stored / speed.measurements:.0f}",
        _to(" / ", (of * speed.cpu / 60 for of in times), ",.0f"),
        _to(" / ", (of * speed.stored / 1e9 for of in times), ",.0f"),
    ]


def _to(between: str, numbers: Iterable[float], form: str) -> str:
    return between.join(format(number, form) for number in numbers)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small archive")
    asked = parser.parse_args(arguments)
    size = Size(2, 10, 20) if asked.quick else Size(20, 100, 100)
    server = Postgres()
    try:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "batch_science"
            generate(root, size)
            found = {
                "SQLite": in_a_process(f"sqlite:///{folder}/trials.db", root),
                "PostgreSQL": in_a_process(server.url(server.create(template="template0")), root),
            }
    finally:
        server.remove()
    columns = "|trials|measurements|seconds|CPU s|trials/s|measurements/s|MB at the peak"
    columns += "|bytes a measurement|true archive: CPU min|GB"
    print(table(columns.split("|"), [rows_of(name, speed) for name, speed in found.items()]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
