"""What people bring first works as they mean it, or gets one line that says what to write."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import optuna
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from batchfront import (
    ACCURACY,
    CROSS_ENTROPY,
    ERROR_RATE,
    MEAN_SQUARED_ERROR,
    SGD,
    Choice,
    Constant,
    Execution,
    Goal,
    Integer,
    Linear,
    Log,
    Loop,
    Metric,
    Momentum,
    Split,
    Splits,
    TorchOptimizer,
    Workload,
    cross_entropy,
)
from batchfront.errors import UsageError
from batchfront.training.preflight.checks import check

X = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
Y = (X @ torch.randn(8, 3, generator=torch.Generator().manual_seed(1))).argmax(1)


def data() -> Splits:
    return splits(Split(X[:40], Y[:40]), Split(X[40:], Y[40:]))


def splits(train: Any, validation: Any) -> Splits:
    return Splits(train=train, validation=validation)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))


MLP = Workload(
    name="case/mlp/sgd",
    data=data,
    model=mlp,
    loss=cross_entropy,
    algorithm=SGD(),
    goal=Goal(ERROR_RATE, 0.01),
    search_space={"learning_rate": Log(1e-2, 1.0)},
    step_budget=400,
    batch_sizes=(8, 16),
)


class Rows(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(zip(X, Y, strict=True))


class OfDicts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        found: Tensor = self.net(inputs["pixels"])
        return found


class Both(nn.Module):
    """Computes its own loss, as transformers' models do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> dict[str, Tensor | None]:
        logits = self.net(inputs)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return {"logits": logits, "loss": loss}


class OfTwo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        found: Tensor = self.net(one + other)
        return found


def halving(parameters: Any, *, learning_rate: float) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(parameters, lr=learning_rate)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.register_step_post_hook(lambda *_: scheduler.step())
    return optimizer


def frozen(parameters: Any, *, learning_rate: float) -> torch.optim.Optimizer:
    one, *rest = parameters
    return torch.optim.SGD([{"params": [one]}, {"params": rest, "lr": 0.0}], lr=learning_rate)


def two(parameters: Any, *, learning_rate: float) -> list[torch.optim.Optimizer]:
    one, *rest = parameters
    return [torch.optim.SGD([one], lr=learning_rate), torch.optim.SGD(rest, lr=learning_rate)]


def lbfgs(parameters: Any, *, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.LBFGS(parameters, lr=learning_rate)


def column(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs[:, :1] - targets.float()) ** 2).mean()


def refused(make: Callable[[], object]) -> str:
    """The one line that is said of what `make` does."""
    with pytest.raises(UsageError) as error:
        make()
    line = str(error.value)
    assert "\n" not in line
    assert "unexpected" not in line
    return line


FLOAT = optuna.distributions.FloatDistribution(0.01, 1.0, log=True)

