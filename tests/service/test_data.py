"""Data sets in memory."""

import pytest
import torch

from service.data import Split, Splits
from service.errors import WorkloadError


def data() -> Splits:
    return Splits(split(8), split(4))


def split(examples: int) -> Split:
    return Split(torch.arange(examples * 2.0).view(examples, 2), torch.arange(examples) % 2)


def test_a_batch_holds_the_examples_asked_for_in_that_order() -> None:
    inputs, targets = split(8).batch(torch.tensor([5, 0, 5]))
    assert inputs.tolist() == [[10.0, 11.0], [0.0, 1.0], [10.0, 11.0]]
    assert targets.tolist() == [1, 0, 1]


@pytest.mark.parametrize(("inputs", "targets"), [(3, 2), (0, 0)])
def test_a_split_without_as_many_targets_as_inputs_is_refused(inputs: int, targets: int) -> None:
    with pytest.raises(WorkloadError, match=f"found {inputs} and {targets}"):
        Split(torch.zeros(inputs, 2), torch.zeros(targets))


def test_a_split_is_described_by_sizes_and_a_checksum_of_all_its_contents() -> None:
    described = split(8).describe()
    assert described["examples"] == 8
    assert described["input_shape"] == [2]
    assert described["target_shape"] == []
    assert split(8).describe() == described
    changed = split(8)
    changed.targets[3] += 1
    assert changed.describe()["checksum"] != described["checksum"]


def test_only_the_splits_that_there_are_have_a_name() -> None:
    assert [name for name, _ in data().named()] == ["train", "validation"]
    with_test = Splits(split(1), split(2), split(3))
    assert [name for name, _ in with_test.to(torch.device("cpu")).named()][-1] == "test"
