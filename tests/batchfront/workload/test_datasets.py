"""Data sets of torch's as examples: drawn from index and seed alone, whoever decodes them, and
whatever is kept."""

import random
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

from batchfront.errors import WorkloadError
from batchfront.workload.data import Examples, Part, Split, Splits
from batchfront.workload.seeds import mix

COUNT = 40

WAYS = [(p, c) for p in (0, 2) for c in (True, False, "auto")]


class Numbers(Dataset[Any]):
    """Example i is i, and what it has drawn."""

    def __init__(self, draw: Callable[[int], float] = lambda _: 0.0, size: int = 3) -> None:
        self.draw, self.size, self.asked = draw, size, 0

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Any:
        self.asked += 1
        return torch.full((self.size,), index + self.draw(index)), index % 2


def from_all(_: int) -> float:
    return float(torch.rand(())) + random.random() + float(np.random.rand())


def now_and_then(index: int) -> float:
    return random.random() if index == 7 else 0.0


def every_batch(examples: Examples) -> list[Tensor]:
    asked = [([3, 7, 1, 30], None), ([3, 7], 5), ([7, 30, 3, 3], 5), ([7], 6), ([1, 7], None)]
    found = [examples.batch(torch.tensor(indices), seed) for indices, seed in asked]
    return [tensor.clone() for batch in found for tensor in batch]


def same(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(map(torch.equal, some, others))


@pytest.mark.parametrize("draw", [lambda _: 0.0, from_all, now_and_then])
@pytest.mark.parametrize("augment", [None, lambda x: x * random.random()])
@pytest.mark.parametrize("collate", [None, lambda some: tuple(map(torch.tensor, zip(*[
    (float(x.sum()), y) for x, y in some], strict=True)))])  # fmt: skip
def test_neither_processes_nor_what_is_kept_change_a_bit(
    draw: Callable[[int], float], augment: Any, collate: Any
) -> None:
    def found(processes: int, cache: Any) -> list[Tensor]:
        given = {"collate": collate, "augment": augment, "cache": cache}
        return every_batch(Examples.of(Numbers(draw), processes=processes, **given))

    expected = found(0, False)
    for way in WAYS[1:]:
        assert same(found(*way), expected), way


def test_an_example_is_what_is_drawn_with_the_generators_seeded_by_seed_and_index() -> None:
    drawn = Examples.of(Numbers(from_all), processes=2).batch(torch.tensor([9, 4]), 11)
    for row, index in zip(drawn.inputs, (9, 4), strict=True):
        seed = mix(11, index)
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        assert torch.equal(row, Numbers(from_all)[index][0])


@pytest.mark.parametrize(("processes", "cache"), WAYS)
def test_the_global_generators_are_left_where_they_were(processes: int, cache: Any) -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index, union-attr, call-overload]
    every_batch(Examples.of(Numbers(from_all), lambda x: torch.stack([one[0] for one in x]),
                            lambda x: x + torch.rand(()), cache, processes))  # fmt: skip
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]  # type: ignore[index, union-attr, call-overload]


def test_examples_that_were_drawn_for_one_seed_are_not_kept_for_another() -> None:
    examples = Examples.of(Numbers(from_all), processes=0)
    one, other = (examples.batch(torch.tensor([2]), seed).inputs for seed in (1, 2))
    assert not torch.equal(one, other)
    assert torch.equal(examples.batch(torch.tensor([2]), 1).inputs, one)


def test_what_is_kept_is_decoded_once_and_what_is_not_each_time() -> None:
    for cache, more in ((True, COUNT), (False, 3 * COUNT)):
        data = Numbers()
        examples = Examples.of(data, cache=cache, processes=0)
        before, everything = data.asked, torch.arange(COUNT)
        for seed in (None, 3, 4):
            examples.batch(everything, seed)
        assert data.asked - before == more


def test_a_split_that_takes_more_than_its_share_of_memory_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = Examples.of(Numbers(), processes=2)
    monkeypatch.setenv("BATCHFRONT_WORKERS_HERE", str(10**9))
    crowded = Examples.of(Numbers(size=1 << 20), processes=2)
    assert kept.ahead == 0  # there is nothing to wait for
    assert crowded.ahead > 0
    assert Examples.of(Numbers(size=1 << 20), cache=True, processes=2).ahead == 0


