"""How numbers are written."""

import pytest

from batchfront.phrases import listed
from batchfront.report.text import short_count, significant


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0602743, "0.0603"),
        (1.4, "1.40"),
        (44.9, "44.9"),
        (100.0, "100"),
        (12345.6, "12,346"),
        (1e-6, "1.00e-6"),
        (3e9, "3.00e9"),
        (0.0, "0.00"),
        (3, "3"),
        (True, "True"),
        ("relu", "relu"),
        (None, "–"),
        (float("inf"), "inf"),
    ],
)
def test_a_metaparameter_has_three_significant_digits(value: object, text: str) -> None:
    assert significant(value) == text  # type: ignore[arg-type]


def test_a_momentum_close_to_one_keeps_the_digits_that_tell() -> None:
    assert significant(0.98367) == "0.984"
    assert significant(0.99951) == "0.99951"


@pytest.mark.parametrize(
    ("number", "text"),
    [(7, "7"), (1841, "1,841"), (18412, "18.4k"), (200_000, "200k"), (999_950, "1.00M")],
)
def test_a_label_beside_a_point_is_short(number: int, text: str) -> None:
    assert short_count(number) == text


def test_a_list_reads_as_a_phrase() -> None:
    assert [listed(["2"]), listed(["2", "4"]), listed(["2", "4", "8"])] == [
        "2",
        "2 and 4",
        "2, 4 and 8",
    ]
