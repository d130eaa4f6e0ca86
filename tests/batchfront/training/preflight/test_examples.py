"""Data whose examples depend on more than their index and the seed are refused."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import get_ident
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from batchfront.errors import WorkloadError
from batchfront.training.generators import drawn_since, states
from batchfront.training.preflight.checks import check
from batchfront.training.preflight.examples import check_examples
from batchfront.workload.data import Examples, Part, Splits
from batchfront.workload.goal import Goal
from batchfront.workload.losses import cross_entropy
from batchfront.workload.metrics import Metric
from batchfront.workload.seeds import mix
from tests.zoo import ZOO
from tests.zoo.cases import plain, points, splits
from tests.zoo.data import Gathered
from tests.zoo.models import Through

Noise = Callable[["Noisy", Tensor, int | None], Tensor]


class Noisy(Gathered):
    """Points, and what `noise` adds to those at the indices of a batch."""

    def __init__(self, inputs: Tensor, targets: Tensor, noise: Noise, ahead: int = 0) -> None:
        super().__init__(inputs, targets)
        self.noise, self.ahead = noise, ahead
        self.own = torch.Generator()
        self.calls = 0

    def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
        inputs, targets = super().batch(indices)
        return inputs + self.noise(self, indices, seed), targets


def data(noise: Noise, *, ahead: int = 0, where: str = "train") -> Callable[[], Splits]:
    def make() -> Splits:
        plainly = splits()
        made = Noisy(*points(240), noise, ahead)
        return Splits(**{**dict(plainly.named()), where: made})

    return make


def ignoring(_: Noisy, indices: Tensor, seed: int | None) -> Tensor:
    return torch.zeros(1) if seed is None else torch.randn(len(indices), 8)


def by_numpy(_: Noisy, indices: Tensor, seed: int | None) -> Tensor:
    return torch.zeros(1) if seed is None else torch.from_numpy(np.random.randn(len(indices), 8))


def by_python(_: Noisy, indices: Tensor, seed: int | None) -> Tensor:
    return torch.zeros(1) if seed is None else torch.full((len(indices), 1), random.random())


def rarely(_: Noisy, indices: Tensor, seed: int | None) -> Tensor:
    return torch.zeros(1) if seed is None else (torch.rand(len(indices), 1) < 0.1) * torch.ones(8)


def rarely_all(_: Noisy, indices: Tensor, seed: int | None) -> Tensor:
    return torch.zeros(1) if seed is None else torch.full((1,), float(random.random() < 0.1))


def of_one_class(held: Noisy, indices: Tensor, seed: int | None) -> Tensor:
    if seed is None:
        return torch.zeros(1)
    return torch.randn(len(indices), 8) * (held.targets[indices] == 2)[:, None]


def counting(held: Noisy, indices: Tensor, seed: int | None) -> Tensor:
    held.calls += 1
    return torch.full((1,), held.calls % 7 / 10)


def always(_: Noisy, indices: Tensor, seed: int | None) -> Tensor:
    return torch.randn(len(indices), 8)


def by_place(_: Noisy, indices: Tensor, seed: int | None) -> Tensor:
    if seed is None:
        return torch.zeros(1)
    return torch.randn(len(indices), 8, generator=torch.Generator().manual_seed(seed))


def reseeding(_: Noisy, indices: Tensor, seed: int | None) -> Tensor:
    if seed is None:
        return torch.zeros(1)
    rows = []
    for index in indices.tolist():
        torch.manual_seed(mix(seed, index))
        rows.append(torch.randn(8))
    return torch.stack(rows)


def sharing(held: Noisy, indices: Tensor, seed: int | None) -> Tensor:
    """One generator of its own, which all threads seed and draw from."""
    if seed is None:
        return torch.zeros(1)
    rows = []
    for index in indices.tolist():
        held.own.manual_seed(mix(seed, index))
        rows.append(torch.randn(8, generator=held.own))
    return torch.stack(rows)


def by_thread(_: Noisy, indices: Tensor, seed: int | None) -> Tensor:
    return torch.full((1,), get_ident() % 1000 / 1000)


def standardized(held: Noisy, indices: Tensor, seed: int | None) -> Tensor:
    return -held.inputs[indices].mean(0, keepdim=True)


TWICE = r"batch\(indices, seed=1\) gives other examples when it is asked again, by {}'s global"
TOLD = r"; draw for each example by torch.Generator\(\).manual_seed\(hash\(\(seed, index\)\)\)"

REFUSED: dict[str, tuple[Callable[[], Splits], str]] = {
    "torch's numbers": (data(ignoring), TWICE.format("torch") + " generator" + TOLD),
    "NumPy's numbers": (data(by_numpy), TWICE.format("NumPy")),
    "Python's numbers": (data(by_python), TWICE.format("Python")),
    "now and then": (data(rarely), TWICE.format("torch")),
    "now and then, the batch as a whole": (data(rarely_all), "depend on its index alone and the"),
    "one class alone": (data(of_one_class), TWICE.format("torch")),
    "what was asked before": (data(counting), "gives other examples when it is asked again; "),
    "a place in the batch": (data(by_place), "gives an example otherwise in another order"),
    "a mean over the batch": (data(standardized), "otherwise in another order, or beside"),
    "in evaluation": (
        data(always, where="validation"),
        r"the validation split's batch\(indices, seed=None\) .* where seed is None, nothing may be",
    ),
    "in training without a seed": (data(always), r"train split's batch\(indices, seed=None\)"),
    "in the test split": (data(always, where="test"), r"the test split's batch\("),
    "the global generator, by threads": (
        data(reseeding, ahead=4),
        "draws from torch's global generator, which threads that load ahead share",
    ),
    "a generator of its own, by threads": (
        data(sharing, ahead=4),
        "gives other examples when two threads ask at once; share nothing between calls",
    ),
    "what is the thread's": (data(by_thread, ahead=2), "when two threads ask at once"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_data_that_depend_on_more_than_index_and_seed_are_refused(kind: str) -> None:
    made, said = REFUSED[kind]
    with pytest.raises(WorkloadError, match=said):
        check(plain("drawn", data=made), [8])


def by_index(held: Noisy, indices: Tensor, seed: int | None) -> Tensor:
    """As a message tells it."""
    if seed is None:
        return torch.zeros(1)
    of = [torch.Generator().manual_seed(hash((seed, index))) for index in indices.tolist()]
    return torch.stack([torch.randn(8, generator=generator) for generator in of])


def by_epoch(held: Noisy, indices: Tensor, seed: int | None) -> Tensor:
    return torch.full((1,), (seed or 0) % 7 / 10)


@pytest.mark.parametrize("noise", [by_index, by_epoch])
@pytest.mark.parametrize("ahead", [0, 4])
def test_what_a_message_tells_to_write_is_let_be(noise: Noise, ahead: int) -> None:
    check(plain("told", data=data(noise, ahead=ahead)), [8])


def test_a_generator_that_is_seeded_for_each_example_is_right_where_no_thread_loads() -> None:
    check(plain("alone", data=data(reseeding)), [8])
    check(plain("alone", data=data(sharing)), [8])


def test_an_ahead_that_depends_on_the_device_is_taken_for_threads() -> None:
    class OnGpus(Noisy):
        @property
        def ahead(self) -> int:  # type: ignore[override]
            return 0

        @ahead.setter
        def ahead(self, _: int) -> None: ...

    made = Splits(OnGpus(*points(240), sharing), splits().validation)
    with pytest.raises(WorkloadError, match="two threads"):
        check(plain("gpus", data=lambda: made), [8])
    part = Splits(Part(made.train, torch.arange(100)), made.validation)
    with pytest.raises(WorkloadError, match="two threads"):
        check(plain("gpus", data=lambda: part), [8])


def test_a_file_that_threads_read_with_one_handle_is_refused(tmp_path: Path) -> None:
    inputs, targets = points(240)
    path = tmp_path / "inputs"
    path.write_bytes(inputs.numpy().tobytes())

    class Read(Gathered):
        ahead = 2

        def __init__(self) -> None:
            super().__init__(inputs, targets)
            self.file = path.open("rb", buffering=0)

        def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
            rows = []
            for index in indices.tolist():
                self.file.seek(32 * index)
                rows.append(torch.frombuffer(bytearray(self.file.read(32)), dtype=torch.float32))
            return torch.stack(rows), self.targets[indices]

    held = Read()
    with held.file, pytest.raises(WorkloadError, match="two threads ask at once"):
        check(plain("read", data=lambda: Splits(held, splits().validation)), [8])


def test_a_split_that_is_shorter_than_it_says_is_refused() -> None:
    class Short(Gathered):
        def __len__(self) -> int:
            return 300

    made = Splits(Short(*points(240)), splits().validation)
    with pytest.raises(WorkloadError, match="the train split of 300 examples can't be read: Ind"):
        check(plain("short", data=lambda: made), [8])


class Cached(Gathered):
    """Which doesn't copy what it is asked for once again."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        super().__init__(inputs, targets)
        self.made: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
        return self.made.setdefault(tuple(indices.tolist()), super().batch(indices))


