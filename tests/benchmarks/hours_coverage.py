"""Do the intervals of an advice's hours hold what they promise? Made-up devices and curves, and the
timings of one session against those of another.

    python -m tests.benchmarks.hours_coverage --check
    python -m tests.benchmarks.hours_coverage --sessions sqlite:///first.db sqlite:///second.db

Each truth is a curve of steps, with the noise of its seeds, and a device whose parts take known
seconds: some with tiles, so that passes are no straight line, some whose passes slow each other
down, some whose all-reduce is hidden. An advice sees three seeds of each batch size and the timings
of one session, of one, two and four devices. What it chooses is then run: one more seed, in another
session, on as many devices. Eight devices are extrapolated to.
"""

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, exp, hypot, log
from pathlib import Path
from statistics import median

import numpy as np

from batchfront.advice.advise import load_advice
from batchfront.advice.intervals import Interval
from batchfront.advice.options import AdviceOptions
from batchfront.advice.part_times import mean_seconds, own_error
from batchfront.advice.timings import Timing, keep_timings, load_timings
from batchfront.exchange.points import import_points
from batchfront.exchange.points_file import read_points
from batchfront.frontier.queries import workload_names
from batchfront.store.url import open_storage
from tests.benchmarks.markdown import table
from tests.step_truth import NAME, Truth, curve_file

PROMISE = (0.85, 0.95)
SIZES = (8, 16, 32, 64, 128, 256, 512, 1024)
DEVICES = (1, 2, 4, 8)
TIMED = (1, 2, 4)
"""Numbers of devices; more are extrapolated to."""

REPETITIONS = (0.01, 0.05, 0.2)
"""The standard deviation of the logarithm of a part's repetitions."""

SEEDS = 3
DRIFT = 0.7
"""How far two sessions differ, as a share of the scatter of repetitions, beside 2 % in any case."""


@dataclass(frozen=True)
class Tiled(Truth):
    """A device that computes examples in tiles: passes are stairs."""

    tile: int = 1

    def one_pass(self, examples: int) -> float:
        return Truth.one_pass(self, ceil(examples / self.tile) * self.tile)


@dataclass(frozen=True)
class Case:
    """A truth: how many steps a run takes, and how long they are.

    noise       -- the standard deviation of the logarithm of one run's steps
    repetitions -- that of a part's seconds
    """

    device: Tiled
    least: float
    half: float
    alpha: float
    noise: float
    repetitions: float

    def steps(self, batch_size: int) -> float:
        """The median over seeds."""
        return self.least * (1 + (self.half / batch_size) ** self.alpha)


def case(rng: np.random.Generator) -> Case:
    """A truth by chance."""

    def between(low: float, high: float) -> float:
        return float(exp(rng.uniform(log(low), log(high))))

    device = Tiled(
        start=between(1e-3, 2e-2),
        each=between(2e-5, 1e-3),
        update=between(2e-4, 5e-3),
        bandwidth_part=between(5e-4, 5e-2),
        latency_part=between(1e-5, 1e-3),
        overlap=bool(rng.random() < 0.5),
        contention=float(rng.choice([0.0, 0.03, 0.1])),
        most=int(rng.choice([64, 256, 1024])),
        tile=int(rng.choice([1, 32])),
    )
    alpha = 1.0 if rng.random() < 0.5 else float(rng.uniform(0.7, 1.4))
    noise, repetitions = float(rng.choice([0.05, 0.1, 0.2])), float(rng.choice(REPETITIONS))
    return Case(device, between(50, 5000), between(16, 1024), alpha, noise, repetitions)


def session(truth: Case, rng: np.random.Generator) -> float:
    """By what all takes longer in one session."""
    return float(exp(hypot(0.02, DRIFT * truth.repetitions) * rng.standard_normal()))


