"""Numbers on standard output."""

from batchfront.cli.output.numbers import number


def test_a_momentum_just_below_one_is_not_shown_as_one() -> None:
    assert [number(0.99974), number(0.9), number(0.95), number(0.12345)] == [
        "0.99974",
        "0.9",
        "0.95",
        "0.123",
    ]
