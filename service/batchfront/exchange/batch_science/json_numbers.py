"""Numbers of a JSON file however it writes them: 1024, 1024.0 or "1024"."""

import math
from typing import Any

LIMIT = 2**31
"""Steps, sizes and ids that the database keeps lie below it."""


def whole_number(value: Any) -> int | None:
    """The whole number that a value stands for; None if it stands for none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number = plain(value)
    whole = isinstance(number, float) and math.isfinite(number) and number.is_integer()
    return int(number) if whole else None


def plain(value: Any) -> Any:
    """A text that writes a number, `true` or `false`, as what it writes; all else as it is."""
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return value
