"""Several things in one phrase."""

from collections.abc import Sequence


def listed(items: Sequence[str]) -> str:
    """All of them: a, b and c."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def first_few(items: Sequence[str], most: int = 6) -> str:
    """The first ones of many: a, b and 4 more; all of them where only one would be left out."""
    more = len(items) - most
    return ", ".join(items) if more <= 1 else f"{', '.join(items[:most])} and {more} more"
