"""Numbers as programs write them, read exactly or refused."""

import math
import re
from fractions import Fraction

_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "infinity": math.inf}
_MOST_EXPONENT = 400  # beyond any float; a longer one would only take memory


def value_of(said: object) -> float:
    """A metric's value or a loss; nan and inf are what they say.

    Raises ValueError, which says what is wrong, for what isn't a number for certain: 1,234 may be
    either of two.
    """
    if isinstance(said, int | float) and not isinstance(said, bool):
        try:
            return float(said)
        except OverflowError:  # a whole number with hundreds of digits
            return math.inf if said > 0 else -math.inf
    text = _bare(said) if isinstance(said, str) else ""
    word = text.lstrip("+-").lower()
    if word in _NOT_FINITE:
        return -_NOT_FINITE[word] if text.startswith("-") else _NOT_FINITE[word]
    if _GROUPED.fullmatch(text):
        if "." not in text and text.count(",") == 1:
            raise ValueError(f"{text!r} may be one number or another, by what its comma is")
        return float(text.replace(",", ""))
    if _PLAIN.fullmatch(text):
        return float(text)
    raise ValueError(f"{said!r} is no number")


def count_of(said: object) -> Fraction:
    """A count of steps, examples, epochs or tokens, exactly as it is written: 1,000 or 2.5.

    Raises ValueError for what isn't a number of 0 or more.
    """
    if isinstance(said, bool) or not isinstance(said, int | float | str):
        raise ValueError(f"{said!r} is no number")
    if isinstance(said, float) and not math.isfinite(said):
        raise ValueError(f"{said} is no finite number")
    text = _bare(said) if isinstance(said, str) else repr(said)
    plain = text.replace(",", "") if _GROUPED.fullmatch(text) else text.replace("_", "")
    if not _PLAIN.fullmatch(plain) or abs(int(_exponent(plain))) > _MOST_EXPONENT:
        raise ValueError(f"{said!r} is no number")
    found = Fraction(plain)
    if found < 0:
        raise ValueError(f"{said} is less than 0")
    return found


def _bare(text: str) -> str:
    """A number without what ends it in a sentence, where a pattern has taken that too."""
    return text.strip().rstrip(",;:)]}")


def _exponent(text: str) -> str:
    return text.lower().partition("e")[2] or "0"