WORKS: dict[str, dict[str, Any]] = {
    "dict inputs": {
        "data": lambda: splits(
            Split({"pixels": X[:40]}, Y[:40]), Split({"pixels": X[40:]}, Y[40:])
        ),
        "model": OfDicts,
    },
    "tuple inputs": {
        "data": lambda: splits(Split((X[:40], X[:40]), Y[:40]), Split((X[40:], X[40:]), Y[40:])),
        "model": OfTwo,
    },
    "map dataset": {
        "data": lambda: splits(TensorDataset(X[:40], Y[:40]), TensorDataset(X[40:], Y[40:]))
    },
    "data loader": {
        "data": lambda: splits(
            DataLoader(TensorDataset(X[:40], Y[:40]), 8, shuffle=True),
            DataLoader(TensorDataset(X[40:], Y[40:]), 8),
        )
    },
    "numpy data": {
        "data": lambda: splits(
            Split(X[:40].numpy(), Y[:40].numpy()), Split(X[40:].numpy(), Y[40:].numpy())
        )
    },
    "optimizer class": {"algorithm": torch.optim.AdamW},
    "algorithm class": {"algorithm": SGD},
    "schedule class": {"schedule": Constant},
    "frozen group": {"algorithm": TorchOptimizer("frozen", frozen)},
    "two optimizers": {"algorithm": TorchOptimizer("two", two)},
    "lbfgs": {"algorithm": TorchOptimizer("lbfgs", lbfgs)},
    "goal by name": {"goal": Goal("accuracy", 0.99)},
    "goal as a tuple": {"goal": ("accuracy", 0.99)},
    "goal of a constant's name": {"goal": ("ERROR_RATE", 0.01)},
    "optuna's range": {"search_space": {"learning_rate": FLOAT}},
    "one batch size": {"batch_sizes": 16},
    "batch sizes in an array": {"batch_sizes": np.array([8, 16])},
    "loss of torch's": {"loss": nn.CrossEntropyLoss()},
    "loss class of torch's": {"loss": nn.CrossEntropyLoss},
    "loss function of torch's": {"loss": F.cross_entropy},
    "measure by name": {"measures": "accuracy"},
    "budget in floating point": {"step_budget": 1e4},
}


@pytest.mark.parametrize("given", WORKS.values(), ids=WORKS)
def test_what_can_only_mean_one_thing_works(given: dict[str, Any]) -> None:
    workload = replace(MLP, **given)
    known: dict[str, str | None] = {"whole": None, "lost": None}  # which takes seconds to find out
    checked = check(workload, workload.batch_sizes, tries=known)
    assert len(checked.splits.train) == 40


LINES: dict[str, tuple[dict[str, Any], str]] = {
    # The file's own
    "made optimizer": (
        {"algorithm": torch.optim.AdamW(mlp().parameters())},
        "algorithm=torch.optim.AdamW",
    ),
    "range as a tuple": (
        {"search_space": {"learning_rate": (0.01, 1.0)}},
        "write Log(0.01, 1) for a logarithmic scale, Linear(0.01, 1) for an even one",
    ),
    "budget in epochs": (
        {"step_budget": "10 epochs"},
        "write lambda batch_size: 10 * EXAMPLES // batch_size",
    ),
    "model that is made": ({"model": mlp()}, "uncalled: model=lambda: ..."),
    "model with arguments": (
        {"model": nn.Linear},
        "model=lambda: Linear(in_features=..., out_features=...)",
    ),
    "data that are made": ({"data": data()}, "data=lambda: Splits(train=..., validation=...)"),
    # Their siblings
    "name of one part": ({"name": "mnist"}, 'such as "mnist/cnn/momentum"'),
    "name of no text": ({"name": 3}, 'such as "mnist/cnn/momentum"'),
    "name of two lines": ({"name": "a/b/c\nd"}, "must be one line"),
    "data set": ({"data": TensorDataset(X, Y)}, "data=lambda: Splits("),
    "data in a list": ({"data": [X, Y]}, "data=lambda: Splits("),
    "data of arguments": ({"data": lambda root, train: None}, "which takes root, train"),
    "model's name": ({"model": "resnet18"}, "model=lambda: nn.Linear("),
    "model's weights": ({"model": mlp().state_dict()}, "model=lambda: nn.Linear("),
    "compiled model": ({"model": torch.compile(mlp())}, "Execution(compile=True)"),
    "loss by name": ({"loss": "cross_entropy"}, "such as cross_entropy of batchfront"),
    "loss of three": ({"loss": lambda outputs, targets, weights: 0}, "outputs, targets, weights"),
    "loss with weights": ({"loss": nn.Bilinear(8, 3, 1)}, "parameters of its own (weight, bias)"),
    "algorithm by name": ({"algorithm": "adamw"}, "torch.optim.AdamW"),
    "schedule by name": ({"schedule": "cosine"}, "WarmupCosine()"),
    "a function of an optimizer without a name": (
        {"schedule": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 10)},
        'TorchSchedule(lambda optimizer: ..., every="step") or every="epoch"',
    ),
    "scheduler class": (
        {"schedule": torch.optim.lr_scheduler.StepLR},
        'schedule=TorchSchedule(StepLR, every="epoch")',
    ),
    "grid as a dict": ({"grid": {"first": 10}}, "write EvaluationGrid(first=10)"),
    "rules as a dict": ({"stopping": {"patience": 50}}, "write StoppingRules(patience=50)"),
    "execution by name": ({"execution": "bfloat16"}, 'write Execution(precision="bfloat16"), say'),
    "average as a number": ({"average": 0.99}, "write WeightAverage(decay=0.999)"),
    "clipping at 0": ({"clip_norm": 0}, "above 0"),
    "clipping in quotes": ({"clip_norm": "1.0"}, "write 1.0, without quotes"),
    "class weights": ({"weight": torch.ones(3)}, "write a function of (targets)"),
    "update of two": ({"update": lambda model, batch: None}, "(model, batch, optimizers)"),
    "measure that is a function": ({"measures": [F.mse_loss]}, 'Metric("mse_loss", mse_loss,'),
    "batch sizes in words": ({"batch_sizes": "8..64"}, "write powers_of_two(8, 64)"),
    "batch size in quotes": ({"batch_sizes": "16"}, "write 16"),
    "batch sizes of halves": ({"batch_sizes": [8, 12.5]}, "not a whole number of at least 1"),
    "batch sizes of 0": ({"batch_sizes": range(3)}, "not a whole number of at least 1"),
    "no batch sizes": ({"batch_sizes": []}, "powers_of_two(8, 1024)"),
    "budget of nothing": ({"step_budget": None}, "lambda batch_size: 100_000 // batch_size"),
    "budget of no argument": ({"step_budget": lambda: 400}, "one of the batch size"),
    "space of a trial": ({"search_space": lambda: {}}, "one of the batch size"),
    "space as a list": ({"search_space": ["learning_rate"]}, "write a dict of names to ranges"),
    "goal as a number": ({"goal": 0.9}, "Goal(ERROR_RATE, 0.1)"),
    "goal without its value": ({"goal": ACCURACY}, "without the value to pass"),
    "goal of another's metric": ({"goal": Goal("val_loss", 0.1, better="lower")}, "CROSS_ENTROPY"),
}


