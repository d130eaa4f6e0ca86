"""Examples in memory, parts of them, and what they weigh."""

from collections import UserDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from batchfront.errors import WorkloadError
from batchfront.training.evaluation import full_metric
from batchfront.training.prefetch import Prefetch
from batchfront.workload.data import Batch, Examples, Part, Split, Splits
from batchfront.workload.metrics import ERROR_RATE, NO_TARGET, token_count


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
    said = rf"found inputs float32 \({inputs}, 2\) and targets float32 \({targets},\)"
    with pytest.raises(WorkloadError, match=said):
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


class Gathered(Examples):
    """Examples in memory, by a class of the user's own."""

    indexed_on = torch.device("cpu")

    def __init__(self, split: Split, gives: Callable[[Tensor], Any] = lambda rows: rows) -> None:
        self.split, self.gives = split, gives

    def __len__(self) -> int:
        return len(self.split)

    def batch(self, indices: Tensor, seed: int | None = None) -> Any:
        return self.gives(self.split.batch(indices))

    def to(self, device: torch.device) -> "Gathered":
        return self

    def describe(self) -> dict[str, Any]:
        return {"examples": len(self)}


UNWHOLE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "examples that are left out": (
        lambda batch: (batch[0][batch[1] == 0], batch[1][batch[1] == 0]),
        r"Gathered.batch\(\) gave inputs float32 \(2, 2\) and targets int64 \(2,\) for 4 indices",
    ),
    "examples that come twice": (
        lambda batch: (batch[0].repeat(2, 1), batch[1].repeat(2)),
        r"gave inputs float32 \(8, 2\) and targets int64 \(8,\) for 4 indices",
    ),
    "targets that are left out": (
        lambda batch: (batch[0], batch[1][1:]),
        r"inputs float32 \(4, 2\) and targets int64 \(3,\) for 4",
    ),
    "inputs that are left out": (
        lambda batch: (batch[0][1:], batch[1]),
        r"inputs float32 \(3, 2\) and targets int64 \(4,\) for 4",
    ),
    "a dict of which a tensor has less": (
        lambda batch: {"inputs": batch[0], "targets": batch[1][1:]},
        r"dict of \['inputs'\]: float32 \(4, 2\), \['targets'\]: int64 \(3,\)",
    ),
    "words": (
        lambda batch: ({"pixels": batch[0], "names": ["a", "b", "c", "d"]}, batch[1]),
        r"\['names'\]\[0\]: str",
    ),
    "nothing": (lambda batch: ((), batch[1]), "inputs empty tuple"),
    "a number for all": (lambda batch: (batch[0], batch[1].sum()), r"targets int64 \(\)"),
}


@pytest.mark.parametrize("kind", UNWHOLE)
def test_a_batch_that_is_not_one_example_for_each_index_is_refused_wherever_it_is_asked_for(
    kind: str,
) -> None:
    gives, said = UNWHOLE[kind]
    held, every = Gathered(split(8), gives), torch.arange(8)
    with pytest.raises(WorkloadError, match=said):
        held.batch(torch.arange(4))
    with pytest.raises(WorkloadError, match="batch"):
        Part(held, every).batch(torch.arange(4))
    with pytest.raises(WorkloadError, match="batch"):
        held.weights(torch.ones_like)
    with pytest.raises(WorkloadError, match="batch"):
        full_metric(nn.Linear(2, 2), held, ERROR_RATE)
    ahead = Prefetch(held, lambda _: iter([(torch.arange(4), 3)]))
    with pytest.raises(WorkloadError, match=said):
        ahead.batch(torch.arange(4), 3, 0)
    ahead.close()


def test_what_a_refused_batch_is_told_to_write_works() -> None:
    held = Gathered(split(8), lambda batch: (batch[0][batch[0][:, 0] != 6], batch[1]))
    usable_indices = torch.tensor([0, 1, 2, 4, 5, 6, 7])
    inputs, _ = Part(held, usable_indices).batch(torch.arange(7))
    assert inputs[:, 0].tolist() == [0, 2, 4, 8, 10, 12, 14]


def test_weights_of_another_number_of_examples_are_refused() -> None:
    class Heavy(Gathered):
        def weights(self, weigh: Callable[[Tensor], Tensor]) -> Tensor:
            return torch.ones(7)

    with pytest.raises(WorkloadError, match=r"one number per example, shape \(8,\); found \(7,\)"):
        Heavy(split(8)).weights(torch.ones_like)
    with pytest.raises(WorkloadError, match=r"shape \(8,\); found \(8, 1\)"):
        split(8).weights(lambda targets: targets[:, None])
    with pytest.raises(WorkloadError, match="found float"):
        split(8).weights(lambda targets: 1.0)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        (torch.tensor([0, 8]), "must be 0 to 7; found 8"),
        (torch.tensor([-1, 3]), "must be 0 to 7; found -1"),
        (torch.tensor([True, False]), r"int64 of shape \(n,\).*mask.nonzero.*found torch.bool"),
        (torch.tensor([], dtype=torch.int64), r"found torch.int64 of shape \(0,\)"),
        (torch.tensor([[1]]), r"found torch.int64 of shape \(1, 1\)"),
    ],
)
def test_a_part_of_what_is_not_there_is_refused(indices: Tensor, said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        Part(split(8), indices)


def test_splits_of_something_else_are_refused() -> None:
    with pytest.raises(WorkloadError, match=r"Splits\(validation=...\) .* found TensorDataset"):
        Splits(split(8), TensorDataset(torch.zeros(3)))  # type: ignore[arg-type]
    with pytest.raises(WorkloadError, match="inputs must be a tensor or a NumPy array"):
        Split("train.csv", torch.zeros(3))


def test_a_split_holds_arrays_and_several_tensors_as_well() -> None:
    pixels, words = np.arange(12.0).reshape(4, 3), torch.arange(8).view(4, 2)
    held = Split({"pixels": pixels, "words": (words,)}, np.array([0, 1, 1, 0]))
    batch = held.batch(torch.tensor([2, 0]))
    assert batch.inputs["pixels"].tolist() == [[6, 7, 8], [0, 1, 2]]
    assert batch.inputs["words"][0].tolist() == [[4, 5], [0, 1]]
    assert batch.targets.tolist() == [1, 0]
    assert batch.examples == 2
    assert held.describe()["input_shape"] == {"['pixels']": [3], "['words'][0]": [2]}
    other = Split({"pixels": pixels, "words": (words + 1,)}, np.array([0, 1, 1, 0]))
    assert held.describe()["checksum"] != other.describe()["checksum"]


def test_a_split_without_targets_stands_for_both() -> None:
    batch = Split(torch.arange(6.0).view(3, 2)).batch(torch.tensor([1]))
    assert batch.inputs is batch.targets
    assert batch.whole is batch.inputs
    assert batch.map(lambda tensor: tensor + 1).whole.tolist() == [[3, 4]]
    moved = Split({"pixels": torch.ones(3, 2)}).to(torch.device("cpu")).batch(torch.tensor([1]))
    assert moved.inputs is moved.targets


def test_a_batch_may_be_a_mapping_of_another_kind_than_a_dict() -> None:
    found = Batch.of(UserDict(rows=torch.zeros(3, 2)))  # what transformers' collate functions give
    assert type(found.whole) is dict
    assert found.shapes == [(2,)]
    inputs, _ = Batch.of((UserDict(rows=torch.zeros(3, 2)), torch.zeros(3)))
    assert type(inputs) is dict
