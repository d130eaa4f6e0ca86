"""Examples in memory, parts of them, and what they weigh."""

import pytest
import torch

from service.data import Part, Split, Splits
from service.errors import WorkloadError
from service.metrics import NO_TARGET, token_count


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


def test_a_part_holds_the_examples_at_its_indices_in_their_order() -> None:
    part = Part(split(8), torch.tensor([6, 1, 4]))
    assert len(part) == 3
    inputs, targets = part.batch(torch.tensor([2, 0]))
    assert inputs.tolist() == [[8.0, 9.0], [12.0, 13.0]]
    assert targets.tolist() == [0, 0]
    again = part.to(torch.device("cpu")).batch(torch.tensor([2, 0]))
    assert torch.equal(again[0], inputs)


def test_parts_of_other_examples_or_in_another_order_are_described_differently() -> None:
    parts = [Part(split(8), torch.tensor(chosen)) for chosen in ([6, 1, 4], [1, 6, 4], [6, 1])]
    described = [part.describe() for part in parts]
    assert [one["examples"] for one in described] == [3, 3, 2]
    assert len({one["of_these"] for one in described}) == 3
    assert described[0] == Part(split(8), torch.tensor([6, 1, 4])).describe()


def test_examples_are_weighed_once_and_over_more_than_one_chunk() -> None:
    calls = 0

    def weigh(targets: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return targets.double()

    targets = torch.arange(2500)
    examples = Split(torch.zeros(2500, 1), targets)
    assert torch.equal(examples.weights(weigh), targets.double())
    assert torch.equal(examples.weights(weigh), targets.double())
    assert calls == 3
    assert torch.equal(
        Part(examples, torch.tensor([7, 5])).weights(weigh), targets[[7, 5]].double()
    )


def test_padding_is_no_token() -> None:
    targets = torch.tensor([[4, 2, NO_TARGET], [NO_TARGET] * 3, [1, 1, 0]])
    assert token_count(targets).tolist() == [2, 0, 3]
