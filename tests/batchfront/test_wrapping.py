"""Text is folded where that takes nothing apart."""

import pytest

from batchfront.wrapping import wrapped

COMMAND = "`batchfront plan digits/mlp/adamw --extend --storage 'sqlite:///my runs.db'`"


def test_a_line_that_fits_stays_as_it_is() -> None:
    assert wrapped("a  b", 4) == ["a  b"]
    assert wrapped("a word and another", None) == ["a word and another"]


def test_lines_are_broken_between_words() -> None:
    text = "Scaling is near-perfect up to batch size 27, beyond which it takes more."
    folded = wrapped(text, 30)
    assert max(map(len, folded)) <= 30
    assert " ".join(folded) == text


def test_each_line_of_a_text_is_folded_by_itself() -> None:
    assert wrapped("\none two\n\nthree", 5) == ["", "one", "two", "", "three"]


def test_a_command_is_left_whole_on_a_line_of_its_own() -> None:
    said = f"A winner lies at an end; {COMMAND} widens it."
    assert wrapped(said, 40) == ["A winner lies at an end;", COMMAND, "widens it."]


@pytest.mark.parametrize(
    ("text", "width", "folded"),
    [
        ("in all 1,160 reached", 12, ["in all", "1,160 reached"]),
        (
            "at 240 (90 % interval 130 to 585): beyond",
            30,
            ["at 240", "(90 % interval 130 to 585):", "beyond"],
        ),
        ("a b`c d", 4, ["a", "b`c", "d"]),
    ],
)
def test_what_belongs_together_stays_together(text: str, width: int, folded: list[str]) -> None:
    assert wrapped(text, width) == folded


def test_a_word_that_is_too_long_is_not_cut() -> None:
    assert wrapped(f"see {'w' * 20} there", 8) == ["see", "w" * 20, "there"]


def test_what_begins_with_spaces_does_so_on_every_line() -> None:
    assert wrapped("  one two", 6) == ["  one", "  two"]


def test_characters_that_take_two_cells_are_counted_so() -> None:
    assert wrapped("数据 数据", 8) == ["数据", "数据"]
