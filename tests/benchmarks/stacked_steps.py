"""What does a step of K trials take, by optimizer, and beside each trial's own optimizer?

    python -m tests.benchmarks.stacked_steps

K trials of one workload, all as one, without evaluations, twenty steps at a time. Contenders take
turns in one process: a step as it is; without its being laid out ahead, as where a network has
other layers; and, also without that, with each trial's own optimizer on its own weights, as where
its rule isn't written out. One thread, and its time, so that what a neighbour takes is not counted;
a round gives one ratio each, and the median over the rounds counts.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median
from threading import Event
from time import process_time
from typing import Any

import torch
from torch import optim

from batchfront.training.model_run import ModelRun
from batchfront.training.vectorized import stack
from batchfront.training.vectorized.stack import Stack
from batchfront.workload import catalog
from batchfront.workload.algorithm import Momentum, as_algorithm
from tests.benchmarks.engine_throughput import CASES, Case
from tests.benchmarks.markdown import spread, table

TRIALS = (4, 8, 32)
BATCH_SIZE = 16
STRETCH = 20  # steps between two evaluations of a heat
NOW, OWN, AHEAD = "now", "own optimizers", "not laid out"

OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "momentum": (Momentum(), {"momentum": 0.9}),
    "SGD, Nesterov": (optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "AdamW": (optim.AdamW, {}),
    "Adam, amsgrad": (optim.Adam, {"amsgrad": True}),
    "NAdam": (optim.NAdam, {}),
    "RAdam": (optim.RAdam, {}),
    "Adamax": (optim.Adamax, {}),
    "RMSprop": (optim.RMSprop, {"momentum": 0.9}),
    "Adagrad": (optim.Adagrad, {}),
    "Adadelta": (optim.Adadelta, {}),
}

_GO = Event()  # never set


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Stacks that are made in the block do without something."""
    there: Callable[..., bool] = getattr(stack, name)
    setattr(stack, name, lambda *given: False)
    try:
        yield
    finally:
        setattr(stack, name, there)


@dataclass(frozen=True)
class Measured:
    """Seconds a step of all trials, by contender, one entry a round."""

    spec: str
    optimizer: str
    trials: int
    seconds: dict[str, list[float]]

    def times(self, name: str) -> list[float]:
        """How many times as long another takes, round by round."""
        now, other = self.seconds[NOW], self.seconds[name]
        return [b / a for a, b in zip(now, other, strict=True)]

    def row(self, momentum: float) -> list[str]:
        """The measurement as a row of the table; `momentum` takes so many seconds."""
        now = median(self.seconds[NOW])
        ratios = [
            spread(self.times(name), ".1f") if name in self.seconds else "–"
            for name in (AHEAD, OWN)
        ]
        return [
            self.optimizer,
            str(self.trials),
            f"{1e6 * now:,.0f}",
            f"{now / momentum:.2f}",
            *ratios,
        ]


COLUMNS = (
    "optimizer",
    "trials",
    "µs a step",
    "/ momentum",
    "not laid out ahead, times as long",
    "own optimizers, times as long",
)


def measure(case: Case, optimizer: str, trials: int, rounds: int, seconds: float) -> Measured:
    """Time a step of so many trials, in turns of about `seconds`."""
    algorithm, options = OPTIMIZERS[optimizer]
    workload = catalog.load(case.spec)
    splits = case.splits(workload)
    workload = replace(workload, algorithm=as_algorithm(algorithm, workload.name))
    values = {"learning_rate": 1e-3, **options}

    def made() -> Stack:
        device = torch.device("cpu")
        given = (workload, splits, BATCH_SIZE, values)
        return Stack([ModelRun(*given, seed, device) for seed in range(trials)])

    stacks = {NOW: made()}
    with _without("is_static"):
        stacks[AHEAD] = made()
        if optimizer != "momentum":
            with _without("is_written_out"):
                stacks[OWN] = made()
    found = Measured(case.spec, optimizer, trials, {name: [] for name in stacks})
    stretches = {name: _stretches(one, seconds) for name, one in stacks.items()}
    for _ in range(rounds):
        for name, one in stacks.items():
            found.seconds[name].append(_timed(one, stretches[name]))
    return found


def _stretches(one: Stack, seconds: float) -> int:
    _timed(one, 1)
    return max(1, round(seconds / (_timed(one, 2) * STRETCH)))


def _timed(one: Stack, stretches: int) -> float:
    began = process_time()
    for _ in range(stretches):
        one.advance([run.step + STRETCH for run in one.runs], _GO)
    return (process_time() - began) / (stretches * STRETCH)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table for each workload."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="digits, two optimizers, two rounds")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--workloads", nargs="*", default=[case.spec for case in CASES[:2]])
    parser.add_argument("--optimizers", nargs="*", default=list(OPTIMIZERS))
    parser.add_argument("--trials", nargs="*", type=int, default=TRIALS)
    asked = parser.parse_args(arguments)
    cases = [case for case in CASES if case.spec in asked.workloads]
    optimizers, trials, rounds, seconds = asked.optimizers, asked.trials, asked.rounds, 0.1
    if asked.quick:
        cases, optimizers, trials, rounds, seconds = CASES[:1], ["momentum", "AdamW"], (4,), 2, 0.01
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for case in cases:
        momentum: dict[int, float] = {}
        rows = []
        for optimizer in optimizers:
            for k in trials:
                print(f"{case.spec}, {optimizer}, {k} trials …", file=sys.stderr)
                found = measure(case, optimizer, k, rounds, seconds)
                rows.append(found.row(momentum.setdefault(k, median(found.seconds[NOW]))))
        print(f"{case.spec}, batch size {BATCH_SIZE}:\n\n{table(COLUMNS, rows)}\n")
    torch.set_num_threads(threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
