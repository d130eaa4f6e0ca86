"""A loop that trains as a workload does comes to the same numbers, and one with two optimizers to
its own."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from batchfront.training.loops.preflight import examine
from batchfront.training.loops.run import LoopRun
from batchfront.training.model_run import ModelRun
from batchfront.workload import catalog
from batchfront.workload.loop import Loop
from tests.benchmarks import digits_loop

GAN = Path(__file__).parents[4] / "docs" / "examples" / "gan.py"


@pytest.mark.parametrize("batch_size", [2, 64])
def test_the_digits_loop_takes_the_workloads_steps_to_the_bit(batch_size: int) -> None:
    values, seed = {"learning_rate": 0.01, "momentum": 0.9}, 2**60 + 12345
    loop = LoopRun(digits_loop.digits(), batch_size, values, seed)
    given = digits_loop.WORKLOAD, digits_loop.SPLITS, batch_size, values, seed
    model = ModelRun(*given, torch.device("cpu"))
    assert loop.evaluation_steps == model.evaluation_steps
    for step in (1, 2, 5, 50, 100):
        loop.advance(step)
        model.advance(step)
        assert loop.evaluate(full=True).value == model.evaluate(full=True).value
    assert loop.shown[-1].value < 0.5


def test_a_gan_goes_on_from_both_of_its_optimizers() -> None:
    loop = catalog.load(f"{GAN}:gan")
    assert isinstance(loop, Loop)
    loop = replace(loop, step_budget=40)
    assert examine(loop, [8, 32], str(GAN)).tries["resumption"] == "kept"
