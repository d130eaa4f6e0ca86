"""What all loops written by hand share: a trial's random numbers, as `batchfront.workload.seeds`
has them, and how far a workload gets with the same."""

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from itertools import count
from threading import Event
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from batchfront.training.engines import Engine, Sequential
from batchfront.training.model_run import ModelRun
from batchfront.training.run import GoalCheck
from batchfront.workload.data import Splits
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.seeds import SeedStream
from batchfront.workload.workload import Workload
from tests.docs.pages import ROOT

CPU = torch.device("cpu")

_NEVER = Event()

EXAMPLES = ROOT / "docs" / "examples"

def seed_all(seed: int) -> None:
    """Seed all that torch's, NumPy's and Python's functions draw from."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def seed_weights(trial: int) -> None:
    """Seed what the initial weights are drawn from."""
    seed_all(SeedStream.INITIAL_WEIGHTS.seed(trial))


def batches(trial: int, examples: int, batch_size: int) -> Iterator[tuple[int, Tensor]]:
    """Steps, and the indices of their batches, cut from one shuffled epoch after another. What is
    drawn until the next is seeded."""
    left, epochs = torch.empty(0, dtype=torch.int64), count()
    for step in count():
        while len(left) < batch_size:
            draw = torch.Generator().manual_seed(SeedStream.ORDER.seed(trial, next(epochs)))
            left = torch.cat([left, torch.randperm(examples, generator=draw)])
        seed_all(SeedStream.STEP.seed(trial, step))
        yield step, left[:batch_size]
        left = left[batch_size:]


@dataclass(frozen=True)
class Ended:
    """Where a loop has got to: the step at which it passed the goal, and its weights there."""

    steps: int | None
    weights: dict[str, Tensor]

    @classmethod
    def at(cls, steps: int | None, model: nn.Module) -> "Ended":
        return cls(steps, {name: t.clone() for name, t in model.state_dict().items()})

    def differing(self, other: "Ended") -> list[str]:
        """The names of weights that aren't the same to the bit."""
        assert self.weights.keys() == other.weights.keys()
        return [n for n, t in self.weights.items() if not torch.equal(t, other.weights[n])]


def raced(
    workload: Workload,
    splits: Splits,
    batch_size: int,
    values: Metaparameters,
    seeds: Sequence[int],
    engine: Engine | None = None,
) -> list[Ended]:
    """Where the workload's own trials get to, which have these seeds and run side by side."""
    engine = Sequential() if engine is None else engine
    runs = [ModelRun(workload, splits, batch_size, values, seed, CPU) for seed in seeds]
    found: dict[ModelRun, Ended] = {}
    live, steps = runs, runs[0].evaluation_steps
    for step in steps.steps:
        assert engine.advance(live, step, _NEVER) == [True] * len(live)
        checks = engine.evaluate(live, full=steps.is_full(step))
        for run, check in zip(live, checks, strict=True):
            assert isinstance(check, GoalCheck), check
            if check.passed:
                found[run] = Ended.at(step, run.model)
        live = [run for run in live if run not in found]
        if not live:
            break
    return [found.get(run) or Ended.at(None, run.model) for run in runs]


def example(name: str) -> ModuleType:
    """The module of an example."""
    spec = spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
