"""Between two values lies one that is as far along on the metaparameter's own scale."""

from typing import Any

import pytest

from batchfront import Choice, Integer, Log, ReverseLog
from batchfront.frontier.interpolation import _scale, _value_between
from batchfront.workload.search_space import Value


@pytest.mark.parametrize(
    ("entry", "values", "between"),
    [
        (Log(0.001, 1.0), (0.01, 0.1), pytest.approx(0.1**1.5)),
        (ReverseLog(0.0, 0.999), (0.9, 0.99), pytest.approx(1 - 0.1**1.5)),
        (Integer(1, 9), (2, 6), 4),
        (Choice("a", "b"), ("a", "a"), "a"),
    ],
    ids=str,
)
def test_half_way_is_half_way_on_the_scale(
    entry: Any, values: tuple[Value, Value], between: Any
) -> None:
    assert _value_between(_scale(entry, *values), *values, 0.5) == between


def test_a_fixed_number_that_depends_on_the_batch_size_goes_with_its_logarithm() -> None:
    assert _value_between(_scale(100, 100, 400), 100, 400, 0.5) == 200
    assert _value_between(_scale(True, True, False), True, False, 0.5) is None
    assert _value_between(_scale("a", "a", "b"), "a", "b", 0.5) is None
