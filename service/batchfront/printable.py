"""Text that others wrote, as it is safe to show.

Names, choices, errors and host names come from whoever can write to the database, and the output
of programs from whoever wrote those. Printed as it is, an escape sequence in them would set the
clipboard of whoever looks, and a bidirectional override would turn a sentence around.
"""

import re
import unicodedata

LINES = "\n\t"
"""What text of several lines keeps."""

_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0]")
"""Letters and marks that show nothing: those of Unicode's Default_Ignorable_Code_Point
(DerivedCoreProperties.txt), and the blank braille pattern. The variation selectors beyond the basic
plane are in _TAGS."""

_TAGS = range(0xE0000, 0xE1000)

_UNUSUAL = re.compile(r"[^ -~]")

_HUE = r"(?:[0-79]|[1-9]\d|10\d|[345]8[:;]5[:;]\d{1,3}|[345]8[:;]2(?:[:;]\d{1,3}){3})"

_COLOUR = re.compile(rf"\x1b\[(?:{_HUE}(?:;{_HUE})*)?m")
"""Sets colours and emphasis (ECMA-48, section 8.3.117), but for 8, which conceals."""

_RESET = "\x1b[0m"


def printable(text: str, keep: str = "") -> str:
    r"""Write what can't be seen as Python does, such as \x1b, \u202e and \n, and leave all else.

    keep -- characters that stay as they are, such as LINES

    Returns the text without control characters (C0, C1 and DEL), formatting ones (bidirectional
    overrides, isolates and marks, zero-width characters, tags), line and paragraph separators,
    lone surrogates, private and unassigned characters, and letters and marks that show nothing.
    """
    return _UNUSUAL.sub(lambda found: _shown(found[0], keep), text)


def printable_output(text: str) -> str:
    """Write what a program has printed for a terminal, with its colours, lines and progress bars,
    which return to the start of their line; all else is as in `printable`."""
    parts = _COLOUR.split(text)
    if len(parts) == 1:
        return printable(text, _OUTPUT)
    colours = [*_COLOUR.findall(text), _RESET]  # what a program leaves on isn't for what follows
    kept = [printable(part, _OUTPUT) for part in parts]
    return "".join(one for pair in zip(kept, colours, strict=True) for one in pair)


_OUTPUT = LINES + "\r"


def _shown(character: str, keep: str) -> str:
    if character in keep or _is_visible(character):
        return character
    return character.encode("unicode_escape").decode()


def _is_visible(character: str) -> bool:
    if unicodedata.category(character) == "Zs":  # a space, of whatever width
        return True
    blank = _BLANK.match(character) is not None or ord(character) in _TAGS
    return character.isprintable() and not blank