class Shifting(Through):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.add_(0.1))


def relabelling(outputs: Tensor, targets: Tensor) -> Tensor:
    targets[targets == 2] = 1
    return cross_entropy(outputs, targets)


@pytest.mark.parametrize("changes", [{"model": Shifting}, {"loss": relabelling}])
def test_examples_that_are_changed_where_a_split_holds_them_are_refused(
    changes: dict[str, Any],
) -> None:
    def cached() -> Splits:
        return Splits(train=Cached(*points(240)), validation=Cached(*points(60)))

    with pytest.raises(WorkloadError, match="change the train split's examples, which all trials"):
        check(plain("changed", data=cached, **changes), [8])
    check(plain("changed", data=splits, **changes), [8])


def test_weights_that_are_not_those_of_the_targets_are_refused() -> None:
    class Heavy(Gathered):
        def weights(self, weigh: Callable[[Tensor], Tensor]) -> Tensor:
            return torch.arange(len(self)) + 1.0

    metric = Metric(
        "cost", lambda o, t: (o.argmax(1) != t).float(), "lower", 0, 1, lambda t: t + 1.0
    )
    made = Splits(splits().train, Heavy(*points(60)))
    with pytest.raises(WorkloadError, match=r"Heavy.weights\(\) gives other weights than those"):
        check(plain("heavy", data=lambda: made, goal=Goal(metric, 0.01)), [8])


