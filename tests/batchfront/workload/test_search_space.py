"""Dimensions map the unit interval to values; points depend on the seed alone."""

import math

import pytest

from batchfront.errors import SearchSpaceError
from batchfront.workload.search_space import (
    Choice,
    Dimension,
    Integer,
    Linear,
    Log,
    ReverseLog,
    describe_space,
    dimensions,
    point_at,
    quasi_random_points,
    value_text,
)
from batchfront.workload.space_edges import edges

SPACE = {
    "learning_rate": Log(1e-4, 1.0),
    "momentum": ReverseLog(0.0, 0.999),
    "decay_factor": Linear(0.1, 0.9),
    "layers": Integer(1, 4),
    "label_smoothing": Choice(0.0, 0.01, 0.1),
    "weight_decay": 1e-3,
}
CONTINUOUS = [Linear(-2.0, 3.0), Log(1e-5, 10.0), ReverseLog(0.5, 0.9999)]


@pytest.mark.parametrize("dimension", CONTINUOUS, ids=str)
def test_a_range_begins_at_low_and_ends_at_high_exactly(dimension: Linear) -> None:
    assert dimension.at(0.0) == pytest.approx(dimension.low)
    assert dimension.at(1.0) == pytest.approx(dimension.high)
    assert all(dimension.low <= dimension.at(k / 1000) <= dimension.high for k in range(1001))


@pytest.mark.parametrize("dimension", CONTINUOUS, ids=str)
def test_position_is_the_inverse_of_at(dimension: Dimension) -> None:
    for k in range(11):
        assert dimension.position(dimension.at(k / 10)) == pytest.approx(k / 10, abs=1e-9)


def test_the_middle_of_a_log_range_is_the_geometric_mean() -> None:
    assert Log(1e-4, 1.0).at(0.5) == pytest.approx(1e-2)


def test_the_middle_of_a_reverse_log_range_is_the_geometric_mean_of_one_minus_the_ends() -> None:
    assert ReverseLog(0.9, 0.999).at(0.5) == pytest.approx(0.99)


@pytest.mark.parametrize("log", [False, True])
def test_an_integer_dimension_takes_every_whole_number_between_its_ends(log: bool) -> None:
    dimension = Integer(2, 9, log=log)
    values = [dimension.at(k / 999) for k in range(1000)]
    assert sorted(set(values)) == list(range(2, 10))
    assert all(isinstance(value, int) for value in values)
    assert all(dimension.at(dimension.position(v)) == v for v in values)


def test_a_linear_integer_dimension_gives_each_whole_number_the_same_share() -> None:
    values = [Integer(1, 4).at((k + 0.5) / 1000) for k in range(1000)]
    assert [values.count(n) for n in (1, 2, 3, 4)] == [250] * 4


def test_a_choice_gives_each_value_the_same_share() -> None:
    values = [Choice("a", "b").at(k / 10) for k in range(10)]
    assert values == ["a"] * 5 + ["b"] * 5
    assert Choice("a", "b").at(1.0) == "b"
    assert Choice("a", "b").position("b") == 0.75


@pytest.mark.parametrize(
    ("kind", "low", "high", "says"),
    [
        (Linear, 1.0, 1.0, "low must be less than high"),
        (Log, 1.0, 0.1, "low must be less than high"),
        (Log, 0.0, 0.1, "above 0 on a log scale"),
        (Log, -1.0, 0.1, "above 0 on a log scale"),
        (Linear, 0.0, math.inf, "finite"),
        (Linear, math.nan, 1.0, "finite"),
        (ReverseLog, 0.9, 1.0, "0 <= low < high < 1"),
        (ReverseLog, -0.1, 0.9, "0 <= low < high < 1"),
        (ReverseLog, 0.9, 0.9, "low must be less than high"),
        (Integer, 3, 3, "low must be less than high"),
        (Integer, 4, 3, "low must be less than high"),
        (Linear, -1e308, 1e308, "less than 1.8e.308 apart"),
        (Integer, -(10**308), 10**308, "less than 1.8e.308 apart"),
        (Integer, 0, 10**400, "not a finite number"),
    ],
)
def test_an_empty_or_inverted_range_is_refused_in_one_line(
    kind: type[Linear], low: float, high: float, says: str
) -> None:
    with pytest.raises(SearchSpaceError, match=says) as refusal:
        kind(low, high)
    assert kind.__name__ in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_integer_range_with_a_fraction_or_a_zero_on_a_log_scale_is_refused() -> None:
    with pytest.raises(SearchSpaceError, match="whole numbers"):
        Integer(1, 2.5)  # type: ignore[arg-type]
    with pytest.raises(SearchSpaceError, match="at least 1"):
        Integer(0, 4, log=True)


