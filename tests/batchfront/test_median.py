"""The one median: what did not get there counts as infinitely long."""

from math import inf

import pytest

from batchfront.median import exact, median


@pytest.mark.parametrize(
    ("values", "middle"),
    [
        ((3, 1, 2), 2),
        ((200, 100), 150),
        ((100, 201), 150.5),
        ((100, inf), inf),
        ((100, 120, inf, inf), inf),
        ((100, inf, 120), 120),
        ((100, inf, inf), inf),
        ((inf,), inf),
    ],
)
def test_it_is_infinite_where_half_of_the_values_are(
    values: tuple[float, ...], middle: float
) -> None:
    assert median(values) == middle


def test_whole_numbers_are_whole() -> None:
    assert [repr(exact(value)) for value in (150.0, 150.5, inf)] == ["150", "150.5", "inf"]
    assert repr(median((100, 200))) == "150"
