"""What can be measured beside a goal is told apart by name; what can't says what to write."""

from dataclasses import replace
from typing import Any

import pytest

from batchfront.errors import WorkloadError
from batchfront.workload.loop import Measured
from batchfront.workload.metrics import ACCURACY, CROSS_ENTROPY, ERROR_RATE, Metric
from tests.toy import clouds


def named(name: Any) -> Metric:
    return replace(CROSS_ENTROPY, name=name)


@pytest.mark.parametrize("given", [ACCURACY, [ACCURACY], (ACCURACY,), "accuracy"])
def test_measures_are_a_tuple_however_they_are_given(given: Any) -> None:
    assert replace(clouds(), measures=given).measures == (ACCURACY,)


def test_measures_are_no_part_of_what_a_study_is() -> None:
    assert replace(clouds(), measures=(ACCURACY,)).describe() == clouds().describe()


REFUSED = {
    "a name that isn't ours": (("top five",), "no metric of batchfront's; a measure is Metric("),
    "a dict": ({"top": ACCURACY}, "give a tuple of metrics, such as (ACCURACY,)"),
    "a function": ((named,), "measures: the function named is no metric yet; if it gives a number"),
    "a number": (3, "measures is 3 (int); give a tuple of metrics, such as (ACCURACY,)"),
    "the goal's": ((ERROR_RATE,), "measure 'error rate' has the name of the goal's metric"),
    "one twice": ((ACCURACY, ACCURACY), "two measures are called 'accuracy'"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_measure_is_refused_with_what_to_write(kind: str) -> None:
    given, said = REFUSED[kind]
    with pytest.raises(WorkloadError) as error:
        replace(clouds(), measures=given)
    assert str(error.value).startswith("clouds/mlp/momentum: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"top": "high"}, "measure 'top' is 'high' (str), not a number"),
        ([1.0], "measures is [1.0] (list), not a dict of names and numbers"),
    ],
)
def test_a_loops_measures_are_numbers_by_name(given: Any, said: str) -> None:
    with pytest.raises(WorkloadError) as error:
        Measured(1, 0.5, measures=given)
    assert str(error.value) == said
