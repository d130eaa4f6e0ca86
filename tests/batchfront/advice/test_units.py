"""Hours and money are written in numbers that a person can compare."""

import pytest

from batchfront.advice.intervals import Interval
from batchfront.advice.units import digits, spread, time_spread, time_text, unit_of


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        (0.0001, "0.36\u00a0s"),
        (119 / 3600, "119\u00a0s"),
        (120 / 3600, "2\u00a0min"),
        (1.99, "119\u00a0min"),
        (2.0, "2\u00a0h"),
        (71.9, "71.9\u00a0h"),
        (72.0, "3\u00a0days"),
        (24 * 1234, "1,230\u00a0days"),
    ],
)
def test_a_time_is_written_in_the_unit_that_suits_it(hours: float, said: str) -> None:
    assert time_text(hours) == said


def test_times_beside_each_other_share_the_unit_of_the_longest() -> None:
    assert unit_of([0.001, 30.0]).symbol == "h"
    assert time_spread(Interval(2.0, 1.6, 2.5)) == "2\u00a0h (1.6 to 2.5)"
    assert time_spread(Interval(1.0, 0.8, 3.0)) == "60\u00a0min (48 to 180)"


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.01234, "0.0123"), (5.2, "5.2"), (999.4, "999"), (999.6, "1,000"), (123_456, "123,000")],
)
def test_numbers_have_the_digits_that_a_prediction_may_claim(value: float, said: str) -> None:
    assert digits(value) == said
    assert spread(Interval(value, value, value)) == f"{said} ({said} to {said})"