@pytest.mark.parametrize(("given", "says"), LINES.values(), ids=LINES)
def test_what_may_mean_two_things_is_told_what_to_write(given: dict[str, Any], says: str) -> None:
    assert says in refused(lambda: replace(MLP, **given))


TRIED: dict[str, tuple[dict[str, Any], str]] = {
    "rows in a stream": ({"data": lambda: splits(Rows(), Rows())}, "has no example at an index"),
    "scheduler inside": ({"algorithm": TorchOptimizer("halving", halving)}, "TorchSchedule("),
    "lazy layer": (
        {"model": lambda: nn.Sequential(nn.LazyLinear(16), nn.Linear(16, 3))},
        "made(torch.zeros(1, 8)) and return made",
    ),
    "model of its own loss": ({"model": Both}, "lambda outputs, targets: loss(outputs['logits']"),
    "columns": ({"loss": column, "goal": Goal(MEAN_SQUARED_ERROR, 0.1)}, "the same shape"),
    "data in a pair": ({"data": lambda: (X, Y)}, "return Splits(train=..., validation=...)"),
    "loss for each": ({"loss": nn.CrossEntropyLoss(reduction="none")}, "write its .mean()"),
    "model's class": ({"model": lambda: nn.Linear}, "returned the class Linear"),
}


@pytest.mark.parametrize(("given", "says"), TRIED.values(), ids=TRIED)
def test_what_only_data_show_is_told_what_to_write(given: dict[str, Any], says: str) -> None:
    assert says in refused(lambda: check(replace(MLP, **given), (8, 16)))


