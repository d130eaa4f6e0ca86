"""The catalog's own workloads: their names, goals, batch sizes and search spaces."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from batchfront.exchange.batch_science.goals import goal_of
from batchfront.training.preflight.checks import check
from batchfront.workload.catalog import load, names
from batchfront.workload.lr_schedule import LinearDecay
from batchfront.workload.metrics import ERROR_RATE
from batchfront.workload.search_space import Integer, Linear, Log, quasi_random_points
from batchfront_studies import workloads
from tests.batchfront_studies.inputs import BATCHES, batch_for
from tests.batchfront_studies.small_data.cifar_10 import SMALL as SMALL_CIFAR
from tests.batchfront_studies.small_data.cifar_10 import write_cifar_10
from tests.batchfront_studies.small_data.fashion_mnist import write_fashion_mnist
from tests.batchfront_studies.small_data.mnist import SMALL as SMALL_MNIST
from tests.batchfront_studies.small_data.mnist import write_mnist

SMALL_IMAGES = (
    "digits",
    "mnist",
    "mnist_subsets",
    "fashion_mnist",
    "solution_quality",
    "cifar_10",
)
OURS = sorted(name for name in workloads() if name.split("/")[0] in SMALL_IMAGES)
OF_OUR_OWN = re.compile("digits/|books/|mnist/fc_256/")
"""Workloads that the paper doesn't have."""
PAPER_FC = [
    "fc_1024",
    "fc_1024_1024",
    "fc_1024_1024_1024",
    *(f"fc_{width}_{width}_{width}" for width in (64, 128, 256, 512, 2048)),
]
SIMPLE_CNNS = [f"simple_cnn_{variant}" for variant in ("narrow", "base", "wide")]
LIKE_MNIST = [
    *(f"mnist_subsets/mnist_{size}" for size in (6_875, 13_750, 27_500, 55_000)),
    "fashion_mnist",
    "solution_quality/mnist",
    "solution_quality/fashion_mnist",
]
SGD_FAMILY = ["sgd", "momentum", "nesterov_momentum"]


def test_the_catalog_holds_digits_and_the_papers_small_images_and_our_small_network() -> None:
    expected = [f"digits/mlp/{algorithm}" for algorithm in [*SGD_FAMILY, "adamw"]]
    for model in [*PAPER_FC, *SIMPLE_CNNS, "fc_256"]:
        expected += [f"mnist/{model}/{algorithm}" for algorithm in SGD_FAMILY]
    expected += [f"{data}/simple_cnn_base/nesterov_momentum" for data in LIKE_MNIST]
    expected += [f"cifar_10/resnet_8/{algorithm}" for algorithm in ("nesterov_momentum", "sgd")]
    small = [name for name in OURS if name.split("/")[0] in BATCHES]
    assert sorted(expected) == small
    assert set(OURS) <= set(names())


@pytest.mark.parametrize("name", OURS)
def test_a_workload_is_called_what_the_catalog_calls_it_and_fits_together(name: str) -> None:
    workload = load(name)
    assert workload.name == name
    assert name.endswith(f"/{workload.algorithm.name}")
    assert workload.description
    assert "\n" not in workload.description
    sizes = list(workload.batch_sizes)
    assert sizes == sorted(set(sizes))
    for batch_size in sizes:
        assert workload.steps_allowed(batch_size) >= 3000
        assert "learning_rate" in workload.searched(batch_size)


@pytest.mark.parametrize("name", OURS)
def test_each_draw_starts_the_algorithm_on_the_model_and_makes_a_step(name: str) -> None:
    workload = load(name)
    values = quasi_random_points(workload.space(workload.batch_sizes[0]), 1, seed=0)[0]
    model = workload.model()
    before = next(model.parameters()).detach().clone()
    optimizer = workload.algorithm.start(model, values)
    inputs, targets = batch_for(name, 2)
    workload.loss(model(inputs), targets).backward()
    optimizer.step(float(values["learning_rate"]))
    assert not torch.equal(next(model.parameters()), before)


@pytest.mark.parametrize("name", OURS)
def test_only_what_is_meant_to_be_searched_can_be(name: str) -> None:
    takes = {"learning_rate", "weight_decay", "label_smoothing", "clip_norm"}
    takes |= {"adamw": {"beta1"}, "sgd": set()}.get(name.split("/")[-1], {"momentum"})
    takes |= {"decay_steps", "decay_factor"} if decays(name) else set()
    assert set(load(name).metaparameters()) == takes


def decays(name: str) -> bool:
    return "/resnet" in name or "/vgg" in name


