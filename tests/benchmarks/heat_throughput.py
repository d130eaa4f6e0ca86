"""How many examples a second does a heat train: as one computation, or one trial after another?

    python -m tests.benchmarks.heat_throughput

K trials of one workload and batch size, by both engines (`vectorized` computes them as one,
`sequential` advances them in lockstep, five steps at a time, as where looks are frequent),
beside the same trials each trained for long before the next, and beside the leanest hand-written
loop. No evaluation. All take turns; a round gives one ratio each, and the median over the rounds
counts. On a CPU one thread, and its time; on a GPU the clock on the wall.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from statistics import median
from threading import Event
from time import perf_counter, process_time

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from batchfront.training.engines import Engine, Failed, Sequential
from batchfront.training.model_run import ModelRun
from batchfront.training.vectorized.engine import Vectorized
from batchfront.workload import catalog
from batchfront.workload.data import Splits
from batchfront.workload.workload import Workload
from tests.benchmarks.engine_throughput import CASES, Case
from tests.benchmarks.lean_loops import LOOPS, MOMENTUM, RATE
from tests.benchmarks.markdown import spread, table

PROMISE = 0.9
"""Of the same trials one after another: what the faster of the two engines reaches at least."""

TRIALS = (1, 4, 16, 64)
BATCH_SIZES = (2, 8, 32, 128, 1024)

AS_ONE, LOCKSTEP = "vectorized", "sequential"
ALONE, LEAN = "one after another", "lean loop"
LEANEST = "backward + fused update"
"""Of `LOOPS`: the leanest wherever `engine_throughput` has compared them."""

_STRETCH = 5  # steps between two looks of a heat, but of steps that are slow
_SLOW = 0.02  # seconds
_TURN = 0.05  # seconds that a turn lasts, at least
_LONGEST_TURN = 4.0  # a cell is left out where a stretch of its heat would take longer
_GO = Event()  # never set

Turn = Callable[[], int]
"""Trains for a while, and returns how many steps were done, summed over the trials."""


@dataclass
class Cell:
    """Seconds a step of one trial, by contender, one entry a round; none where it was too long."""

    spec: str
    batch_size: int
    trials: int
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def speed(self, name: str) -> float:
        """Examples a second, summed over the trials."""
        return self.batch_size / median(self.seconds[name])

    def ratios(self, name: str, beside: str) -> list[float]:
        """How many times as fast one was as the other, round by round."""
        return [b / a for a, b in zip(self.seconds[name], self.seconds[beside], strict=True)]

    @property
    def faster(self) -> str:
        """The engine that took less time."""
        return max((AS_ONE, LOCKSTEP), key=lambda name: median(self.ratios(name, ALONE)))


@dataclass(frozen=True)
class Place:
    """Where it is measured: a device, its clock, and the examples a second that it could do."""

    device: torch.device
    cell_seconds: float

    def now(self) -> float:
        """Seconds of the CPU, or of the clock on the wall once the GPU has done its work."""
        if self.device.type == "cpu":
            return process_time()
        torch.cuda.synchronize(self.device)
        return perf_counter()

    def timed(self, turn: Turn) -> float:
        """Seconds a step."""
        began = self.now()
        steps = turn()
        return (self.now() - began) / steps

    def peak(self) -> float:
        """Floating-point operations a second of a product of large matrices."""
        size = 1024 if self.device.type == "cpu" else 8192
        a = torch.rand(size, size, device=self.device)
        _ = a @ a
        return max(2 * size**3 / self.timed(lambda: len((a @ a)[:1])) for _ in range(5))


def measure(place: Place, case: Case, batch_size: int, trials: int, longest: float) -> Cell:
    """The turns of one cell; without any where one stretch would take longer than `longest`."""
    workload = catalog.load(case.spec)
    splits = case.splits(workload).to(place.device)
    cell = Cell(case.spec, batch_size, trials)
    lean = _lean(workload, splits, batch_size, trials)
    step = max(min(place.timed(partial(next, lean(1))) for _ in range(2)), 1e-6)
    stretch = _STRETCH if step < _SLOW else 1
    if step * trials * stretch > longest:
        return cell
    long = max(1, round(_TURN / step))
    turns: dict[str, Iterator[int]] = {
        AS_ONE: _heat(Vectorized(), _runs(place, workload, splits, batch_size, trials), stretch),
        LOCKSTEP: _heat(Sequential(), _runs(place, workload, splits, batch_size, trials), stretch),
        ALONE: _alone(_runs(place, workload, splits, batch_size, trials), long),
        LEAN: lean(long),
    }
    for turn in turns.values():
        next(turn)  # with what is done once
    began = perf_counter()
    while perf_counter() - began < place.cell_seconds or len(cell.seconds[LEAN]) < 3:
        for name, turn in turns.items():
            cell.seconds.setdefault(name, []).append(place.timed(partial(_whole, place, turn)))
    return cell


def _whole(place: Place, turn: Iterator[int]) -> int:
    """Stretches until a turn is long enough to be timed."""
    began, steps = place.now(), next(turn)
    while place.now() - began < _TURN:
        steps += next(turn)
    return steps


def _runs(
    place: Place, workload: Workload, splits: Splits, batch_size: int, trials: int
) -> list[ModelRun]:
    values = {"learning_rate": RATE, "momentum": MOMENTUM}
    given = (workload, splits, batch_size, values)
    return [ModelRun(*given, seed, place.device) for seed in range(trials)]


def _heat(engine: Engine[ModelRun], runs: Sequence[ModelRun], stretch: int) -> Iterator[int]:
    for target in count(stretch, stretch):
        failed = [one for one in engine.advance(runs, target, _GO) if isinstance(one, Failed)]
        if failed:
            raise RuntimeError(failed[0].reason)
        yield stretch * len(runs)


def _alone(runs: Sequence[ModelRun], steps: int) -> Iterator[int]:
    while True:
        for run in runs:
            run.advance(run.step + steps)
            yield steps


def _lean(
    workload: Workload, splits: Splits, batch_size: int, trials: int
) -> Callable[[int], Iterator[int]]:
    """Models that are trained in turns by the leanest loop, so many steps each."""
    train = splits.train
    x, y = train.batch(torch.arange(len(train), device=train.indexed_on))
    models = [workload.model().to(x.device).train() for _ in range(trials)]
    loops = [LOOPS[LEANEST](model, x, y, batch_size) for model in models]

    def turns(steps: int) -> Iterator[int]:
        while True:
            for loop in loops:
                loop(steps)
                yield steps

    return turns


def operations(case: Case) -> float:
    """Floating-point operations that training takes for one example: forward and backward."""
    workload = catalog.load(case.spec)
    splits = case.splits(workload)
    inputs, targets = splits.train.batch(torch.arange(8))
    model: nn.Module = workload.model().train()
    with FlopCounterMode(display=False) as counter:
        workload.loss(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops()) / len(targets)


def matrix(cells: Sequence[Cell], said: str, tell: Callable[[Cell], str]) -> str:
    """One thing of every cell: a row for each workload and batch size, a column for each K."""
    counts = sorted({cell.trials for cell in cells})
    rows: dict[tuple[str, int], list[str]] = {}
    for cell in cells:
        row = rows.setdefault((cell.spec, cell.batch_size), [])
        row.append(tell(cell) if cell.seconds else "–")
    columns = [said, "batch size", *(f"{k} trials" if k > 1 else "1 trial" for k in counts)]
    return table(columns, [[spec, str(size), *row] for (spec, size), row in rows.items()])


def _ratio(cell: Cell, name: str, beside: str) -> str:
    return spread(cell.ratios(name, beside), ".2f")


def _speed(cell: Cell, peak: float, needed: dict[str, float]) -> str:
    best = cell.speed(cell.faster)
    return f"{best:,.0f} ({best * needed[cell.spec] / peak:.0%})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and with --check say whether the promise holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two cells of digits")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=2.0, help="for a cell, about")
    parser.add_argument("--check", action="store_true", help=f"exit 1 below {PROMISE}")
    asked = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    place = Place(torch.device(asked.device), 0.2 if asked.quick else asked.seconds)
    cases, trials, sizes = CASES, TRIALS, BATCH_SIZES
    if asked.quick:
        cases, trials, sizes = CASES[:1], (1, 8), (8,)
    cells = []
    for case in cases:
        for batch_size in sizes:
            for k in trials:
                print(f"{case.spec}, batch size {batch_size}, {k} trials …", file=sys.stderr)
                cells.append(measure(place, case, batch_size, k, _LONGEST_TURN))
    needed = {case.spec: operations(case) for case in cases}
    peak = place.peak()
    for name, beside in ((AS_ONE, ALONE), (LOCKSTEP, ALONE)):
        print(matrix(cells, f"{name} / {beside}", partial(_ratio, name=name, beside=beside)))
        print()
    print(matrix(cells, "faster engine / lean loop", lambda c: _ratio(c, c.faster, LEAN)))
    print()
    said = "the faster engine's examples/s (share of the device's peak)"
    print(matrix(cells, said, partial(_speed, peak=peak, needed=needed)))
    torch.set_num_threads(threads)
    slow = [c for c in cells if c.seconds and median(c.ratios(c.faster, ALONE)) < PROMISE]
    if asked.check and slow:
        names = ", ".join(f"{c.spec} at {c.batch_size}, {c.trials} trials" for c in slow)
        print(f"below {PROMISE} of one trial after another: {names}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