def test_a_model_that_computes_its_own_loss_is_called_for_it() -> None:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        inputs, labels = batch
        found: Tensor = model(inputs, labels=labels)["loss"]
        return found

    wrong = lambda outputs, targets: outputs["logits"].argmax(1) != targets  # noqa: E731
    goal = Goal(Metric("wrong", wrong, "lower", 0.0, 1.0), 0.01)
    check(replace(MLP, model=Both, loss=loss, goal=goal), (8,), tries={"whole": None, "lost": None})


# Ranges

RANGES: dict[str, tuple[Any, Any]] = {
    "float": (optuna.distributions.FloatDistribution(0.1, 1.0), Linear(0.1, 1.0)),
    "logarithmic": (FLOAT, Log(0.01, 1.0)),
    "whole": (optuna.distributions.IntDistribution(1, 64, log=True), Integer(1, 64, log=True)),
    "choices": (optuna.distributions.CategoricalDistribution(["a", "b"]), Choice("a", "b")),
    "one value": (optuna.distributions.FloatDistribution(0.5, 0.5), 0.5),
    "number of NumPy's": (np.float32(0.5), 0.5),
    "number of torch's": (torch.tensor(3), 3),
}


@pytest.mark.parametrize(("given", "meant"), RANGES.values(), ids=RANGES)
def test_a_range_of_optuna_s_and_a_number_of_any_kind_are_taken(given: Any, meant: Any) -> None:
    space = replace(MLP, search_space={"learning_rate": given}).space(8)
    assert space == {"learning_rate": meant}
    assert type(space["learning_rate"]) is type(meant)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((1.0, 0.01), "Log(0.01, 1) for a logarithmic scale"),
        ((-1.0, 1.0), "write Linear(-1, 1), Choice(-1, 1)"),
        ((8, 64), "Integer(8, 64, log=True) for a logarithmic scale"),
        ([0.1, 0.01, 0.001], "write Choice(0.1, 0.01, 0.001)"),
        ((1e-4, 0.1, "log-uniform"), "write Log(0.0001, 0.1)"),
        ({"relu", "gelu"}, "write Choice('gelu', 'relu')"),
        ([0.1], "write 0.1, which is a fixed value"),
        (range(2, 10), "write Integer(2, 9)"),
        (np.logspace(-3, -1, 3), "write Choice(0.001, 0.01, 0.1)"),
        ({"min": 0.01, "max": 1.0, "distribution": "log_uniform_values"}, "write Log(0.01, 1)"),
        ({"low": 0.01, "high": 1.0, "log": True}, "write Log(0.01, 1)"),
        ({"values": [8, 16]}, "write Choice(8, 16)"),
        (scipy.stats.loguniform(0.01, 1.0), "write Log(0.01, 1)"),
        (scipy.stats.uniform(1.0, 2.0), "write Linear(1, 3)"),
        (scipy.stats.randint(1, 9), "write Integer(1, 8)"),
        (Log, "write Log(low, high)"),
        (lambda batch_size: Log(0.1, batch_size), "lambda batch_size: {...}"),
        (optuna.distributions.FloatDistribution(0.0, 1.0, step=0.5), "Choice(0, 0.5, 1)"),
    ],
    ids=lambda one: one if isinstance(one, str) else type(one).__name__,
)
def test_a_range_of_another_kind_is_told_as_it_is_written_here(given: Any, says: str) -> None:
    line = refused(lambda: replace(MLP, search_space={"learning_rate": given}))
    assert "search_space['learning_rate']" in line
    assert says in line


def test_ends_and_choices_that_are_no_numbers_are_named() -> None:
    assert "write 1e-3, without quotes" in refused(lambda: Log("1e-3", 1.0))  # type: ignore[arg-type]
    assert "Choice(8, 16)" in refused(lambda: Choice([8, 16]))  # type: ignore[arg-type]
    assert "the class ReLU" in refused(lambda: Choice(nn.ReLU, nn.GELU))  # type: ignore[arg-type]
    assert "(0.01, 1)" in refused(lambda: Log(1.0, 0.01))
    assert Log(np.float32(0.5), torch.tensor(1.0)).describe() == Log(0.5, 1.0).describe()  # type: ignore[arg-type]


