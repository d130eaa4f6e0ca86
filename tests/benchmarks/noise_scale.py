"""What one run's gradient noise foretells, beside the B_c that searches have measured.

`python -m tests.benchmarks.noise_scale digits.db books.db` takes the searches that these databases
hold; beside them, the curves that were measured before (`measured_curves.json`, docs/runs). Of
each, a run before any search is probed and, of a database, the winner's at every batch size.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from threading import Event

from batchfront.advice.intervals import Interval
from batchfront.advice.noise_scale import noise_scale
from batchfront.frontier.curve.answers import fit_curve as curve_of
from batchfront.frontier.curve.curve import fit_curve
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.curve.fit import Observation
from batchfront.frontier.frontier import load_frontier
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.url import Storage, open_storage
from batchfront.study.study import Filter, find_studies
from batchfront.worker.probe import probe
from batchfront.worker.probed import ProbeOptions, middle
from batchfront.workload import catalog
from tests.benchmarks.markdown import table

CURVES = Path(__file__).parent / "measured_curves.json"

TOLD = {  # in docs/runs: batch size, steps, last miss
    ("books/transformer_tiny/momentum", 4.5): (
        (4, 1382, 1329),
        (16, 469, 451),
        (64, 191, 184),
        (128, 148, 143),
        (256, 133, 128),
    ),
    ("mnist/simple_cnn_base/nesterov_momentum", 0.03): (
        (8, 969, 960),
        (32, 333, 330),
        (64, 272, 270),
        (128, 81, 80),
    ),
}


@dataclass(frozen=True)
class Measured:
    """The B_c of a workload, as a search has measured it."""

    workload: str
    goal: float
    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, workload: str, goal: float, found: Estimate) -> "Measured":
        return cls(workload, goal, found.value, found.low, found.high)

    @property
    def shown(self) -> str:
        ends = ["?" if end is None else f"{end:.0f}" for end in (self.low, self.high)]
        return f"{'–' if self.value is None else f'{self.value:.0f}'} ({ends[0]}–{ends[1]})"


@dataclass(frozen=True)
class Row:
    """One run's prediction beside what was measured.

    run -- whose: "winner" or "own"
    best -- whether `probe` would take this batch size if none was asked for
    """

    measured: Measured
    run: str
    batch_size: int
    steps: int
    foretold: Interval
    best: bool

    @property
    def error(self) -> float | None:
        """The logarithm of the ratio."""
        value = self.measured.value
        return None if value is None else log(self.foretold.median / value)

    @property
    def cells(self) -> tuple[str, ...]:
        found, error = self.foretold, self.error
        return (
            self.measured.workload,
            self.run,
            f"{self.batch_size:,}",
            f"{self.steps:,}",
            f"{found.median:.0f} ({found.low:.0f}–{found.high:.0f})",
            self.measured.shown,
            "–" if error is None else f"{exp(error):.2f}",
            "–" if error is None else f"{error:+.2f}",
        )


def main(arguments: Sequence[str]) -> int:
    """Print the table, and the errors by optimizer and family."""
    quick = "--quick" in arguments
    files = [Path(one) for one in arguments if not one.startswith("--")]
    rows = [row for file in files for row in _of_database(file)]
    known = {row.measured.workload for row in rows}
    for measured, sizes in _measured(quick):
        if measured.workload not in known:
            rows += _own(measured, middle(sizes))
    print(_shown(rows))
    print(_errors([row for row in rows if row.best and row.error is not None]))
    return 0


def _of_database(file: Path) -> Iterator[Row]:
    storage = open_storage(f"sqlite:///{file}")
    with storage.read() as conn:
        names = sorted({study.workload for study in find_studies(conn, Filter())})
    for name in names:
        frontier = load_frontier(storage, name)
        if not frontier.reached:
            continue
        found = curve_of(frontier).half_efficiency
        measured = Measured.of(name, frontier.reached[0].study.identity["goal"]["value"], found)
        sizes = [point.batch_size for point in frontier.reached]
        for batch_size in sizes:
            yield from _row(storage, name, batch_size, measured, batch_size == middle(sizes))
        yield from _own(measured, middle(sizes))


def _measured(quick: bool) -> Iterator[tuple[Measured, list[int]]]:
    """What was measured before: of several searches, the one whose B_c is the middle one."""
    made = json.loads(CURVES.read_text())["curves"]
    by_workload: dict[tuple[str, float], list[Sequence[Sequence[float]]]] = {}
    for curve in made:
        by_workload.setdefault((curve["workload"], curve["goal"]), []).append(curve["points"])
    if quick:
        by_workload = {("digits/mlp/sgd", 0.03): by_workload["digits/mlp/sgd", 0.03]}
    else:
        by_workload |= {of: [points] for of, points in TOLD.items()}
    for (workload, goal), searches in by_workload.items():
        found = [_half_efficiency(points) for points in searches]
        found.sort(key=lambda one: -1.0 if one.value is None else one.value)
        sizes = [int(point[0]) for point in searches[0]]
        yield Measured.of(workload, goal, found[len(found) // 2]), sizes


def _half_efficiency(points: Sequence[Sequence[float]]) -> Estimate:
    return fit_curve(
        [Observation(int(b), steps, lower) for b, steps, lower in points]
    ).half_efficiency


def _own(measured: Measured, batch_size: int) -> Iterator[Row]:
    """Before any search: of a database that knows the workload and its goal alone."""
    with TemporaryDirectory() as folder:
        storage = open_storage(f"sqlite:///{folder}/own.db", create=True)
        workload = catalog.load(measured.workload)
        asked = SearchOptions(trials=1, batch_sizes=(batch_size,), goal=measured.goal)
        plan(storage, measured.workload, workload, asked)
        yield from _row(storage, measured.workload, batch_size, measured, True)
        storage.close()


def _row(
    storage: Storage, name: str, batch_size: int, measured: Measured, best: bool
) -> Iterator[Row]:
    options = ProbeOptions(batch_size=batch_size, device="cpu")
    found = probe(storage, name, options, Path(), Event()).probe
    run = "own" if found.trial is None else "winner"
    read = noise_scale(found.readings, found.batch_size)
    print(f"{name} {run} {batch_size}: {read}", file=sys.stderr, flush=True)
    if read.value is not None:
        foretold = Interval(read.value, read.low, read.high)
        yield Row(measured, run, batch_size, found.steps, foretold, best)


def _shown(rows: Sequence[Row]) -> str:
    columns = (
        "workload",
        "run",
        "batch size",
        "steps",
        "foretold",
        "measured",
        "ratio",
        "log-error",
    )
    return table(columns, [row.cells for row in rows])


def _errors(rows: Sequence[Row]) -> str:
    """The mean and the root mean square of the log-errors, of the runs that `probe` takes."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        *family, optimizer = row.measured.workload.split("/")
        for group in ("all", f"run: {row.run}", "/".join(family), optimizer):
            assert row.error is not None
            groups.setdefault(group, []).append(row.error)
    lines = [
        (group, len(errors), f"{fmean(errors):+.2f}", f"{sqrt(fmean(e * e for e in errors)):.2f}")
        for group, errors in groups.items()
    ]
    return table(("of", "runs", "mean log-error", "root mean square"), lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
