"""Do the hours that `batchfront advise` reckons with come true?

    python -m tests.benchmarks.hours

Each workload is searched, and timed by `batchfront time`. Then `batchfront confirm` runs each
winner again with fresh seeds, on one CPU process and on two; what its trials took by the clock is
compared with what the timings predict: seconds a step, and the seconds of the whole run, training
and evaluations, in the steps that it took. Timing and running take turns, in rounds.

A whole step that was timed predicts itself, so each is predicted a second time from its parts and
the other whole steps, and on two processes a third time from timings on one process and the speed
of the connection, as of a machine that nobody has timed yet.

Other work on the same cores makes times what they are by chance; on Linux, `chrt -r 1 python -m
...` keeps that out. --kept names a folder whose databases of searches are used, and kept.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
from torch.multiprocessing import get_context

from batchfront.advice.evaluations import Evaluations
from batchfront.advice.machines import Machine
from batchfront.advice.step_time import StepTimes
from batchfront.advice.timings import Timing, load_timings
from batchfront.frontier.frontier import Frontier, load_frontier
from batchfront.frontier.queries import Trial, load_reruns
from batchfront.store.url import open_storage
from batchfront.training.distributed.process_group import ProcessGroup, rendezvous
from batchfront.vocabulary import Purpose, TimedPart
from tests.benchmarks.markdown import table

PROMISE = 0.10
"""The median error of each kind of prediction, at most."""

DEVICES = (1, 2)


@dataclass(frozen=True)
class Case:
    """A workload, and the search that finds how it is trained.

    seeds -- that each winner is run with in a round
    """

    workload: str
    batch_sizes: tuple[int, ...]
    search: tuple[str, ...]
    seeds: int
    rounds: int

    @property
    def file(self) -> str:
        """The name of its database."""
        return f"{self.workload.replace('/', '-')}.db"


CASES = (
    Case("digits/mlp/momentum", (16, 64, 256, 512), ("--trials", "16"), 3, 3),
    Case("books/transformer_tiny/adamw", (8, 16, 32, 64), ("--trials", "4", "--goal", "5.5"), 1, 2),
)
QUICK = (Case("digits/mlp/momentum", (64, 256), ("--trials", "8"), 1, 1),)


@dataclass(frozen=True)
class Row:
    """One batch size on a number of devices: what was predicted, and what came of it.

    step     -- seconds, by what they are predicted from
    whole    -- seconds of a run, likewise
    took     -- seconds of a step, and of a run
    """

    workload: str
    devices: int
    batch_size: int
    step: dict[str, float]
    whole: dict[str, float]
    took: tuple[float, float]


TIMED, PARTS, ELSEWHERE = "timed", "parts", "one process"


def searched(case: Case, folder: Path) -> str:
    """The database of the case's search, which is made if it isn't there."""
    url = f"sqlite:///{folder / case.file}"
    if not (folder / case.file).exists():
        sizes = ",".join(map(str, case.batch_sizes))
        _batchfront(
            folder, "run", case.workload, *case.search, "--batch-sizes", sizes, "--storage", url
        )
    return url


def rows(case: Case, folder: Path, machine: Machine) -> Iterator[Row]:
    """Time the case and run it, in turns, and compare."""
    url = searched(case, folder)
    copies = {devices: folder / f"{devices}-{case.file}" for devices in DEVICES}
    for copy in copies.values():
        shutil.copy(folder / case.file, copy)
    storage = open_storage(url)
    frontier = load_frontier(storage, case.workload)
    sizes, counts = (",".join(map(str, numbers)) for numbers in (case.batch_sizes, DEVICES))
    asked = ["--batch-sizes", sizes, "--devices-per-trial", counts, "--device", "cpu"]
    found: list[list[Timing]] = []
    for number in range(1, case.rounds + 1):
        _batchfront(folder, "time", case.workload, *asked, "--storage", url)
        found.append(load_timings(storage, case.workload))
        for devices, copy in copies.items():
            confirm(case, copy, devices, number * case.seeds)
    storage.close()
    timings = _together(found)
    for devices, copy in copies.items():
        trials = reruns(case, copy)
        copy.unlink()
        for batch_size in case.batch_sizes:
            models = dict(_models(timings, batch_size, devices, machine, frontier))
            yield _row(case, frontier, timings, devices, batch_size, models, trials[batch_size])


def confirm(case: Case, database: Path, devices: int, seeds: int) -> None:
    """Run the winners with so many seeds in all, on so many devices."""
    sizes = ",".join(map(str, case.batch_sizes))
    asked = ["--candidates", "1", "--seeds", str(seeds), "--batch-sizes", sizes]
    how = ["--workers", "1", "--engine", "sequential", "--device", "cpu"]
    together = ["--devices-per-trial", str(devices), "--storage", f"sqlite:///{database}"]
    _batchfront(database.parent, "confirm", case.workload, *asked, *how, *together)


def reruns(case: Case, database: Path) -> dict[int, Sequence[Trial]]:
    """What `confirm` has run, by batch size."""
    storage = open_storage(f"sqlite:///{database}")
    found = load_reruns(storage, case.workload)
    storage.close()
    return {size: found[Purpose.CONFIRM, size] for size in case.batch_sizes}


def _together(rounds: Sequence[Sequence[Timing]]) -> list[Timing]:
    """Each part's timings of all rounds as one."""
    found: dict[tuple[TimedPart, int, int], list[Timing]] = {}
    for one in (timing for timings in rounds for timing in timings):
        found.setdefault((one.part, one.examples, one.devices), []).append(one)
    return [
        replace(
            same[0],
            seconds=fmean(one.seconds for one in same),
            low=fmean(one.low or one.seconds for one in same),
            high=fmean(one.high or one.seconds for one in same),
        )
        for same in found.values()
    ]