def test_an_evaluation_in_inference_mode_leaves_what_training_can_use() -> None:
    examples = Examples.of(Numbers(), processes=0)
    with torch.inference_mode():
        examples.batch(torch.arange(COUNT))
    weight = torch.ones(3, requires_grad=True)
    (examples.batch(torch.arange(4), 0).inputs * weight).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None


def test_whoever_changes_a_batch_changes_no_example() -> None:
    for collate in (None, lambda some: (torch.stack([x for x, _ in some]), torch.zeros(len(some)))):
        examples = Examples.of(Numbers(), collate, cache=True, processes=0)
        examples.batch(torch.tensor([4])).inputs.fill_(99)
        assert examples.batch(torch.tensor([4])).inputs.tolist() == [[4.0] * 3]


def test_several_threads_may_ask_at_once() -> None:
    examples = Examples.of(Numbers(from_all), processes=2)
    asked = [(torch.tensor([index, 5]), seed) for index in range(8) for seed in (1, 2)]
    expected = [Examples.of(Numbers(from_all), processes=0).batch(*one).inputs for one in asked]
    with ThreadPoolExecutor(4) as pool:
        assert same(list(pool.map(lambda one: examples.batch(*one).inputs, asked)), expected)


def test_a_tensor_data_set_is_a_split() -> None:
    x, y = torch.randn(6, 2), torch.arange(6)
    found = Examples.of(TensorDataset(x, y))
    assert isinstance(found, Split)
    assert found.inputs is x
    assert found.targets is y
    three = Examples.of(TensorDataset(x, y, y)).batch(torch.tensor([1]))
    assert three.inputs is three.targets
    assert len(three.inputs) == 3


def test_splits_take_data_sets_and_plain_loaders() -> None:
    loader = DataLoader(Numbers(), batch_size=4, shuffle=True)
    splits = Splits(train=loader, validation=Numbers(), test=[(torch.ones(2), 1)])  # type: ignore[arg-type]
    assert [len(split) for _, split in splits.named()] == [COUNT, COUNT, 1]
    assert splits.train.batch(torch.tensor([3])).inputs.tolist() == [[3.0] * 3]


def test_a_loaders_collate_function_is_kept() -> None:
    loader = DataLoader(Numbers(), 4, collate_fn=lambda some: torch.tensor([y for _, y in some]))
    assert Examples.of(loader, processes=0).batch(torch.tensor([3, 4])).inputs.tolist() == [1, 0]


class Mine(BatchSampler):
    pass


LOADERS = {
    "sampler (WeightedRandomSampler)": lambda: DataLoader(
        Numbers(), 4, sampler=WeightedRandomSampler([1.0] * COUNT, COUNT)
    ),
    "sampler (RandomSampler)": lambda: DataLoader(
        Numbers(), 4, sampler=RandomSampler(Numbers(), replacement=True)
    ),
    "batch_sampler (Mine)": lambda: DataLoader(
        Numbers(), batch_sampler=Mine(SequentialSampler(Numbers()), 2, drop_last=False)
    ),
    "batch_size=None": lambda: DataLoader(Numbers(), None),
    "worker_init_fn": lambda: DataLoader(Numbers(), 4, worker_init_fn=print),
}


@pytest.mark.parametrize("what", LOADERS)
def test_a_loader_that_does_more_is_refused_with_what_to_write(what: str) -> None:
    said = f"DataLoader's {re.escape(what)} isn't used.*Examples.of\\(loader.dataset, collate="
    with pytest.raises(WorkloadError, match=said):
        Splits(train=LOADERS[what](), validation=Numbers())  # type: ignore[arg-type, no-untyped-call]


