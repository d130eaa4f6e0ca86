"""Several things in one phrase."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def listed(items: Sequence[str]) -> str:
    """All of them: a, b and c."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def first_few(items: Sequence[str], most: int = 6) -> str:
    """The first ones of many: a, b and 4 more; all of them where only one would be left out."""
    more = len(items) - most
    return ", ".join(items) if more <= 1 else f"{', '.join(items[:most])} and {more} more"


def several(number: int, thing: str) -> str:
    """A number of things: 1 worker, 2,000 workers."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def count(number: float) -> str:
    """A number of steps, examples or trials: "1,841"; a mean to one decimal, "1,234.6"."""
    return f"{number:,}" if isinstance(number, int) else f"{number:,.1f}".removesuffix(".0")


def nearest(word: str, known: Iterable[str]) -> str:
    """What was perhaps meant by a word that isn't known, to add to a message: "; did you mean a or
    b?"; or all there is, "; there is a, b and c"."""
    words = sorted(known)
    near = get_close_matches(word, words, n=2, cutoff=0.6)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; there is {listed(words)}" if words else ""


def percent(share: float) -> str:
    """A share as whole percent."""
    return "less than 1 %" if share < 0.01 else f"{100 * share:.0f} %"