def timed(truth: Case, rng: np.random.Generator) -> list[Timing]:
    """The timings of a session."""
    device, drift = truth.device, session(truth, rng)
    passes = sorted({size // n for size in SIZES for n in TIMED if size // n <= device.most})
    steps = [(size, n) for size in SIZES for n in TIMED]
    found = []
    for one in device.timings(passes, steps, [n for n in TIMED if n > 1]):
        took = one.seconds * drift * np.exp(truth.repetitions * rng.standard_normal(20))
        low, middle, high = (float(q) for q in np.quantile(took, (0.25, 0.5, 0.75)))
        found.append(replace(one, seconds=middle, low=low, high=high))
    return found


@dataclass(frozen=True)
class Verdict:
    """One run beside the interval of its hours."""

    devices: int
    repetitions: float
    interval: Interval
    took: float
    steps_held: bool
    seconds_held: bool

    @property
    def held(self) -> bool:
        return holds(self.interval, self.took)


def holds(interval: Interval, value: float) -> bool:
    """Whether an interval holds a value."""
    return interval.low <= value <= interval.high


def verdicts(seed: int, folder: Path) -> Iterator[Verdict]:
    """What an advice of one truth is worth."""
    rng = np.random.default_rng(seed)
    truth = case(rng)
    points = folder / "points.csv"
    noisy = {
        size: [max(truth.steps(size) * exp(truth.noise * z), 1) for z in rng.standard_normal(SEEDS)]
        for size in SIZES
    }
    points.write_text(curve_file(noisy))
    storage = open_storage(f"sqlite:///{folder / f'{seed}.db'}", create=True)
    import_points(storage, read_points(points))
    keep_timings(storage, timed(truth, rng))
    for choice in load_advice(storage, NAME, AdviceOptions(devices=DEVICES)).choices:
        steps = truth.steps(choice.batch_size) * exp(truth.noise * rng.standard_normal())
        seconds = truth.device.step(choice.batch_size, choice.devices) * session(truth, rng)
        seconds *= exp(truth.repetitions**2 / 2)  # the mean of many
        yield Verdict(
            choice.devices,
            truth.repetitions,
            choice.hours,
            steps * seconds / 3600,
            holds(choice.steps, steps),
            holds(choice.seconds_per_step, seconds),
        )


def generated(truths: int) -> list[Verdict]:
    """Of so many truths."""
    found: list[Verdict] = []
    for seed in range(truths):
        with tempfile.TemporaryDirectory() as folder:
            found += verdicts(seed, Path(folder))
    return found


def coverage_table(found: Sequence[Verdict]) -> str:
    """A row for each number of devices, and for each scatter of the timings."""
    groups: Mapping[str, list[Verdict]] = defaultdict(list)
    for one in found:
        groups[f"{one.devices} devices"].append(one)
    for one in sorted(found, key=lambda one: one.repetitions):
        groups[f"repetitions scatter by {100 * one.repetitions:g} %"].append(one)
    groups["all"].extend(found)
    columns = (
        "choices", "runs", "hours in the interval", "steps in theirs", "seconds in theirs",
        "median error of hours", "ends of the interval, ratio",
    )  # fmt: skip
    rows = [
        [
            name,
            len(mine),
            f"{np.mean([one.held for one in mine]):.2f}",
            f"{np.mean([one.steps_held for one in mine]):.2f}",
            f"{np.mean([one.seconds_held for one in mine]):.2f}",
            f"{100 * median(abs(one.took / one.interval.median - 1) for one in mine):.0f} %",
            f"{median(one.interval.high / one.interval.low for one in mine):.2f}",
        ]
        for name, mine in groups.items()
    ]
    return table(columns, rows)


def sessions_table(first: str, second: str) -> str:
    """How often what was timed in one session lies in the interval that another gives it."""
    before, after = open_storage(first), open_storage(second)
    groups: dict[str, list[tuple[bool, float]]] = defaultdict(list)
    for workload in workload_names(before):
        there = {tuple(one.key.values()): one for one in load_timings(after, workload)}
        for one in load_timings(before, workload):
            again = there.get(tuple(one.key.values()))
            if again is not None:
                told = Interval.around(mean_seconds(one), own_error(one))
                took = mean_seconds(again)
                groups[one.part].append((holds(told, took), abs(log(took / told.median))))
    groups["all"] = [told for mine in groups.values() for told in mine]
    rows = [
        [part, len(mine), f"{np.mean([held for held, _ in mine]):.2f}",
         f"{100 * (exp(median(off for _, off in mine)) - 1):.0f} %"]
        for part, mine in groups.items()
    ]  # fmt: skip
    return table(("part", "timings", "in the interval", "median change"), rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate, advise, run; with --check 1 where coverage is not what is promised."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two truths")
    parser.add_argument("--truths", type=int, default=200)
    parser.add_argument("--check", action="store_true", help="exit 1 outside 0.85-0.95")
    parser.add_argument(
        "--sessions",
        nargs=2,
        metavar="DATABASE",
        help="two whose workloads were timed at different times, instead of generated truths",
    )
    asked = parser.parse_args(arguments)
    if asked.sessions:
        print(sessions_table(*asked.sessions))
        return 0
    found = generated(2 if asked.quick else asked.truths)
    print(coverage_table(found))
    share = float(np.mean([one.held for one in found]))
    kept = PROMISE[0] <= share <= PROMISE[1]
    return 0 if kept or not asked.check else 1


if __name__ == "__main__":
    sys.exit(main())