def test_functions_of_the_batch_size_are_named_where_they_fail() -> None:
    asks = lambda trial: {"learning_rate": trial.suggest_float("lr", 0, 1)}  # noqa: E731
    space = replace(MLP, search_space=asks)
    assert "search_space(8) fails: test_first_objects.py, line" in refused(lambda: space.space(8))
    budget = replace(MLP, step_budget=lambda batch_size: 100 // (batch_size - 8))
    assert "step_budget(8) fails: test_first_objects.py" in refused(lambda: budget.steps_allowed(8))
    words = replace(MLP, step_budget=lambda batch_size: "many")  # type: ignore[arg-type,return-value]
    assert "write a number of steps" in refused(lambda: words.steps_allowed(8))


# Goals


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Goal(ERROR_RATE, 3), "lies between 0 and 1; 3 % is 0.03"),
        (lambda: Goal("val_loss", 1.8), 'Goal("val_loss", 1.8, better="lower")'),
        (lambda: Goal("cross-entropy", 0.3), "write Goal(CROSS_ENTROPY, 0.3)"),
        (lambda: Goal(ERROR_RATE, "0.1"), "write 0.1, without quotes"),
        (lambda: Goal(0.9, "accuracy"), "write Goal(metric, value)"),
        (lambda: Goal(f1_score, 0.9), "lambda outputs, targets: f1_score(targets, outputs"),
        (lambda: Goal(F.cross_entropy, 0.9), 'Metric("cross_entropy", cross_entropy,'),
        (lambda: Goal(nn.MSELoss(), 0.9), "SplitMetric("),
        (lambda: Goal(Metric, 0.9), "Metric(name, per_example, better)"),
        (lambda: Metric("m", 3, "lower"), "write a function of (outputs, targets)"),
        (lambda: Metric("m" * 65, F.mse_loss, "lower"), "of 1 to 64 characters"),
        (lambda: Metric("m", F.mse_loss, "max"), 'better="higher"'),
        (lambda: Execution(precision=torch.float16), "write 'float32' or 'bfloat16'"),
    ],
)
def test_a_metric_that_is_none_is_told_how_it_is_written(
    make: Callable[[], object], says: str
) -> None:
    assert says in refused(make)


def test_a_metric_of_ours_is_known_by_its_name_in_a_workload_and_reported_by_a_loop() -> None:
    workload = replace(MLP, goal=Goal("Accuracy", 0.9))
    assert workload.goal == Goal(ACCURACY, 0.9)
    assert workload.describe() == replace(MLP, goal=Goal(ACCURACY, 0.9)).describe()
    loop = Loop(
        name="a/b/c",
        goal=("accuracy", 0.9),
        search_space={},
        step_budget=9,
        batch_sizes=8,
        train=lambda trial: iter(()),
    )
    assert loop.goal.metric.better == "higher"
    assert loop.batch_sizes == (8,)


def test_what_a_field_is_called_elsewhere_is_told_by_its_name_here() -> None:
    from batchfront.workload.user_error import error_in

    def said(**given: Any) -> str:
        with pytest.raises(TypeError) as error:
            Workload(**given)
        return error_in(error.value)

    assert said(optimizer=1).endswith("write algorithm=")
    assert said(batch_size=1).endswith("write batch_sizes=")
    assert "did you mean step_budget" in said(step_budgets=1)


# Whatever it is