def _models(
    timings: Sequence[Timing], batch_size: int, devices: int, machine: Machine, frontier: Frontier
) -> Iterator[tuple[str, StepTimes]]:
    """What predicts a step, by what it is made from."""
    yield TIMED, StepTimes.of(timings)
    itself = (TimedPart.STEP, batch_size, devices)
    others = [one for one in timings if (one.part, one.examples, one.devices) != itself]
    yield PARTS, StepTimes.of(others)
    if devices > 1:
        alone = [one for one in timings if one.devices == 1]
        shapes = frontier.points[0].study.identity["model"]["parameters"].values()
        size = 4 * sum(map(prod, shapes))
        yield ELSEWHERE, StepTimes.of(alone, machine, gradient_bytes=size)


def _row(
    case: Case,
    frontier: Frontier,
    timings: Sequence[Timing],
    devices: int,
    batch_size: int,
    models: dict[str, StepTimes],
    trials: Sequence[Trial],
) -> Row:
    training = [one.training_seconds or 0.0 for one in trials]
    evaluating = [one.evaluation_seconds or 0.0 for one in trials]
    steps = [one.steps for one in trials]
    evaluations = Evaluations.of(frontier, timings)
    assert evaluations is not None
    added = fmean(evaluations.seconds(batch_size, count).value for count in steps)
    step = {name: one.at(batch_size, devices).seconds.median for name, one in models.items()}
    whole = {name: seconds * fmean(steps) + added for name, seconds in step.items()}
    took = sum(training) / sum(steps), fmean(training) + fmean(evaluating)
    return Row(case.workload, devices, batch_size, step, whole, took)


def _batchfront(folder: Path, *arguments: str) -> None:
    program = [sys.executable, "-P", "-m", "batchfront.cli.main", *arguments]
    subprocess.run(program, check=True, stdout=subprocess.DEVNULL, cwd=folder)


_SIZES = (1 << 10, 1 << 22)  # bytes of a message that takes its latency, and of one that doesn't

_TIMES = 60


def connection() -> Machine:
    """Two processes of this machine, by all-reduces of a small and a large tensor: 2 messages of
    half of it each (Patarasuk and Yuan 2009)."""
    store = rendezvous(2)
    other = get_context("spawn").Process(target=_reduce, args=(1, store.port), daemon=True)
    other.start()
    small, large = _reduce(0, store.port, store)
    other.join()
    return Machine(
        "two processes",
        devices=2,
        bandwidth_within=(_SIZES[1] - _SIZES[0]) / max(large - small, 1e-9),
        latency_within=small / 2,
    )


def _reduce(rank: int, port: int, store: object = None) -> list[float]:
    torch.set_num_threads(1)
    group = ProcessGroup(rank, 2, torch.device("cpu"))
    group.join(rendezvous(2, port) if store is None else store)
    medians = []
    for size in _SIZES:
        tensor, took = torch.zeros(size // 4), []
        for _ in range(_TIMES):
            began = perf_counter()
            group.all_reduce([tensor])
            took.append(perf_counter() - began)
        medians.append(median(took))
    group.leave()
    return medians


def _cells(row: Row, name: str) -> list[str]:
    if name not in row.step:
        return ["–", "–"]
    return [f"{row.step[name] / row.took[0]:.2f}", f"{row.whole[name] / row.took[1]:.2f}"]


def tell(found: Sequence[Row]) -> dict[str, float]:
    """Print the tables. Returns the median error of each kind of prediction."""
    names = (TIMED, PARTS, ELSEWHERE)
    print(
        table(
            [
                "workload, batch size",
                "processes",
                "ms a step",
                "s to the goal",
                *(f"{name}: {what}" for name in names for what in ("step", "run")),
            ],
            [
                [
                    f"{row.workload}, {row.batch_size}",
                    row.devices,
                    f"{1e3 * row.took[0]:.3g}",
                    f"{row.took[1]:.3g}",
                    *(cell for name in names for cell in _cells(row, name)),
                ]
                for row in found
            ],
        )
    )
    errors = {}
    for name in names:
        mine = [row for row in found if name in row.step]
        errors[f"{name}, step"] = median(abs(r.step[name] / r.took[0] - 1) for r in mine)
        errors[f"{name}, run"] = median(abs(r.whole[name] / r.took[1] - 1) for r in mine)
    print()
    print(
        table(["median error", ""], [[name, f"{100 * off:.0f} %"] for name, off in errors.items()])
    )
    return errors


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it. Returns 1 with --check if a promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--kept", type=Path, metavar="FOLDER")
    asked = parser.parse_args(arguments)
    machine = connection()
    print(f"connection: {machine.bandwidth_within:.3g} bytes/s, {machine.latency_within:.3g} s\n")
    with TemporaryDirectory() as folder:
        cases = QUICK if asked.quick else CASES
        where = (asked.kept or Path(folder)).absolute()
        errors = tell([row for case in cases for row in rows(case, where, machine)])
    promised = [off for name, off in errors.items() if not name.startswith(ELSEWHERE)]
    return int(asked.check and max(promised) > PROMISE)


if __name__ == "__main__":
    sys.exit(main())
