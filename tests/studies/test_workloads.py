"""The catalog's own workloads: their names, goals, batch sizes and search spaces."""

from collections import Counter

import pytest
import torch

from service.catalog import load, names
from service.metrics import ERROR_RATE
from service.search_space import quasi_random_points
from studies import workloads

OURS = sorted(name for name in workloads() if name.startswith(("digits/", "mnist/")))
PAPER_FC = [
    "fc_1024",
    "fc_1024_1024",
    "fc_1024_1024_1024",
    *(f"fc_{width}_{width}_{width}" for width in (64, 128, 256, 512, 2048)),
]
SIMPLE_CNNS = [f"simple_cnn_{variant}" for variant in ("narrow", "base", "wide")]
SGD_FAMILY = ["sgd", "momentum", "nesterov_momentum"]


def test_the_catalog_holds_digits_and_the_papers_mnist_family_and_our_small_network() -> None:
    expected = [f"digits/mlp/{algorithm}" for algorithm in [*SGD_FAMILY, "adamw"]]
    for model in [*PAPER_FC, *SIMPLE_CNNS, "fc_256"]:
        expected += [f"mnist/{model}/{algorithm}" for algorithm in SGD_FAMILY]
    assert sorted(expected) == OURS
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
    shape = (64,) if name.startswith("digits") else (1, 28, 28)
    workload.loss(model(torch.rand(2, *shape)), torch.tensor([3, 7])).backward()
    optimizer.step(float(values["learning_rate"]))
    assert not torch.equal(next(model.parameters()), before)


@pytest.mark.parametrize("name", OURS)
def test_only_what_is_meant_to_be_searched_can_be(name: str) -> None:
    takes = {"learning_rate", "weight_decay", "label_smoothing"}
    takes |= {"adamw": {"beta1"}, "sgd": set()}.get(name.split("/")[-1], {"momentum"})
    assert set(load(name).metaparameters()) == takes


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


def test_batch_sizes_are_the_papers() -> None:
    powers = [2**k for k in range(16)]
    assert list(load("mnist/fc_1024/sgd").batch_sizes) == [*powers, 55_000]
    assert list(load("mnist/simple_cnn_base/momentum").batch_sizes) == [*powers, 55_000]
    assert list(load("mnist/simple_cnn_wide/sgd").batch_sizes) == powers
    nesterov = [1, 2, 8, 32, 128, 512, 2048, 8192, 32768, 55_000]
    assert list(load("mnist/simple_cnn_base/nesterov_momentum").batch_sizes) == nesterov
    assert list(load("digits/mlp/sgd").batch_sizes) == powers[1:11]


def test_what_is_not_from_the_paper_says_so() -> None:
    marks = Counter("ours" in load(name).description for name in OURS)
    assert marks == {True: 37, False: 3}
    for name in OURS:
        in_paper = name.startswith("mnist/simple_cnn_base/")
        assert ("ours" in load(name).description) != in_paper


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
