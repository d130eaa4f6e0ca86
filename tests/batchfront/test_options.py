"""What is said of an option once is what checks it, and what writes and reads it."""

from dataclasses import dataclass

import pytest

from batchfront.errors import UsageError
from batchfront.options import BATCH_SIZES, DURATION, arguments, at_least, check, option, options_of


@dataclass(frozen=True)
class Options:
    kind: str | None = option(str, "One of two.", choices=("this", "that"))
    at_once: int = option(int, "How many.", must=at_least(2), default=2)
    longest: float | None = option(DURATION, "How long.")
    stay: bool = option(bool, "Stay, or go.", flags="--stay/--go", default=True)
    loud: bool = option(bool, "Loud.", default=False)
    other: int = 0


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(UsageError) as refused:
        check(Options(kind="other", at_once=1))
    assert str(refused.value) == (
        "--kind 'other': must be one of this, that; --at-once 1: must be at least 2"
    )
    check(Options())
    assert "other" not in options_of(Options)


def test_what_was_told_is_told_whole() -> None:
    assert arguments(Options()) == ["--at-once", "2", "--stay"]
    told = Options("this", 3, 5400.0, stay=False, loud=True)
    assert arguments(told) == [
        *("--kind", "this", "--at-once", "3", "--longest", "90m", "--go", "--loud"),
    ]


@pytest.mark.parametrize("text", ["0s", "0.5s", "90s", "90m", "12h", "1d", "36h", "1.25s"])
def test_a_duration_is_written_as_it_is_read(text: str) -> None:
    assert DURATION.text(DURATION.parse(text)) == text


def test_batch_sizes_are_numbers_and_the_powers_of_two_between() -> None:
    assert BATCH_SIZES.parse("3, 8..40,16,1") == (1, 3, 8, 16, 32)
    assert BATCH_SIZES.parse(BATCH_SIZES.text((2, 48))) == (2, 48)
    for wrong in ("", "8..", "a", "0", "-2", "5..7", "8..2"):
        with pytest.raises(ValueError, match=r"write|smallest"):
            BATCH_SIZES.parse(wrong)
