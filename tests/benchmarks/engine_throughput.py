"""How fast is `ModelRun.advance` beside the leanest hand-written PyTorch loop of the same model?

    python -m tests.benchmarks.engine_throughput

One process, one thread, no evaluation. Ours and every lean loop take turns of a few milliseconds;
a repetition gives one ratio for each loop, and the median over all repetitions is reported. Time
is that of the CPU, so that what a neighbour on a shared core takes is not counted.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from time import process_time

import torch

from batchfront.training.model_run import ModelRun
from batchfront.workload import catalog
from batchfront.workload.data import Split, Splits
from batchfront.workload.workload import Workload
from tests.benchmarks.lean_loops import LOOPS, MOMENTUM, RATE, WRITTEN_OUT, Loop
from tests.benchmarks.markdown import table

PROMISE = 0.9
BATCH_SIZES = (8, 64, 512)
WRITTEN = "written out"


@dataclass(frozen=True)
class Case:
    """A workload to train, and whether its network is one that `WRITTEN_OUT` knows."""

    spec: str
    one_hidden_layer: bool

    def splits(self, workload: Workload) -> Splits:
        """Its data, or random images of MNIST's shape: a step takes the same time on either."""
        if not self.spec.startswith("mnist/"):
            return workload.data()
        images, labels = torch.rand(11_000, 1, 28, 28), torch.randint(10, (11_000,))
        held_out = Split(images[10_000:], labels[10_000:])
        return Splits(Split(images[:10_000], labels[:10_000]), held_out)


CASES = (
    Case("digits/mlp/momentum", True),
    Case("mnist/fc_256/momentum", True),
    Case("mnist/simple_cnn_base/momentum", False),
)


@dataclass(frozen=True)
class Measured:
    """CPU seconds a step, of ours and of each lean loop, one entry a repetition."""

    spec: str
    batch_size: int
    ours: list[float]
    lean: dict[str, list[float]]

    @property
    def leanest(self) -> str:
        """The fastest loop over the model as it stands."""
        return min((n for n in self.lean if n != WRITTEN), key=lambda n: median(self.lean[n]))

    def ratios(self, name: str) -> list[float]:
        """Our speed as a share of a loop's, repetition by repetition."""
        return [lean / ours for lean, ours in zip(self.lean[name], self.ours, strict=True)]

    def row(self) -> list[str]:
        """The measurement as a row of the table."""
        name = self.leanest
        ratios = self.ratios(name)
        low, _, high = quantiles(ratios, n=4)
        written = f"{median(self.ratios(WRITTEN)):.2f}" if WRITTEN in self.lean else "–"
        return [
            self.spec,
            str(self.batch_size),
            f"{1 / median(self.ours):,.0f}",
            f"{1 / median(self.lean[name]):,.0f} ({name})",
            f"{median(ratios):.3f} ({low:.2f}–{high:.2f})",
            f"{median(self.ratios('torch.optim.SGD')):.2f}",
            written,
        ]


COLUMNS = (
    "workload",
    "batch size",
    "ours, steps/s",
    "leanest loop, steps/s",
    "ours / leanest (quartiles)",
    "ours / torch.optim.SGD",
    "ours / network written out",
)


def measure(case: Case, batch_size: int, repetitions: int, seconds: float) -> Measured:
    """Time ours and all lean loops in turns of about `seconds`."""
    workload = catalog.load(case.spec)
    splits = case.splits(workload)
    x, y = splits.train.inputs, splits.train.targets
    values = {"learning_rate": RATE, "momentum": MOMENTUM}
    run = ModelRun(workload, splits, batch_size, values, 0, torch.device("cpu"))
    makers = {**LOOPS, WRITTEN: WRITTEN_OUT} if case.one_hidden_layer else LOOPS
    loops = {
        name: make(workload.model().train(), x, y, batch_size) for name, make in makers.items()
    }
    ours: Loop = lambda steps: run.advance(run.step + steps)  # type: ignore[assignment] # noqa: E731
    steps = _steps_in(seconds, ours)
    measured = Measured(case.spec, batch_size, [], {name: [] for name in loops})
    for _ in range(repetitions):
        measured.ours.append(_timed(ours, steps))
        for name, loop in loops.items():
            measured.lean[name].append(_timed(loop, steps))
    return measured


def _steps_in(seconds: float, loop: Callable[[int], object]) -> int:
    loop(20)
    return max(1, round(seconds / min(_timed(loop, 2) for _ in range(3))))


def _timed(loop: Callable[[int], object], steps: int) -> float:
    began = process_time()
    loop(steps)
    return (process_time() - began) / steps


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and with --check say whether the promise holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="digits only, few repetitions")
    parser.add_argument("--repetitions", type=int, default=61)
    parser.add_argument("--check", action="store_true", help=f"exit 1 below {PROMISE}")
    asked = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cases, sizes = (CASES[:1], BATCH_SIZES[:2]) if asked.quick else (CASES, BATCH_SIZES)
    repetitions = 5 if asked.quick else asked.repetitions
    found = []
    for case in cases:
        # A step of the convolutional network takes up to half a second: fewer repetitions do.
        count = repetitions if case.one_hidden_layer else max(repetitions // 5, 2)
        for batch_size in sizes:
            print(f"{case.spec}, batch size {batch_size} …", file=sys.stderr)
            found.append(measure(case, batch_size, count, seconds=0.02))
    torch.set_num_threads(threads)
    print(table(COLUMNS, [m.row() for m in found]))
    slow = [m for m in found if median(m.ratios(m.leanest)) < PROMISE]
    if asked.check and slow:
        names = ", ".join(f"{m.spec} at {m.batch_size}" for m in slow)
        print(f"below {PROMISE} of the leanest loop: {names}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
