"""What a process shares is a loop's own for its turn, and everybody else's after it."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from batchfront.errors import WorkloadError
from batchfront.training.loops.turns import Turns


def draws() -> tuple[float, float, float]:
    """One of each generator."""
    return torch.rand(()).item(), float(np.random.rand()), random.random()


def test_each_loop_draws_what_its_seed_gives_whoever_draws_in_between() -> None:
    alone, others = Turns(1, "cpu"), Turns(2, "cpu")
    expected = [alone.take(draws) for _ in range(3)]
    again, found = Turns(1, "cpu"), []
    for _ in range(3):
        found.append(again.take(draws))
        others.take(draws)
        draws()
    assert found == expected
    assert others.take(draws) not in expected


def test_the_process_draws_as_if_there_had_been_no_turn() -> None:
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    expected = draws()
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])
    Turns(1, "cpu").take(draws)
    assert draws() == expected


def test_states_go_on_in_another_process() -> None:
    first = Turns(1, "cpu")
    first.take(draws)
    states, expected = dict(first.generators), first.take(draws)
    later = Turns(1, "cpu")
    later.generators = states
    assert later.take(draws) == expected


SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "gradients": (torch.is_grad_enabled, lambda: torch.set_grad_enabled(False)),
    "type": (torch.get_default_dtype, lambda: torch.set_default_dtype(torch.float64)),
    "device": (torch.get_default_device, lambda: torch.set_default_device("meta")),
    "threads": (torch.get_num_threads, lambda: torch.set_num_threads(2)),
    "products": (
        torch.get_float32_matmul_precision,
        lambda: torch.set_float32_matmul_precision("high"),
    ),
    "deterministic": (
        torch.are_deterministic_algorithms_enabled,
        lambda: torch.use_deterministic_algorithms(True),
    ),
    "cudnn": (
        lambda: torch.backends.cudnn.benchmark,
        lambda: setattr(torch.backends.cudnn, "benchmark", True),
    ),
    "environment": (
        lambda: os.environ.get("A_LOOPS_OWN"),
        lambda: os.environ.update(A_LOOPS_OWN="yes"),
    ),
    "errors of NumPy": (np.geterr, lambda: np.seterr(all="raise")),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_what_a_loop_sets_is_its_own(name: str) -> None:
    read, change = SETTINGS[name]
    before = read()
    one, other = Turns(1, "cpu"), Turns(2, "cpu")
    other.take(lambda: None)
    one.take(change)
    assert read() == before
    assert other.take(read) == before
    assert one.take(read) != before
    assert read() == before


def test_the_working_directory_is_a_loops_own(tmp_path: Path) -> None:
    before, one = Path.cwd(), Turns(1, "cpu")
    one.take(lambda: os.chdir(tmp_path))
    assert Path.cwd() == before
    assert one.take(Path.cwd) == tmp_path


def test_a_turn_that_raises_leaves_nothing_behind() -> None:
    def fails() -> None:
        torch.set_grad_enabled(False)
        torch.manual_seed(3)
        raise ValueError("no")

    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="no"):
        Turns(1, "cpu").take(fails)
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before)


def test_what_can_not_be_taken_back_is_named() -> None:
    guard = torch.inference_mode()
    try:
        with pytest.raises(WorkloadError, match=r"yields inside of torch\.inference_mode"):
            Turns(1, "cpu").refusing_remains(guard.__enter__)
    finally:
        guard.__exit__(None, None, None)
