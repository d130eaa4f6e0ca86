"""A workload that doesn't hold together is refused in one clear line, before any slot is made."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sqlalchemy import func, select
from torch import Tensor, nn

from batchfront.errors import BatchfrontError, DataError, UsageError
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import slots, studies
from batchfront.store.url import Storage
from batchfront.training.preflight.checks import check
from batchfront.workload.algorithm import TorchOptimizer
from batchfront.workload.data import Split, Splits
from batchfront.workload.evaluation_grid import EvaluationGrid
from batchfront.workload.goal import Goal
from batchfront.workload.metrics import ERROR_RATE, NO_TARGET, Metric, SplitMetric
from batchfront.workload.search_space import Integer, Log
from batchfront.workload.weight_average import WeightAverage
from batchfront.workload.workload import Workload
from tests.toy import clouds, splits


def _raising(error: Exception) -> Callable[..., Any]:
    def raises(*_: Any) -> Any:
        raise error

    return raises


def _adam_without_rate(parameters: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, betas=(1.5, 2.5))


class Pair(nn.Linear):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x), x


class OfTwo(nn.Linear):
    def forward(self, x: Tensor, shift: Any = 0.0) -> Any:
        return super().forward(x) + shift


def _of_two_inputs() -> Splits:
    return Splits(*(Split((s.inputs, s.inputs[:, :1]), s.targets) for s in (splits().train,) * 2))


class Wordy(nn.Linear):
    def forward(self, x: Tensor) -> Any:
        return str(super().forward(x))


def _validation_of_another_shape() -> Splits:
    found = splits()
    wide = Split(torch.zeros(8, 5), torch.zeros(8, dtype=torch.int64))
    return Splits(found.train, wide)


def _scheduled(parameters: list[Tensor], *, learning_rate: float) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(parameters, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1000)
    optimizer.register_step_post_hook(lambda *_: schedule.step())
    return optimizer


def _hooked(parameters: list[Tensor], *, learning_rate: float) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(parameters, lr=learning_rate)
    for group in optimizer.param_groups:
        optimizer.register_step_post_hook(lambda *_, own=group: own.update(lr=own["lr"] / 2))
    return optimizer


def _ignoring(parameters: list[Tensor], *, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=3e-4)


class Unseeded(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + self.training * np.random.default_rng().normal())


def _without_targets() -> Splits:
    found = splits()
    assert isinstance(found.validation, Split)
    empty = torch.full_like(found.validation.targets, NO_TARGET)
    return Splits(found.train, Split(found.validation.inputs, empty))


def _there(targets: Tensor) -> Tensor:
    return targets != NO_TARGET


class ByLambda(nn.Module):
    """A copy of it computes with the weights of the one that it is a copy of."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.through = lambda x: self.layer(x)

    def forward(self, x: Tensor) -> Any:
        return self.through(x)