@pytest.mark.parametrize("name", [name for name in OURS if decays(name)])
def test_a_rate_decays_over_half_to_all_of_the_step_budget_at_every_batch_size(name: str) -> None:
    workload = load(name)
    assert isinstance(workload.schedule, LinearDecay)
    for batch_size in workload.batch_sizes:
        budget, space = workload.steps_allowed(batch_size), workload.space(batch_size)
        steps, factor = space["decay_steps"], space["decay_factor"]
        assert isinstance(steps, Integer | Linear)
        assert (steps.low, steps.high) == (budget // 2, budget)
        assert factor == Log(1e-4, 0.1)


def test_learning_rates_of_resnet_8_rise_with_the_batch_size_and_momentum_takes_a_tenth() -> None:
    plain, nesterov = (load(f"cifar_10/resnet_8/{name}") for name in ("sgd", "nesterov_momentum"))
    lowest = 0.0
    for batch_size in plain.batch_sizes:
        rate = plain.space(batch_size)["learning_rate"]
        tenth = nesterov.space(batch_size)["learning_rate"]
        assert isinstance(rate, Log)
        assert isinstance(tenth, Log)
        assert rate.low > lowest
        assert (tenth.low, tenth.high) == pytest.approx((rate.low / 10, rate.high / 10))
        lowest = rate.low
    assert plain.space(2)["learning_rate"] == Log(1e-4, 0.4)


@pytest.mark.parametrize(
    ("model", "goal"),
    [
        *((f"mnist/{model}", 0.01) for model in SIMPLE_CNNS),
        *((f"mnist/{model}", 0.04) for model in PAPER_FC),
        ("mnist/fc_256", 0.025),
        ("digits/mlp", 0.03),
    ],
)
def test_a_model_has_one_goal_whatever_the_algorithm(model: str, goal: float) -> None:
    for algorithm in SGD_FAMILY:
        assert load(f"{model}/{algorithm}").goal.metric == ERROR_RATE
        assert load(f"{model}/{algorithm}").goal.value == goal


def test_the_same_model_has_the_papers_goal_on_other_data_and_parts_of_mnist_have_ours() -> None:
    goals = {name: load(name).goal for name in OURS if name.split("/")[0] in BATCHES}
    assert all(goal.metric == ERROR_RATE for goal in goals.values())
    nesterov = "simple_cnn_base/nesterov_momentum"
    for data, value in (("mnist", 0.01), ("fashion_mnist", 0.1)):
        assert goals[f"{data}/{nesterov}"].value == value
        assert goals[f"solution_quality/{data}/{nesterov}"].value == value
    for size in (6_875, 13_750, 27_500, 55_000):
        assert goals[f"mnist_subsets/mnist_{size}/{nesterov}"].value == 0.02
    for algorithm in ("nesterov_momentum", "sgd"):
        assert goals[f"cifar_10/resnet_8/{algorithm}"].value == 0.3


@pytest.mark.parametrize("name", [name for name in OURS if not OF_OUR_OWN.match(name)])
def test_the_catalog_and_data_from_elsewhere_are_held_to_the_same_goal(name: str) -> None:
    workload, imported = load(name), goal_of(name, name, ())
    assert workload.describe()["goal"] == imported.described()
    assert "ours" in workload.description or imported.origin == "the paper"


def test_batch_sizes_are_the_papers() -> None:
    powers = [2**k for k in range(16)]
    assert list(load("mnist/fc_1024/sgd").batch_sizes) == [*powers, 55_000]
    assert list(load("mnist/simple_cnn_base/momentum").batch_sizes) == [*powers, 55_000]
    assert list(load("mnist/simple_cnn_wide/sgd").batch_sizes) == powers
    nesterov = [1, 2, 8, 32, 128, 512, 2048, 8192, 32768, 55_000]
    assert list(load("mnist/simple_cnn_base/nesterov_momentum").batch_sizes) == nesterov
    for data in ("mnist", "fashion_mnist"):
        name = f"solution_quality/{data}/simple_cnn_base/nesterov_momentum"
        assert list(load(name).batch_sizes) == nesterov
    clothes = load("fashion_mnist/simple_cnn_base/nesterov_momentum")
    assert list(clothes.batch_sizes) == nesterov[1:]
    for size, largest in ((6_875, 12), (13_750, 13), (27_500, 14), (55_000, 15)):
        part = load(f"mnist_subsets/mnist_{size}/simple_cnn_base/nesterov_momentum")
        assert list(part.batch_sizes) == [*powers[: largest + 1], size]
    for algorithm in ("nesterov_momentum", "sgd"):
        assert list(load(f"cifar_10/resnet_8/{algorithm}").batch_sizes) == powers[1:14]
    assert list(load("digits/mlp/sgd").batch_sizes) == powers[1:11]


def test_what_is_not_from_the_paper_says_so() -> None:
    for name in OURS:
        in_paper = name.startswith("mnist/simple_cnn_base/")
        assert ("ours" in load(name).description) != in_paper


@pytest.mark.parametrize(
    ("name", "small"),
    [
        ("mnist_subsets/mnist_13750/simple_cnn_base/nesterov_momentum", SMALL_MNIST),
        ("fashion_mnist/simple_cnn_base/nesterov_momentum", SMALL_MNIST),
        ("cifar_10/resnet_8/nesterov_momentum", SMALL_CIFAR),
    ],
)
def test_its_data_fits_its_model_on_small_files_of_the_true_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, small: object
) -> None:
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(tmp_path))
    write_mnist(tmp_path)
    write_fashion_mnist(tmp_path)
    write_cifar_10(tmp_path)
    workload = load(name)
    checked = check(replace(workload, data=partial(workload.data, small)), (2, 8))
    assert len(checked.splits.train) == (16 if "13750" in name else 64)


def test_digits_are_learnt_to_the_goal_within_the_step_budget() -> None:
    workload = load("digits/mlp/momentum")
    splits, torch_state = workload.data(), torch.get_rng_state()
    torch.manual_seed(0)
    model = workload.model()
    optimizer = workload.algorithm.start(model, {"learning_rate": 0.1, "momentum": 0.9})
    errors = []
    for _ in range(min(300, workload.steps_allowed(64))):
        inputs, targets = splits.train.batch(torch.randint(len(splits.train), (64,)))
        workload.loss(model(inputs), targets).backward()
        optimizer.step(0.1)
        with torch.no_grad():
            outputs = model(splits.validation.inputs)
        numbers = workload.goal.metric.per_example(outputs, splits.validation.targets)
        errors.append(float(numbers.mean()))
    torch.set_rng_state(torch_state)
    assert workload.goal.passed(min(errors))
    assert not workload.goal.passed(errors[0])
