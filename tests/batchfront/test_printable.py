"""Text that others wrote can be seen, and does nothing to a terminal."""

import shutil
import subprocess
import sys
import unicodedata

import pytest

from batchfront.printable import LINES, printable, printable_output, printable_pieces, shell_word

PLAIN = "digits/mlp: 1,024 × 4 – „größer“ … 批量 \u05e9\u05dc\u05d5\u05dd 🚀 a\\b [bold]x[/bold]"

HIDDEN = {
    "ESC": ("\x1b", r"\x1b"),
    "OSC 52": ("\x1b]52;c;Y3VybA==\x07", r"\x1b]52;c;Y3VybA==\x07"),
    "C1": ("\x9b31m", r"\x9b31m"),
    "DEL": ("\x7f", r"\x7f"),
    "NUL": ("\0", r"\x00"),
    "carriage return": ("a\rb", r"a\rb"),
    "newline": ("a\nb", r"a\nb"),
    "next line": ("\x85", r"\x85"),
    "bidi override": ("\u202egpj.exe", r"\u202egpj.exe"),
    "bidi isolate": ("\u2066a\u2069", r"\u2066a\u2069"),
    "bidi mark": ("\u061c\u200f", r"\u061c\u200f"),
    "zero width": ("a\u200bb\u200d\u2060\ufeff", r"a\u200bb\u200d\u2060\ufeff"),
    "soft hyphen": ("a\u00adb", r"a\xadb"),
    "line separator": ("\u2028\u2029", r"\u2028\u2029"),
    "lone surrogate": ("\udc80", r"\udc80"),
    "tags": ("\U000e0041", r"\U000e0041"),
    "variation selector": ("a\ufe0f\U000e0100", r"a\ufe0f\U000e0100"),
    "filler": ("\u3164\u2800\u115f", r"\u3164\u2800\u115f"),
    "private": ("\ue000", r"\ue000"),
}


@pytest.mark.parametrize(("text", "shown"), HIDDEN.values(), ids=HIDDEN)
def test_what_cannot_be_seen_is_written_as_python_writes_it(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_what_can_be_seen_stays_as_it_is() -> None:
    assert printable(PLAIN) == PLAIN


def test_spaces_of_every_width_stay() -> None:
    spaces = " \u00a0\u202f\u3000"
    assert printable(spaces) == spaces


def test_lines_are_kept_only_where_asked_for() -> None:
    assert printable("a\n\tb\r", LINES) == "a\n\tb\\r"


def test_of_no_character_is_anything_left_that_a_terminal_acts_on() -> None:
    shown = printable("".join(map(chr, range(sys.maxunicode + 1))))
    left = {unicodedata.category(character) for character in shown}
    assert left.isdisjoint({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def test_what_is_printable_is_not_changed_again() -> None:
    once = printable("".join(text for text, _ in HIDDEN.values()))
    assert printable(once) == once


@pytest.mark.parametrize(
    "colours",
    [
        "\x1b[31mred\x1b[0m",
        "\x1b[1;38;5;8mgrey\x1b[m",
        "\x1b[48;2;1;2;3mx\x1b[49m",
        "\x1b[38:5:12mx\x1b[0m",
    ],
)
def test_colours_of_a_programs_output_stay_and_end_with_it(colours: str) -> None:
    assert printable_output(f"{colours} and on") == f"{colours} and on\x1b[0m"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("10 %\r20 %\n\tdone", "10 %\r20 %\n\tdone"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x1b[8mhidden", r"\x1b[8mhidden"),
        ("\x1b[1;8mhidden", r"\x1b[1;8mhidden"),
        ("\x1b[08mhidden", r"\x1b[08mhidden"),
        ("\x1b[2J\x1b[6n", r"\x1b[2J\x1b[6n"),
        ("\x1b[31", r"\x1b[31"),
        ("\u202eabc", r"\u202eabc"),
    ],
)
def test_all_else_in_a_programs_output_can_be_seen(said: str, shown: str) -> None:
    assert printable_output(said) == shown


def test_output_that_comes_in_pieces_is_shown_as_if_it_came_at_once() -> None:
    whole = "\x1b[1;31mgrößer\x1b[0m 10 %\r20 %\n\x1b]0;t\x07\x1b[2J\x1b[3".encode() + b"\xe9"
    shown = "\x1b[1;31mgrößer\x1b[0m 10 %\r20 %\n" + r"\x1b]0;t\x07\x1b[2J\x1b[3\xe9" + "\x1b[0m"
    for size in (1, 2, 3, 5, 1000):
        pieces = (whole[at : at + size] for at in range(0, len(whole), size))
        assert "".join(printable_pieces(pieces)) == shown


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    "word",
    ["plain", "a b", "it's", "a\x1b]52;c;x\x07'\\n", "\xad\u202e\U000e0041", "\n", "\x7f\x85$HOME"],
)
def test_a_word_of_a_command_can_be_seen_and_means_the_same_to_bash(word: str) -> None:
    shown = shell_word(word)
    assert printable(shown) == shown
    said = subprocess.run(
        ["bash", "-c", f"printf %s {shown}"],
        capture_output=True,
        check=True,
        env={"LC_ALL": "C.UTF-8"},
    )
    assert said.stdout.decode() == word
