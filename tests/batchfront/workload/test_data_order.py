"""Every step's examples: whole epochs, in an order that depends on seed and step alone."""

from itertools import pairwise
from random import Random

import pytest
import torch

from batchfront.workload.data_order import DataOrder

CPU = torch.device("cpu")


def order(examples: int, batch_size: int, seed: int = 5) -> DataOrder:
    return DataOrder(examples, batch_size, seed, CPU)


@pytest.mark.parametrize(("examples", "batch_size"), [(12, 4), (10, 4), (10, 1), (7, 7), (10, 9)])
def test_every_epoch_is_a_permutation_of_the_training_set(examples: int, batch_size: int) -> None:
    batches = order(examples, batch_size)
    stream = torch.cat([batches.batch(step) for step in range(4 * examples)])
    assert len(stream) == 4 * examples * batch_size
    epochs = [epoch.tolist() for epoch in stream.split(examples) if len(epoch) == examples]
    assert all(sorted(epoch) == list(range(examples)) for epoch in epochs)
    if examples > 1:
        assert sum(one == other for one, other in pairwise(epochs)) == 0


@pytest.mark.parametrize(("examples", "batch_size"), [(12, 4), (10, 4), (10, 9)])
def test_a_steps_batch_is_the_same_in_whatever_order_steps_are_asked_for(
    examples: int, batch_size: int
) -> None:
    in_order = order(examples, batch_size)
    expected = [in_order.batch(step) for step in range(30)]
    steps = [*range(30), *range(30)]
    Random(0).shuffle(steps)
    asked = order(examples, batch_size)
    assert all(torch.equal(asked.batch(step), expected[step]) for step in steps)
    assert all(torch.equal(order(examples, batch_size).batch(s), expected[s]) for s in steps[:9])


def test_a_batch_that_spans_two_epochs_ends_the_first_and_starts_the_second() -> None:
    whole = order(10, 10)
    first, second = whole.batch(0), whole.batch(1)
    assert torch.equal(order(10, 4).batch(2), torch.cat([first[8:], second[:2]]))


def test_the_batch_size_does_not_change_the_order_of_the_examples() -> None:
    small, large = order(10, 2), order(10, 5)
    assert torch.equal(
        torch.cat([small.batch(step) for step in range(10)]),
        torch.cat([large.batch(step) for step in range(4)]),
    )


def test_another_seed_gives_another_order() -> None:
    assert not torch.equal(order(50, 50, seed=1).batch(0), order(50, 50, seed=2).batch(0))


@pytest.mark.parametrize(("examples", "batch_size"), [(12, 4), (10, 4), (10, 1), (10, 9), (3, 3)])
@pytest.mark.parametrize("first", [0, 1, 7])
def test_a_stretch_of_batches_is_that_of_the_single_ones(
    examples: int, batch_size: int, first: int
) -> None:
    for stop in range(first, first + 25):
        stretch = list(order(examples, batch_size).batches(first, stop))
        assert len(stretch) == stop - first
        single = order(examples, batch_size)
        assert all(torch.equal(b, single.batch(s)) for s, b in enumerate(stretch, first))
        if stretch:
            assert torch.equal(
                order(examples, batch_size).stretch(first, stop), torch.stack(stretch)
            )


def test_a_stretch_is_not_disturbed_by_batches_asked_for_meanwhile() -> None:
    expected, asked = [order(10, 4).batch(step) for step in range(20)], order(10, 4)
    for step, batch in enumerate(asked.batches(0, 20)):
        asked.batch(100 - step)
        assert torch.equal(batch, expected[step])