def test_numbers_that_are_none_and_padding_of_any_side_are_the_same_again() -> None:
    padded = next(case.workload for case in ZOO if case.name == "padded_to_longest")

    class Left(Gathered):
        """Padded at the beginning, to the longest."""

        def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
            inputs, targets = super().batch(indices)
            return inputs.flip(1)[:, -int((inputs > 0).sum(1).max()) :], targets

    class Missing(Gathered):
        def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
            inputs, targets = super().batch(indices)
            return torch.where(inputs > 1, torch.nan, inputs), targets

    found = padded.data()
    assert isinstance(found.train, Gathered)
    left = Left(found.train.inputs, found.train.targets)
    for made in (found, Splits(left, found.validation), Splits(Missing(*points()), left)):
        check_examples(padded, made)


@pytest.fixture
def generators_untouched() -> Iterator[None]:
    before = states(torch.device("cpu"))
    yield
    assert drawn_since(before, torch.device("cpu")) == []


@pytest.mark.usefixtures("generators_untouched")
@pytest.mark.parametrize("noise", [by_index, by_python, counting])
def test_the_global_generators_are_left_as_they_were(noise: Noise) -> None:
    workload: Any = plain("left", data=data(noise))
    if noise is by_index:
        check(workload, [8])
    else:
        with pytest.raises(WorkloadError):
            check(workload, [8])


def test_examples_in_memory_are_not_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[type[Examples]] = []
    monkeypatch.setattr(
        "batchfront.training.preflight.examples._compare", lambda _, split, __: asked.append(split)
    )
    halves = splits()
    check(
        plain("m", data=lambda: Splits(Part(halves.train, torch.arange(90)), halves.validation)),
        [8],
    )
    assert not asked


def test_what_is_kept_hides_no_draw_that_no_seed_sets() -> None:
    drawn = np.random.default_rng()

    class Wild(Dataset[Any]):
        def __len__(self) -> int:
            return 40

        def __getitem__(self, index: int) -> Any:
            return torch.full((2,), drawn.random()), index % 2

    for processes in (0, 2):
        examples = Examples.of(Wild(), cache=True, processes=processes)
        with pytest.raises(WorkloadError, match="gives other examples when it is asked again"):
            check_examples(plain("toy/of/data"), Splits(examples, examples))


def test_a_collate_function_that_draws_is_refused() -> None:
    def masking(some: list[Any]) -> Any:
        inputs, targets = default_collate(some)
        return inputs * (torch.rand(len(some), 1) > 0.5), targets

    examples = Examples.of(
        [(torch.full((2,), index + 1.0), index % 2) for index in range(40)], masking, processes=2
    )
    with pytest.raises(WorkloadError, match="by torch's global generator"):
        check_examples(plain("toy/of/data"), Splits(examples, examples))


@pytest.mark.parametrize("processes", [0, 2])
def test_transforms_that_draw_from_global_generators_are_no_matter(processes: int) -> None:
    class Augmented(Dataset[Any]):
        def __len__(self) -> int:
            return 40

        def __getitem__(self, index: int) -> Any:
            return torch.rand(2) + random.random() + np.random.rand(), index % 2

    examples = Examples.of(Augmented(), processes=processes)
    check_examples(plain("toy/of/data"), Splits(examples, examples))


@pytest.mark.parametrize("processes", [0, 1])
@pytest.mark.parametrize("cache", [True, False])
def test_a_data_set_whose_transform_changes_what_it_holds_is_refused(
    processes: int, cache: bool
) -> None:
    class Cut(Dataset[Any]):
        """Each draw sets a number to 0, for good: the same draw changes nothing more."""

        inputs = torch.ones(40, 8)

        def __len__(self) -> int:
            return 40

        def __getitem__(self, index: int) -> Any:
            row = self.inputs[index]
            row[random.randrange(8)] = 0.0
            return row, index % 2

    examples = Examples.of(Cut(), processes=processes, cache=cache)
    with pytest.raises(WorkloadError, match="in place where they are kept; change a copy"):
        check_examples(plain("toy/of/data"), Splits(examples, examples))


def test_a_data_set_is_told_what_it_may_draw_from() -> None:
    drawn = np.random.default_rng()
    examples = Examples.of([1.0, 2.0, 3.0], augment=lambda x: x + drawn.random(), processes=0)
    with pytest.raises(WorkloadError, match="global generators alone, which are seeded for each"):
        check_examples(plain("toy/of/data"), Splits(examples, examples))
