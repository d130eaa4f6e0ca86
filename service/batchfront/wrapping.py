"""Text in lines of some width: broken between words, with commands and numbers left whole."""

import re

from rich.cells import cell_len

_WORD = re.compile(r"(?:[\d,]+ (?=[a-z]))?(?:`[^`]*`|\([^()`]{1,28}\)|[^ ])+")
"""What no line is broken in: a word, with the number of what it names; a command in backticks,
which is to be copied; an interval in brackets."""


def wrapped(text: str, width: int | None) -> list[str]:
    """Fold lines that are wider than `width`, or none; what begins a line with spaces keeps them on
    each that it is folded to. A word that is wider has a line of its own.

    width -- in terminal cells, of which some characters take two
    """
    return [folded for line in text.split("\n") for folded in _folded(line, width)]


def words(text: str) -> list[str]:
    """What no line of a text is broken in."""
    return _WORD.findall(text)


def _folded(line: str, width: int | None) -> list[str]:
    if width is None or cell_len(line) <= width:
        return [line]
    indent = line[: len(line) - len(line.lstrip(" "))]
    lines: list[str] = []
    for word in words(line):
        longer = f"{lines[-1]} {word}" if lines else ""
        if lines and cell_len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(f"{indent}{word}")
    return lines
