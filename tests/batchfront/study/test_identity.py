"""A study's identity: all that its trials share, and in what two definitions differ."""

import json
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from batchfront.study.identity import differences, study_identity
from batchfront.workload.data import Split, Splits, describe_data, describe_model
from batchfront.workload.workload import Workload
from tests.toy import clouds, model, splits


def identity(workload: Workload, batch_size: int = 4, **search: Any) -> dict[str, Any]:
    parts = {"data": describe_data(workload.data()), "model": describe_model(workload.model())}
    return study_identity(workload, batch_size, parts, {"seed": 0, **search})


def test_the_same_definition_has_no_differences_and_survives_json() -> None:
    one = identity(clouds())
    assert differences(one, identity(clouds())) == []
    assert json.loads(json.dumps(one)) == one


def test_a_difference_says_where_and_what_it_was_and_is() -> None:
    assert differences(identity(clouds()), identity(clouds().with_goal(0.3))) == [
        "goal.value was 0.1, is 0.3"
    ]
    assert differences(identity(clouds()), identity(clouds(), seed=2)) == [
        "search.seed was 0, is 2"
    ]


def test_what_is_new_and_what_is_gone_are_told_apart() -> None:
    assert differences({"a": {"b": 1}}, {"a": {"c": 2}}) == ["a.b was 1, is gone", "a.c is new: 2"]


def test_a_long_value_is_shown_in_one_line_and_cut() -> None:
    (said,) = differences({"layers": "x\n" * 500}, {"layers": "y"})
    assert "\n" not in said
    assert len(said) < 300


def test_the_content_of_every_split_counts_and_not_its_name_alone() -> None:
    found = splits()
    described = describe_data(found)
    assert described.keys() == {"train", "validation", "test"}
    assert describe_data(splits()) == described
    swapped = found.validation.inputs.clone()
    swapped[[0, 1]] = swapped[[1, 0]]
    other = Splits(found.train, Split(swapped, found.validation.targets), found.test)
    assert [line.split(" ")[0] for line in differences(described, describe_data(other))] == [
        "validation.checksum"
    ]


def test_a_models_layers_and_shapes_count_and_not_its_weights() -> None:
    assert describe_model(model()) == describe_model(model())
    assert describe_model(model(dropout=0.5)) != describe_model(model())
    assert describe_model(nn.Linear(2, 3)) != describe_model(nn.Linear(2, 3, bias=False))


def test_the_batch_size_the_grid_and_the_rules_count() -> None:
    workload = clouds()
    assert identity(workload, 4) != identity(workload, 8)
    coarse = replace(workload, grid=replace(workload.grid, spacing=0.05))
    assert differences(identity(workload), identity(coarse)) == ["grid.spacing was 0.01, is 0.05"]
    patient = replace(workload, stopping=replace(workload.stopping, patience=200))
    assert differences(identity(workload), identity(patient)) == [
        "stopping.patience was 100, is 200"
    ]


def test_data_of_another_type_is_other_data() -> None:
    found = splits().train
    double = Split(found.inputs.to(torch.float64), found.targets)
    assert found.describe()["checksum"] != double.describe()["checksum"]
