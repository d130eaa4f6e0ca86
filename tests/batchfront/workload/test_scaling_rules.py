"""What the published rules make of metaparameters, and where they can't be followed."""

from functools import partial
from typing import Any

import pytest
import torch

from batchfront.vocabulary import SCALING_RULES, Purpose
from batchfront.workload.algorithm import SGD, Momentum, TorchOptimizer
from batchfront.workload.scaling_rules import GAP, RULES, natural_quantity, optimizer_of
from batchfront.workload.search_space import Integer, Log, ReverseLog

ADAM = {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01}


def of(algorithm: Any, **params: Any) -> str | None:
    return optimizer_of({"algorithm": algorithm.describe()}, params)


def test_every_rule_is_a_purpose_of_studies() -> None:
    assert tuple(RULES) == SCALING_RULES
    assert not {Purpose.SEARCH, Purpose.POINTS, Purpose.CONFIRM} & set(RULES)


def test_adams_square_root_rule_is_that_of_malladi_and_others() -> None:
    made = RULES["adam-square-root"].followed(ADAM, 4)
    scaled = {"learning_rate": 2e-3, "beta1": 0.6, "beta2": 0.996, "eps": 5e-9}
    assert made == pytest.approx({**ADAM, **scaled})


def test_a_beta_that_would_pass_0_is_clipped_there() -> None:
    rule = RULES["adam-square-root"]
    assert rule.clipped(ADAM, 8) == ()
    assert rule.clipped(ADAM, 16) == ("beta1",)
    assert rule.followed(ADAM, 16)["beta1"] == 0
    assert rule.followed(ADAM, 16)["beta2"] == pytest.approx(0.984)


def test_the_half_life_of_beta2_stays_the_same_in_examples() -> None:
    made = RULES["beta2-half-life"].followed(ADAM, 8)
    assert made == pytest.approx({**ADAM, "beta2": 0.999**8})


def test_weight_decay_goes_with_the_batch_size_and_the_learning_rate_stays() -> None:
    assert RULES["weight-decay"].followed(ADAM, 8) == pytest.approx({**ADAM, "weight_decay": 0.08})


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [
        (SGD(), "SGD"),
        (Momentum(), "SGD"),
        (TorchOptimizer("adamw", torch.optim.AdamW), "AdamW"),
        (TorchOptimizer("a", partial(torch.optim.Adam, betas=(0.9, 0.95))), "Adam"),
        (TorchOptimizer("a", partial(torch.optim.Adam, decoupled_weight_decay=True)), "AdamW"),
        (TorchOptimizer("adam", lambda _: torch.optim.SGD([])), None),
    ],
)
def test_the_optimizer_is_told_where_its_class_is_given(algorithm: Any, name: str | None) -> None:
    assert of(algorithm) == name


def test_decay_that_is_a_metaparameter_may_be_decoupled_or_not() -> None:
    adam = TorchOptimizer("adam", torch.optim.Adam)
    assert of(adam, decoupled_weight_decay=True) == "AdamW"
    assert of(adam, decoupled_weight_decay=False) == "Adam"


@pytest.mark.parametrize(
    ("rule", "optimizer", "space", "params", "why"),
    [
        ("adam-square-root", "SGD", {}, ADAM, "the optimizer here is SGD"),
        ("beta2-half-life", "Adamax", {}, ADAM, "the optimizer here is Adamax"),
        ("weight-decay", "Adam", {}, ADAM, "the optimizer here is Adam"),
        ("adam-square-root", None, {}, {"learning_rate": 1.0, "beta1": 0.9}, "no beta2 and no eps"),
        ("linear", None, {}, {"lr": 0.1}, "has no learning_rate"),
        ("linear", None, {}, {"learning_rate": "auto"}, "learning_rate is 'auto'"),
        ("linear", None, {}, {"learning_rate": True}, "learning_rate is True"),
        ("linear", None, {"learning_rate": Integer(1, 9)}, {"learning_rate": 1}, "whole numbers"),
        ("weight-decay", None, {}, {"weight_decay": 0.0}, "weight_decay is 0.0"),
        ("beta2-half-life", None, {}, {"beta2": 0.0}, "beta2 is 0.0"),
        ("beta2-half-life", None, {}, {"beta2": 1.0}, "beta2 is 1.0"),
    ],
)
def test_a_rule_says_why_it_cant_be_followed(
    rule: str, optimizer: str | None, space: Any, params: Any, why: str
) -> None:
    refusal = RULES[rule].refusal(optimizer, space, params)
    assert refusal is not None
    assert why in refusal


def test_rules_are_followed_where_the_optimizer_is_right_or_cant_be_told() -> None:
    for name, rule in RULES.items():
        assert rule.refusal("AdamW", {}, ADAM) is None, name
        assert rule.refusal(None, {}, ADAM) is None, name
    assert RULES["weight-decay"].refusal("SGD", {}, ADAM) is None


def test_a_rule_speaks_of_trials_that_have_what_it_scales() -> None:
    def speaking(optimizer: str | None, *names: str) -> list[str]:
        params = dict.fromkeys(names, 0.1)
        return [name for name, rule in RULES.items() if rule.speaks_of(optimizer, params)]

    assert speaking(None, "learning_rate") == ["linear", "square-root"]
    assert speaking("SGD", "learning_rate", "beta2") == ["linear", "square-root"]
    assert speaking("AdamW", "learning_rate") == ["linear", "square-root", "adam-square-root"]
    assert speaking(None, "learning_rate", "beta1")[2:] == ["adam-square-root"]


def test_momentum_and_what_is_searched_like_it_count_by_their_distance_to_1() -> None:
    assert natural_quantity("momentum") is natural_quantity("beta2", Log(0.9, 0.99)) is GAP
    assert natural_quantity("ema", ReverseLog(0.5, 0.99)) is GAP
    assert natural_quantity("weight_decay").named("weight_decay") == "weight_decay"
    assert GAP.named("beta1") == "1 - beta1"