class Odd:
    """Raises whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __bool__(self) -> bool:
        raise RuntimeError

    def __iter__(self) -> Any:
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError

    __hash__ = object.__hash__


def endless() -> Any:
    while True:
        yield 8


LOOP = Loop(
    name="a/b/c",
    goal=Goal("loss", 1.0, "lower"),
    search_space={},
    step_budget=9,
    batch_sizes=(8,),
    train=lambda trial: iter(()),
)


def with_field(field: str, thing: Any) -> None:
    """All that planning asks of a definition before data are loaded."""
    workload = replace(MLP, **{field: thing})
    for batch_size in workload.batch_sizes[:2]:
        workload.steps_allowed(batch_size)
        workload.space(batch_size)
    json.dumps(workload.describe())


THINGS: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 10**30, float("nan"), float("inf"), 2j, "", "x", "16"),
    "a/b/c",
    *("\x00\ud800", b"x", [], [None], [[8]], (), (1, 2), (0.01, 1.0), ("accuracy",), {}, {"a": 1}),
    *({1: 2}, {3}, range(0), range(9), np.arange(3), np.float32(0.5), np.array("x"), object()),
    Odd(),
    *(Odd, object, int, len, print, max, dict, Exception("x"), ..., NotImplemented, lambda: None),
    *(lambda *a, **k: None, lambda a, b, c, d: None, endless(), torch.tensor(3), torch.ones(2, 2)),
    *(torch, torch.float32, nn.Linear, nn.Linear(2, 2), nn.Module(), torch.optim.SGD, SGD, SGD()),
    *(ERROR_RATE, Goal, Goal(CROSS_ENTROPY, 0.1), Log, Log(0.1, 1.0), Execution, Execution()),
    *(MLP, Workload, Momentum, TorchOptimizer, scipy.stats.uniform, FLOAT, np.random.default_rng()),
]

SOME = {
    "goal's metric": lambda thing: Goal(thing, 0.5),
    "goal's value": lambda thing: Goal(ERROR_RATE, thing),
    "goal's side": lambda thing: Goal("loss", 1.0, thing),
    "low of Log": lambda thing: Log(thing, 1.0),
    "high of Linear": lambda thing: Linear(0.0, thing),
    "low of Integer": lambda thing: Integer(thing, 9),
    "log of Integer": lambda thing: Integer(1, 9, thing),
    "value of a Choice": lambda thing: Choice(thing, 1),
    "metric's name": lambda thing: Metric(thing, F.mse_loss, "lower"),
    "metric's function": lambda thing: Metric("m", thing, "lower"),
    "metric's side": lambda thing: Metric("m", F.mse_loss, thing),
    "metric's bound": lambda thing: Metric("m", F.mse_loss, "lower", thing),
    "grid's first": lambda thing: replace(MLP.grid, first=thing),
    "grid's spacing": lambda thing: replace(MLP.grid, spacing=thing),
    "patience": lambda thing: replace(MLP.stopping, patience=thing),
    "bound of divergence": lambda thing: replace(MLP.stopping, diverged_beyond=thing),
    "precision": lambda thing: Execution(precision=thing),
    "compile": lambda thing: Execution(compile=thing),
    "splits": lambda thing: Splits(thing, thing),
    "split": lambda thing: Split(thing, thing),
    "loop's function": lambda thing: replace(LOOP, train=thing),
    "loop's at_once": lambda thing: replace(LOOP, at_once=thing),
    "loop's examples": lambda thing: replace(LOOP, train_examples=thing),
    "loop's steps": lambda thing: replace(LOOP, own_steps=thing),
    "loop's grid": lambda thing: replace(LOOP, grid=thing),
    **{field: partial(with_field, field) for field in Workload.__dataclass_fields__},
}


@pytest.mark.parametrize("make", SOME.values(), ids=SOME)
def test_nothing_that_a_field_is_given_ends_in_an_error_that_nobody_has_foreseen(
    make: Callable[[Any], object],
) -> None:
    lines = []
    for thing in THINGS:
        try:
            make(thing)
        except UsageError as error:  # and nothing else
            lines.append(str(error))
    assert lines
    assert not [line for line in lines if "\n" in line]