@pytest.mark.parametrize("values", [(), (1,), (1, 1)])
def test_a_choice_without_two_different_values_is_refused(values: tuple[int, ...]) -> None:
    with pytest.raises(SearchSpaceError, match="two different values"):
        Choice(*values)


@pytest.mark.parametrize("value", [math.nan, 10**400])
def test_a_choice_of_what_no_float_holds_is_refused(value: float) -> None:
    with pytest.raises(SearchSpaceError, match=r"values is .*, not a finite number"):
        Choice(0, value)
    assert Choice(1.0, math.inf).at(1.0) == math.inf


def test_the_same_seed_gives_the_same_points_however_they_are_drawn() -> None:
    whole = quasi_random_points(SPACE, 40, seed=7)
    assert quasi_random_points(SPACE, 40, seed=7) == whole
    chunks = [quasi_random_points(SPACE, n, seed=7, first=f) for f, n in ((0, 1), (1, 2), (3, 37))]
    assert [point for chunk in chunks for point in chunk] == whole
    assert [quasi_random_points(SPACE, 1, seed=7, first=k)[0] for k in range(40)] == whole


def test_another_seed_gives_other_points() -> None:
    assert quasi_random_points(SPACE, 8, seed=1) != quasi_random_points(SPACE, 8, seed=2)


def test_points_are_distinct_and_within_the_bounds() -> None:
    points = quasi_random_points(SPACE, 256, seed=0)
    assert len({point["learning_rate"] for point in points}) == 256
    for point in points:
        assert list(point) == list(SPACE)
        assert 1e-4 <= float(point["learning_rate"]) <= 1.0
        assert 0.0 <= float(point["momentum"]) <= 0.999
        assert 0.1 <= float(point["decay_factor"]) <= 0.9
        assert point["layers"] in (1, 2, 3, 4)
        assert point["label_smoothing"] in (0.0, 0.01, 0.1)
        assert point["weight_decay"] == 1e-3


def test_a_power_of_two_points_fill_every_decade_alike() -> None:
    points = quasi_random_points(SPACE, 256, seed=3)
    rates = [math.floor(math.log10(float(p["learning_rate"]))) for p in points]
    assert [rates.count(decade) for decade in (-4, -3, -2, -1)] == [64] * 4
    rests = [math.floor(3 * SPACE_MOMENTUM.position(p["momentum"])) for p in points]
    assert all(abs(rests.count(third) - 256 / 3) <= 1 for third in range(3))


SPACE_MOMENTUM = SPACE["momentum"]


def test_a_space_without_dimensions_has_one_point_over_and_over() -> None:
    assert quasi_random_points({"learning_rate": 0.1}, 2, seed=0) == [{"learning_rate": 0.1}] * 2


def test_fixed_values_are_not_searched() -> None:
    assert "weight_decay" not in dimensions(SPACE)
    assert point_at({"a": 1, "b": Linear(0.0, 1.0)}, [0.25]) == {"a": 1, "b": 0.25}


def test_a_space_is_described_as_plain_data() -> None:
    described = describe_space(SPACE)
    assert described["momentum"] == {"kind": "ReverseLog", "low": 0.0, "high": 0.999}
    assert described["layers"] == {"kind": "Integer", "low": 1, "high": 4, "log": False}
    assert described["weight_decay"] == 1e-3


def test_a_value_near_an_end_is_at_the_edge_and_one_in_the_middle_is_not() -> None:
    values = {"learning_rate": 1.2e-4, "momentum": 0.9988, "decay_factor": 0.5, "layers": 2}
    assert edges(SPACE, values) == {"learning_rate": "low", "momentum": "high"}
    assert edges(SPACE, {"label_smoothing": 0.0, "weight_decay": 1e-3}) == {}


def test_a_range_wider_than_a_float_is_large_is_drawn_from_all_of_it() -> None:
    wide = Log(1e-300, 1e300)
    assert wide.at(0.5) == pytest.approx(1.0)
    assert [wide.at(0.0), wide.at(1.0)] == pytest.approx([1e-300, 1e300])
    for position in (0.0, 0.1, 0.5, 0.9, 1.0):
        assert wide.position(wide.at(position)) == pytest.approx(position)


def test_a_momentum_just_below_one_is_not_shown_as_one() -> None:
    shown = [value_text(value) for value in (0.99974, 0.9, 0.95, 0.12345)]
    assert shown == ["0.99974", "0.9", "0.95", "0.123"]
