"""Whatever a computation draws from, it draws what belongs to its seed."""

import ctypes
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch

from batchfront.errors import WorkloadError
from batchfront.training import generators
from batchfront.training.generators import Streams, seed_generators

CPU = torch.device("cpu")

DRAWS: dict[str, Callable[[], float]] = {
    "torch": lambda: torch.rand(()).item(),
    "numpy": lambda: float(np.random.rand()),
    "numpy, normal": lambda: float(np.random.randn()),
    "numpy, shuffled": lambda: float(np.random.permutation(50)[0]),
    "python": random.random,
    "python, normal": lambda: random.gauss(0.0, 1.0),
    "python, chosen": lambda: float(random.choice(range(1000))),
}

every_draw = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())


def computed(streams: Streams, seed: int, draw: Callable[[], float]) -> float:
    """As a trial does it: computed again if need be."""
    streams.begin()
    streams.seed(seed)
    found = draw()
    if streams.strayed():
        streams.seed(seed)
        found = draw()
    streams.settle()
    return found


@every_draw
def test_a_seed_gives_one_number_and_another_seed_another(draw: Callable[[], float]) -> None:
    found = []
    for seed in (1, 2, 1, 3):
        seed_generators(CPU, seed)
        found.append(draw())
        draw()  # half a pair of normal numbers is not left for the next
    assert found[0] == found[2]
    assert len(set(found)) == 3


@every_draw
@pytest.mark.parametrize("quiet", [0, 1, 5], ids="after {} computations without".format)
def test_a_trial_that_begins_to_draw_late_draws_the_same_as_if_it_had_from_the_start(
    draw: Callable[[], float], quiet: int
) -> None:
    always = Streams(CPU)
    always.leave_nothing_out()
    expected = [computed(always, seed, draw) for seed in range(10)]
    late = Streams(CPU)
    for seed in range(quiet):
        computed(late, seed, float)
    assert [computed(late, seed, draw) for seed in range(10)] == expected


@every_draw
def test_what_the_process_has_drawn_and_seeded_in_between_does_not_matter(
    draw: Callable[[], float],
) -> None:
    alone, disturbed = Streams(CPU), Streams(CPU)
    expected = [computed(alone, seed, draw) for seed in range(6)]
    found = []
    for seed in range(6):
        np.random.randn()
        random.gauss(0.0, 1.0)
        torch.randn(1)
        found.append(computed(disturbed, seed, draw))
        np.random.seed(seed)
        random.seed(seed)
    assert found == expected


def test_who_draws_nothing_is_not_computed_again_and_leaves_numpys_and_pythons_alone() -> None:
    streams = Streams(CPU)
    computed(streams, 0, float)
    before = random.getstate(), np.random.get_state(legacy=False)["state"]["pos"]
    streams.begin()
    for seed in range(1, 20):
        streams.seed(seed)
        torch.rand(3)
        assert not streams.strayed()
        streams.settle()
    assert (random.getstate(), np.random.get_state(legacy=False)["state"]["pos"]) == before


def test_draws_that_can_not_be_computed_again_are_an_error() -> None:
    streams = Streams(CPU, more=True)
    computed(streams, 0, float)
    streams.begin()
    streams.seed(1)
    assert not streams.strayed()
    random.random()  # as in an optimizer's step
    with pytest.raises(WorkloadError, match="an optimizer's step has drawn from NumPy's or"):
        streams.settle()


def test_an_optimizer_that_draws_from_the_first_step_on_is_seeded() -> None:
    streams, found = Streams(CPU, more=True), []
    for seed in (0, 1, 0):
        streams.seed(seed)
        assert not streams.strayed()
        found.append(random.random())
        streams.settle()
    assert found[0] == found[2]


def test_another_generator_in_the_place_of_numpys_is_seeded_too() -> None:
    usual = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(5))
        streams, draw = Streams(CPU), DRAWS["numpy"]
        found = [computed(streams, seed, draw) for seed in (0, 1, 0)]
    finally:
        np.random.set_bit_generator(usual)
    assert found[0] == found[2]
    assert found[0] != found[1]


def test_where_memory_is_laid_out_otherwise_all_are_seeded_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert generators._can_watch()
    monkeypatch.setattr(ctypes.c_uint32, "from_address", lambda _: ctypes.c_uint32(7))
    assert not generators._can_watch()
    monkeypatch.setattr(generators, "_WATCH", None)
    streams = Streams(CPU)
    for draw in DRAWS.values():
        found = [computed(streams, seed, draw) for seed in (0, 1, 0)]
        assert found[0] == found[2] != found[1]