class Rows(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([])


@pytest.mark.parametrize("given", [Rows(), DataLoader(Rows(), 4)])
def test_an_iterable_data_set_is_refused_with_what_to_write(given: Any) -> None:
    with pytest.raises(WorkloadError, match=r"train=\.\.\.\): Rows is an IterableDataset.*Stream"):
        Splits(train=given, validation=Numbers())  # type: ignore[arg-type]


def broken(index: int) -> float:
    if index == 13:
        raise OSError("image file is truncated")
    return 0.0


@pytest.mark.parametrize("processes", [0, 2])
def test_an_example_that_cant_be_read_is_named(processes: int) -> None:
    examples = Examples.of(Numbers(broken), processes=processes)
    said = r"example 13 of the data set \(Numbers\) can't be read: test_datasets.py, line \d+: "
    with pytest.raises(WorkloadError, match=said + "OSError: image file is truncated"):
        examples.batch(torch.arange(COUNT), 0)
    assert examples.batch(torch.tensor([12]), 0).inputs.tolist() == [[12.0] * 3]  # and it goes on


@pytest.mark.parametrize("processes", [0, 2])
def test_examples_that_make_no_batch_are_told_with_what_to_write(processes: int) -> None:
    class Uneven(Numbers):
        def __getitem__(self, index: int) -> Any:
            return torch.zeros(2 + (index > 20)), 0

    class Images(Numbers):
        def __getitem__(self, index: int) -> Any:
            return object(), 0

    indices = torch.tensor([1, 30])
    for data, said in (
        (Uneven(), r"Resize.*Examples.of\(..., collate=...\)"),
        (Images(), "object"),
    ):
        with pytest.raises(WorkloadError, match=said):
            Examples.of(data, processes=processes).batch(indices)


def test_wrong_options_and_objects_are_told() -> None:
    for given, said in (
        ({"dataset": {}}, "__getitem__"),
        ({"dataset": object()}, "found object"),
        ({"dataset": []}, "has no examples"),
        ({"dataset": Numbers(), "cache": "yes"}, "must be True, False or 'auto'; found 'yes'"),
        ({"dataset": Numbers(), "processes": -1}, "found -1"),
    ):
        with pytest.raises(WorkloadError, match=said):
            Examples.of(**given)  # type: ignore[arg-type]


def test_a_part_is_of_what_is_decoded_anew_too() -> None:
    data = Numbers()
    part = Part(Examples.of(data, cache=True, processes=0), torch.tensor([3, 5])).decoded_anew()
    part.batch(torch.tensor([0]))
    before = data.asked
    part.batch(torch.tensor([0]))
    assert data.asked == before + 1


def test_subsets_and_joined_data_sets_are_told_apart() -> None:
    def described(data: Any) -> dict[str, Any]:
        return Examples.of(data, processes=0).describe()

    whole = described(Numbers())
    assert described(Numbers()) == whole
    assert described(Numbers(lambda _: 0.5)) != whole
    some, others = (described(Subset(Numbers(), part)) for part in ([1, 2, 3], [1, 3, 2]))
    assert some != others
    assert described(ConcatDataset([Numbers(), Numbers()]))["examples"] == 2 * COUNT


@pytest.mark.parametrize("kept", [torch.ones, np.ones])
@pytest.mark.parametrize("pairs", [True, False])
def test_an_augmentation_in_place_changes_nothing_that_the_data_set_holds(
    kept: Any, pairs: bool
) -> None:
    def cut(row: Any) -> Any:
        row[random.randrange(8)] = 0.0
        return row

    rows = kept((COUNT, 8))
    held = [(row, 0) for row in rows] if pairs else list(rows)
    every_batch(Examples.of(held, augment=cut, cache=False, processes=0))
    assert (rows == 1.0).all()


def test_the_file_of_an_example_that_cant_be_read_is_named() -> None:
    class Folder(Numbers):
        samples = [(f"pictures/{index}.jpg", 0) for index in range(COUNT)]  # noqa: RUF012

    subset = torch.utils.data.Subset(Folder(broken), [3, 13])
    with pytest.raises(WorkloadError, match=r"example 1 of .*Subset, pictures/13\.jpg\) can't be"):
        Examples.of(subset, cache=False, processes=0).batch(torch.tensor([1]))
