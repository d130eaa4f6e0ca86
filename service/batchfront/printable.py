"""Text that others wrote, as it is safe to show.

Names, choices, errors and host names come from whoever can write to the database, and the output
of programs from whoever wrote those. Printed as it is, an escape sequence in them would set the
clipboard of whoever looks, and a bidirectional override would turn a sentence around.
"""

import re
import shlex
import unicodedata
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain

LINES = "\n\t"
"""What text of several lines keeps."""

_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0]")
"""Letters and marks that show nothing: those of Unicode's Default_Ignorable_Code_Point
(DerivedCoreProperties.txt), and the blank braille pattern. The variation selectors beyond the basic
plane are in _TAGS."""

_TAGS = range(0xE0000, 0xE1000)


@cache
def _unusual(keep: str = "") -> re.Pattern[str]:
    """What has to be looked at: all but ASCII that can be seen, and what is kept anyway."""
    return re.compile(f"[^ -~{re.escape(keep)}]")


_HUE = r"(?:[0-79]|[1-9]\d|10\d|[345]8[:;]5[:;]\d{1,3}|[345]8[:;]2(?:[:;]\d{1,3}){3})"

_COLOUR = re.compile(rf"\x1b\[(?:{_HUE}(?:;{_HUE})*)?m")
"""Sets colours and emphasis (ECMA-48, section 8.3.117), but for 8, which conceals."""

_BEGUN = re.compile(r"\x1b(?:\[[0-9:;]{0,60})?\Z")

_RESET = "\x1b[0m"


def printable(text: str, keep: str = "") -> str:
    r"""Write what can't be seen as Python does, such as \x1b, \u202e and \n, and leave all else.

    keep -- characters that stay as they are, such as LINES

    Returns the text without control characters (C0, C1 and DEL), formatting ones (bidirectional
    overrides, isolates and marks, zero-width characters, tags), line and paragraph separators,
    lone surrogates, private and unassigned characters, and letters and marks that show nothing.
    """
    return _unusual(keep).sub(lambda found: _shown(found[0]), text)


def shell_word(text: str) -> str:
    r"""A word of a command for a shell, in which all can be seen: what can't is escaped within the
    quotes of bash and zsh that know escapes, as in $'a\x1b'."""
    if printable(text) == text:
        return shlex.quote(text)
    plain = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{_unusual().sub(lambda found: _in_shell(found[0]), plain)}'"


def shell_line(words: Iterable[str]) -> str:
    """A command for a shell."""
    return " ".join(map(shell_word, words))


def printable_output(text: str) -> str:
    """Write a line that a program has printed for a terminal, with its colours; all else is as in
    `printable`."""
    return _without_escapes(text) + (_RESET if _COLOUR.search(text) else "")


def printable_pieces(pieces: Iterable[bytes]) -> Iterator[str]:
    """Write what a program has printed, as it comes, with its colours, lines and progress bars,
    which return to the start of their line. Bytes that are no UTF-8 are written as in `printable`.
    """
    decoder = getincrementaldecoder("utf-8")("backslashreplace")
    begun, coloured = "", False
    for piece in pieces:
        text = begun + decoder.decode(piece)
        begun = text[_cut(text) :]
        yield _without_escapes(text[: _cut(text)])
        coloured = coloured or _COLOUR.search(text) is not None
    yield _without_escapes(begun + decoder.decode(b"", final=True))
    yield _RESET if coloured else ""  # what it leaves on isn't for what follows


def _without_escapes(text: str) -> str:
    """Text of which only colours reach a terminal."""
    kept = [printable(part, _OUTPUT) for part in _COLOUR.split(text)]
    return "".join(chain(*zip(kept, [*_COLOUR.findall(text), ""], strict=True)))


def _cut(text: str) -> int:
    """Where a colour begins that text which comes in pieces may go on with."""
    found = _BEGUN.search(text)
    return len(text) if found is None else found.start()


_OUTPUT = LINES + "\r"


def _shown(character: str) -> str:
    if _is_visible(character):
        return character
    return character.encode("unicode_escape").decode()


def _in_shell(character: str) -> str:
    r"""There, \xad is a byte, and no character."""
    code = ord(character)
    if _is_visible(character) or code < 0x80:
        return _shown(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _is_visible(character: str) -> bool:
    if unicodedata.category(character) == "Zs":  # a space, of whatever width
        return True
    blank = _BLANK.match(character) is not None or ord(character) in _TAGS
    return character.isprintable() and not blank
