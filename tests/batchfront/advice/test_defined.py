"""A study's definition says what hours depend on, or, where somebody else wrote it, nothing."""

from types import SimpleNamespace
from typing import Any

import pytest

from batchfront.advice import defined
from batchfront.workload.evaluation_grid import EvaluationGrid


def study(**identity: Any) -> Any:
    return SimpleNamespace(identity=identity)


def test_what_batchfront_writes_is_read() -> None:
    found = study(
        precision="bfloat16",
        preflight={"whole": "its update sees a batch as a whole"},
        model={
            "layers": "(0): GhostBatchNorm2d(8, ghost_size=32, eps=1e-05)\n(1): ghost_size=48",
            "parameters": {"1.weight": [64, 64], "1.bias": [64], "scale": []},
        },
        grid={"first": 2, "spacing": 0.02, "look": 2.0},
    )
    assert defined.precision(found) == "bfloat16"
    assert defined.whole(found) == "its update sees a batch as a whole"
    assert defined.group(found) == 96
    assert defined.gradient_bytes(found) == 4 * (64 * 64 + 64 + 1)
    assert defined.evaluation_grid(found) == EvaluationGrid(2, 0.02, 2.0)


def unknown(found: Any) -> bool:
    return (
        defined.precision(found) == "float32"
        and defined.whole(found) is None
        and defined.group(found) == 1
        and defined.gradient_bytes(found) is None
        and defined.evaluation_grid(found) is None
    )


def test_a_curve_from_elsewhere_says_nothing() -> None:
    assert unknown(study())


@pytest.mark.parametrize("strange", [[], "text", 7, None, {"parameters": {"w": "x"}, "layers": 1}])
def test_what_batchfront_does_not_write_counts_as_unknown(strange: Any) -> None:
    assert unknown(study(preflight=strange, model=strange, grid=strange))


def test_a_grid_that_cannot_be_counts_as_none() -> None:
    assert defined.evaluation_grid(study(grid={"first": 0, "spacing": -1, "look": 2})) is None
