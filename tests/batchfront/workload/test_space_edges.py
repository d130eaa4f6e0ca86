"""Search spaces made wider: by half on one side, within what the metaparameter can be."""

import math
from itertools import pairwise
from typing import Any

import pytest

from batchfront.workload.search_space import Choice, Dimension, Integer, Linear, Log, ReverseLog
from batchfront.workload.space_edges import edges, growth, holding, holds, widened

cases: list[tuple[str, Dimension, str, Dimension | None]] = [
    ("learning_rate", Log(1e-3, 0.1), "high", Log(1e-3, 1.0)),
    ("learning_rate", Log(1e-3, 0.1), "low", Log(1e-4, 0.1)),
    ("learning_rate", Linear(0.5, 1.0), "high", Linear(0.5, 1.25)),
    ("momentum", ReverseLog(0.9, 0.99), "high", ReverseLog(0.9, 1 - 0.1**2.5)),
    ("momentum", ReverseLog(0.9, 0.99), "low", ReverseLog(1 - 0.1**0.5, 0.99)),
    ("momentum", ReverseLog(0.5, 0.999), "low", ReverseLog(0.0, 0.999)),
    ("momentum", ReverseLog(0.0, 0.99), "low", None),
    ("dropout", Linear(0.0, 0.4), "high", Linear(0.0, 0.6)),
    ("dropout", Linear(0.0, 0.8), "high", Linear(0.0, 1.0)),
    ("dropout", Linear(0.0, 0.4), "low", None),
    ("dropout", Linear(0.1, 0.5), "low", Linear(0.0, 0.5)),
    ("decay_factor", Log(1e-2, 1.0), "high", None),
    ("shift", Linear(-1.0, 1.0), "low", Linear(-2.0, 1.0)),
    ("scale", Linear(1.0, 3.0), "high", Linear(1.0, 4.0)),
    ("layers", Integer(1, 3), "high", Integer(1, 5)),
    ("layers", Integer(1, 3), "low", None),
    ("layers", Integer(4, 9), "low", Integer(1, 9)),
    ("offset", Integer(-3, 0), "low", Integer(-5, 0)),
    ("extra", Integer(0, 3), "low", None),
    ("units", Integer(4, 32, log=True), "high", Integer(4, 99, log=True)),
    ("units", Integer(4, 32, log=True), "low", Integer(1, 32, log=True)),
    ("activation", Choice("relu", "tanh"), "high", None),
]


@pytest.mark.parametrize(("name", "dimension", "side", "expected"), cases, ids=str)
def test_a_side_gains_half_of_the_range_within_the_limits_of_the_metaparameter(
    name: str, dimension: Dimension, side: str, expected: Dimension | None
) -> None:
    wide: Any = widened(name, dimension, side)
    if expected is None:
        assert wide is None
        return
    assert type(wide) is type(expected)
    assert (wide.low, wide.high) == pytest.approx((expected.low, expected.high))  # type: ignore[attr-defined]
    assert type(wide.low) is type(expected.low)  # type: ignore[attr-defined]


def test_the_growth_of_a_side_is_half_of_the_range_on_its_own_scale() -> None:
    for dimension in (Log(1e-4, 2.0), ReverseLog(0.9, 0.99), Linear(2.0, 5.0), Integer(3, 6)):
        wide = widened("learning_rate", dimension, "high")
        assert wide is not None
        assert growth(dimension, wide) == pytest.approx(1.5)
        assert growth(dimension, dimension) == 1.0
    coarse = widened("units", Integer(4, 32, log=True), "high")
    assert coarse is not None
    assert growth(Integer(4, 32, log=True), coarse) == pytest.approx(1.5, abs=0.01)


def test_growth_is_the_share_of_points_that_fall_outside_of_the_old_range() -> None:
    old, wide = Integer(2, 5, log=True), Integer(2, 9, log=True)
    drawn = [wide.at((n + 0.5) / 10_000) for n in range(10_000)]
    inside = sum(2 <= int(value) <= 5 for value in drawn) / len(drawn)
    assert 1 / growth(old, wide) == pytest.approx(inside, abs=2e-4)


def test_a_winner_at_an_edge_is_not_at_one_of_the_wider_range() -> None:
    for dimension in (Log(1e-3, 0.1), ReverseLog(0.5, 0.9), Linear(1.0, 3.0), Integer(2, 9)):
        for side, position in (("low", 0.0), ("high", 1.0)):
            winner = {"x": dimension.at(position)}
            assert edges({"x": dimension}, winner) == {"x": side}
            wide = widened("x", dimension, side)
            assert wide is not None
            assert edges({"x": wide}, winner) == {}


def test_a_range_can_be_widened_until_numbers_end_and_never_passes_its_limit() -> None:
    grown = [ReverseLog(0.0, 0.9)]
    while (wide := widened("momentum", grown[-1], "high")) is not None:
        assert isinstance(wide, ReverseLog)
        grown.append(wide)
    assert all(before.high < after.high < 1 for before, after in pairwise(grown))
    assert 1 - grown[-1].high < 1e-9


def test_a_space_holds_what_lies_in_all_of_its_ranges() -> None:
    space = {"a": Log(0.1, 1.0), "b": Choice("x", "y"), "c": Integer(1, 3), "fixed": 7}
    assert holds(space, {"a": 0.1, "b": "y", "c": 3, "fixed": 7})
    for wrong in ({"a": 0.09}, {"b": "z"}, {"c": 4}):
        assert not holds(space, {"a": 0.5, "b": "x", "c": 2, "fixed": 7, **wrong})


def test_a_space_made_to_hold_values_is_widened_where_it_must_be_alone() -> None:
    space = {"a": Log(0.1, 1.0), "b": Choice("x", "y"), "c": Integer(1, 3), "fixed": 7, "gone": 1}
    values = {"a": 32.0, "b": "z", "c": 2, "fixed": 9, "new": True}
    expected = {
        "a": Log(0.1, 32.0),
        "b": Choice("x", "y", "z"),
        "c": Integer(1, 3),
        "fixed": 9,
        "new": True,
    }
    assert holding(space, values) == expected
    assert holding(expected, values) == expected
    low = holding({"a": Linear(0.0, 1.0)}, {"a": -math.pi})
    assert low == {"a": Linear(-math.pi, 1.0)}
