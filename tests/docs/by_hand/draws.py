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
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from batchfront.training.engines import Engine, Sequential
from batchfront.training.model_run import ModelRun
from batchfront.training.run import GoalCheck
from batchfront.workload.data import Splits
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.seeds import SeedStream, mix
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


def batches(trial: int, examples: int, batch_size: int, steps: int) -> Iterator[tuple[int, Tensor]]:
    """The updates done so far, and the indices of the next batch, cut from one shuffled epoch after
    another. What is drawn until the one after is seeded."""
    left, epochs = torch.empty(0, dtype=torch.int64), count()
    for step in range(steps):
        while len(left) < batch_size:
            draw = torch.Generator().manual_seed(SeedStream.ORDER.seed(trial, next(epochs)))
            left = torch.cat([left, torch.randperm(examples, generator=draw)])
        seed_all(SeedStream.STEP.seed(trial, step))
        yield step, left[:batch_size]
        left = left[batch_size:]


def crops(trial: int, starts: int, batch_size: int, steps: int) -> Iterator[tuple[int, Tensor]]:
    """The updates done so far, and where the crops of the next batch start in a stream of tokens
    that has so many places to. What is drawn until the one after is seeded."""
    for step in range(steps):
        draw = torch.Generator().manual_seed(SeedStream.ORDER.seed(trial, step))
        seed_all(SeedStream.STEP.seed(trial, step))
        yield step, torch.randint(starts, (batch_size,), generator=draw)


def drawn(dataset: Any, trial: int, step: int, batch: Tensor) -> Any:
    """The examples of a data set at these indices, each with random transforms of its own."""
    found = []
    for index in batch.tolist():
        seed_all(mix(SeedStream.STEP.seed(trial, step), index))
        found.append(dataset[index])
    seed_all(SeedStream.STEP.seed(trial, step))
    return default_collate(found)


@dataclass(frozen=True)
class Ended:
    """Where a loop has got to: the step at which it passed the goal, and its weights there."""

    steps: int | None
    weights: dict[str, Tensor]

    @classmethod
    def at(cls, steps: int | None, model: nn.Module) -> "Ended":
        return cls(steps, {name: t.clone() for name, t in model.state_dict().items()})


def assert_same(trials: Sequence[Ended], loops: Sequence[Ended]) -> None:
    """All of them reached the goal, at the same steps, with the same weights to the bit."""
    assert None not in [loop.steps for loop in loops]
    assert [trial.steps for trial in trials] == [loop.steps for loop in loops]
    for trial, loop in zip(trials, loops, strict=True):
        assert trial.weights.keys() == loop.weights.keys()
        others = [n for n, t in loop.weights.items() if not torch.equal(t, trial.weights[n])]
        assert others == []


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
                found[run] = Ended.at(step, run.evaluated)
        live = [run for run in live if run not in found]
        if not live:
            break
    return [found.get(run) or Ended.at(None, run.evaluated) for run in runs]


def example(name: str) -> ModuleType:
    """The module of an example."""
    spec = spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