class Remembering(ByLambda):
    """A copy of it looks for what the hook keeps in the one that it is a copy of."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []
        self.layer.register_forward_hook(lambda _, __, outputs: self.kept.append(outputs))

    def forward(self, x: Tensor) -> Any:
        self.layer(x)
        return self.kept.pop()


def _loss_of_net(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(net(batch[0]), batch[1])


ONCE = nn.Linear(2, 3)
LABELLED = Metric(
    "labelled", lambda o, t: F.cross_entropy(o, t, reduction="none"), "lower", weight=_there
)
NEGATIVE = Metric("nll", lambda o, _: o[:, 0], "lower", low=100.0)
PER_BATCH = Metric("hit", lambda outputs, targets: outputs.mean(), "lower", high=1.0)
CRASHING = Metric("hit", _raising(IndexError("class 7")), "lower", high=1.0)


def _of(inputs: Tensor, targets: Tensor) -> Splits:
    return Splits(Split(inputs[:40], targets[:40]), Split(inputs[40:], targets[40:]))


bad: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a model that does not accept its data": (
        {"model": lambda: nn.Linear(5, 3)},
        [
            "the model does not accept inputs of shape (4, 2) (torch.float32)",
            "mat1 and mat2 shapes cannot be multiplied (4x2 and 5x3)",
        ],
    ),
    "a tuple for a model that could take one argument": (
        {"model": lambda: OfTwo(2, 3), "data": _of_two_inputs},
        [
            "the model does not accept inputs that are a tuple",
            "or takes *args; in a dict, by their names)",
        ],
    ),
    "inputs as NumPy has them": (
        {"data": lambda: _of(torch.randn(60, 2).double(), torch.arange(60) % 3)},
        ["(torch.float64) (its weights are float32: give inputs.to(torch.float32))"],
    ),
    "pixels as they are stored": (
        {"data": lambda: _of(torch.zeros(60, 2, dtype=torch.uint8), torch.arange(60) % 3)},
        ["float32: give inputs.to(torch.float32), or indices as inputs.long())"],
    ),
    "classes as floats": (
        {"data": lambda: _of(torch.randn(60, 2), (torch.arange(60) % 3).float())},
        ["the loss does not accept", "give targets.long())"],
    ),
    "classes in a column": (
        {"data": lambda: _of(torch.randn(60, 2), (torch.arange(60) % 3)[:, None])},
        ["the loss does not accept", "give targets[:, 0])"],
    ),
    "classes one-hot, as a loss takes them and a metric doesn't": (
        {"data": lambda: _of(torch.randn(60, 2), F.one_hot(torch.arange(60) % 3).float())},
        ["the goal's error rate does not accept", "give their numbers: targets.argmax(1))"],
    ),
    "a model without parameters": (
        {"model": lambda: nn.Flatten()},
        ["the model's trainable parameters must exist and share one dtype and device; found none"],
    ),
    "a model that raises": (
        {"model": _raising(ValueError("no such width\nat all"))},
        ["its model can't be made: ValueError: no such width"],
    ),
    "a model that is none": (
        {"model": lambda: 7},
        ["model() must return a torch.nn.Module, returned 7 (int)"],
    ),
    "a model that returns no tensor": (
        {"model": lambda: Wordy(2, 3)},
        ["the model must return a tensor, or several in a dict, tuple or list; returned str"],
    ),
    "a model that returns more than its loss takes": (
        {"model": lambda: Pair(2, 3)},
        ["the loss does not accept outputs of tuple of [0]: float32 (4, 3), [1]: float32 (4, 2)"],
    ),
    "data that raises": (
        {"data": _raising(OSError(2, "gone"))},
        ["its data can't be loaded: FileNotFoundError: [Errno 2] gone"],
    ),
    "data that is not where it should be": (
        {"data": _raising(DataError("no MNIST in /data"))},
        ["no MNIST in /data"],
    ),
    "data that is no splits": (
        {"data": lambda: (1, 2)},
        ["data() must return Splits, returned tuple"],
    ),
    "a loss that is not scalar": (
        {"loss": lambda outputs, targets: outputs.square().mean(dim=1)},
        ["the loss must be a scalar, the mean over the batch; found shape (4)"],
    ),
    "a loss of one number that is no scalar": (
        {"loss": lambda outputs, targets: outputs.square().mean().reshape(1)},
        ["the loss must be a scalar, the mean over the batch; found shape (1)"],
    ),
    "a layer that does not accept so small a batch": (
        {"model": lambda: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), "batch_sizes": (1, 8)},
        ["the model does not accept inputs of shape (1, 2)", "more than 1 value per channel"],
    ),
    "a schedule that fails at an end of its range": (
        {"search_space": {**clouds().space(4), "decay_steps": Integer(0, 100)}},
        ["its schedule fails at batch size 4", "'decay_steps': 0", "ZeroDivisionError"],
    ),
    "a loss that is no tensor": (
        {"loss": lambda outputs, targets: 1.5},
        ["the loss must be a scalar, the mean over the batch; found float"],
    ),
    "a loss without a gradient": (
        {"loss": lambda outputs, targets: outputs.detach().mean()},
        ["the loss has no gradient: it must be computed from what the model gives"],
    ),
    "a loss that raises": (
        {"loss": lambda outputs, targets: nn.functional.cross_entropy(outputs, targets[1:])},
        ["the loss does not accept outputs of shape (4, 3) and targets of shape (4)"],
    ),
    "a loss whose targets are spread over its outputs": (
        {"loss": lambda outputs, targets: F.mse_loss(outputs, targets[:, None, None])},
        ["the loss broadcasts outputs of shape (4, 3) and targets of shape (4); give both the"],
    ),
    "a loss that takes the model by another name": (
        {"loss": _loss_of_net},
        ["to be called with the model and the batch, call its first parameter model, not net"],
    ),
    "an average in a copy that computes with the model's weights": (
        {"model": ByLambda, "average": WeightAverage()},
        ["a copy of the model, which still computes with the weights of the model itself: copy."],
    ),
    "an average in a copy that doesn't work": (
        {"model": Remembering, "average": WeightAverage()},
        ["average= evaluates a copy of the model, and that fails: IndexError: pop from empty list"],
    ),
    "a model that is made once": (
        {"model": lambda: ONCE},
        ["model() must make a new model each time; its parameter weight is the same in two of"],
    ),
    "a metric of one number a batch": (
        {"goal": Goal(PER_BATCH, 0.5)},
        ["the goal's metric 'hit' must give one number per example, shape (4,); found shape ()"],
    ),
    "a metric that raises": (
        {"goal": Goal(CRASHING, 0.5)},
        ["the goal's hit does not accept outputs of shape (4, 3) and targets", "class 7"],
    ),
    "validation inputs of another shape": (
        {"data": _validation_of_another_shape},
        ["the untrained model can't be evaluated on validation inputs of shape (8, 5)"],
    ),
    "an optimizer that can not be made": (
        {"algorithm": TorchOptimizer("adam", _adam_without_rate)},
        ["its algorithm can't be started: ValueError: Invalid beta parameter"],
    ),
    "a scheduler of torch's": (
        {"algorithm": TorchOptimizer("scheduled", _scheduled)},
        ["'scheduled': a torch.optim.lr_scheduler is attached", "schedule=TorchSchedule("],
    ),
    "a hook that sets rates": (
        {"algorithm": TorchOptimizer("hooked", _hooked)},
        [
            "'hooked': somebody else has set the rate of parameter group 0",
            "schedule=TorchSchedule(",
        ],
    ),
    "a learning rate without effect": (
        {"algorithm": TorchOptimizer("ignoring", _ignoring)},
        ["takes learning_rate and makes the same rates of any (0.0003); pass it on as"],
    ),
    "a metric outside of its bounds": (
        {"goal": Goal(NEGATIVE, 200.0)},
        ["the goal's metric 'nll' has given", "below its low=100: give it low= the lowest number"],
    ),
    "a measure that raises": (
        {"measures": (CRASHING,)},
        ["measures: hit does not accept outputs of shape (4, 3) and targets", "class 7"],
    ),
    "a measure of one number a batch": (
        {"measures": (PER_BATCH,)},
        ["measures: metric 'hit' must give one number per example, shape (4,); found shape ()"],
    ),
    "a measure that changes what it is given": (
        {"measures": (SplitMetric("sharp", lambda y, _: float(y.mul_(2).max()), "higher"),)},
        ["measures: sharp changes the outputs or targets that it is given", "a clone()"],
    ),
    "a measure that draws as the goal may": (
        {"measures": (SplitMetric("luck", lambda y, _: np.random.rand(), "higher"),)},
        ["measures: luck draws from NumPy's random numbers", "let it draw from torch's"],
    ),
    "a measure that depends on other examples": (
        {"measures": (Metric("rank", lambda y, _: y[:, 0].argsort().float(), "lower"),)},
        ["measures: rank gives an example another number beside other examples"],
    ),
    "a measure without anything to measure": (
        {"data": _without_targets, "measures": (LABELLED,)},
        ["no example of the validation split has anything to predict: the weights that metric"],
    ),
    "a measure that no seed sets": (
        {
            "measures": (
                SplitMetric("dice", lambda y, _: np.random.default_rng().random(), "higher"),
            )
        },
        ["two trials of one seed differ in what measure 'dice' finds: something draws random"],
    ),
    "a validation split without targets": (
        {"data": _without_targets, "goal": Goal(LABELLED, 0.5)},
        ["no example of the validation split has anything to predict: the weights that metric"],
    ),
    "random numbers that no seed sets": (
        {"model": lambda: Unseeded(2, 3)},
        ["two trials of one seed differ in their weights after 2 steps: something draws random"],
    ),
    "a goal that is already passed": (
        {"goal": Goal(ERROR_RATE, 0.99)},
        ["the goal, validation error rate < 0.99, is already passed before training", "--goal"],
    ),
    "a budget below the first evaluation": (
        {"step_budget": 9, "grid": EvaluationGrid(first=10)},
        ["step budget 9 at batch size 4 must be at least 10, the first evaluated step"],
    ),
    "a metaparameter that nothing takes": (
        {"search_space": {"learning_rate": Log(0.1, 1.0), "warmth": 3}},
        ["nothing takes the metaparameter 'warmth'; this workload takes", "momentum"],
    ),
    "a metaparameter that is missing": (
        {"search_space": {"learning_rate": Log(0.1, 1.0)}},
        ["the search space lacks decay_steps, decay_factor, momentum"],
    ),
    "a batch size larger than the training set": (
        {"batch_sizes": (4, 128)},
        ["batch size 128 is larger than the training set of 96 examples"],
    ),
}


def _fixed(changes: dict[str, Any]) -> Workload:
    """The workload with these changes; one that lacks the dropout has no use for its range."""
    workload = clouds()
    if "model" in changes or "loss" in changes:
        gone = {"dropout": "model", "label_smoothing": "loss"}
        space = {
            name: entry
            for name, entry in workload.search_space.items()  # type: ignore[union-attr]
            if gone.get(name) not in changes
        }
        workload = replace(workload, search_space=space)
    if "algorithm" in changes:
        workload = replace(workload, search_space=_without(workload, "momentum"))
    return replace(workload, **changes)


def _without(workload: Workload, name: str) -> dict[str, Any]:
    space: dict[str, Any] = dict(workload.search_space)  # type: ignore[arg-type]
    del space[name]
    return space


@pytest.mark.parametrize("name", bad)
def test_a_bad_workload_is_refused_in_one_line_before_any_slot_is_made(
    storage: Storage, name: str
) -> None:
    changes, said = bad[name]
    with pytest.raises(BatchfrontError) as refused:
        plan(storage, "spec", _fixed(changes), SearchOptions(trials=2))
    line = str(refused.value)
    assert all(part in line for part in said), line
    assert "\n" not in line
    with storage.read() as conn:
        for table in (studies, slots):
            assert conn.execute(select(func.count()).select_from(table)).scalar_one() == 0


def test_all_that_is_wrong_with_a_workload_is_the_users_to_mend() -> None:
    for name, (changes, _) in bad.items():
        expected = BatchfrontError if name.startswith("data that is not") else UsageError
        with pytest.raises(expected):
            check(_fixed(changes), _fixed(changes).batch_sizes)


@pytest.fixture
def generator_untouched() -> Iterator[None]:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("generator_untouched")
def test_a_good_workload_passes_and_gives_its_splits_and_identity() -> None:
    checked = check(clouds(), (4, 96))
    assert checked.identity_parts["data"]["train"]["examples"] == 96
    assert checked.identity_parts["model"]["parameters"]["1.weight"] == [12, 2]
    assert torch.equal(checked.splits.train.inputs, splits().train.inputs)
    assert check(clouds(), (4,)).identity_parts == checked.identity_parts


def test_a_model_that_counts_its_batches_is_checked_in_both_modes() -> None:
    def model(*, dropout: float = 0.0) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 3), nn.Dropout(dropout))

    check(replace(clouds(), model=model), (4,))
