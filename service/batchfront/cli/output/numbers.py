"""Numbers for a person at a terminal."""

import math
from typing import Any

from batchfront.frontier.analysis.censoring import Needed


def number(value: Any) -> str:
    """A metaparameter: three significant digits; just below 1, those of its distance to 1."""
    if isinstance(value, float) and 0.9 < value < 1:
        return f"{value:.{max(3, 1 - math.floor(math.log10(1 - value)))}f}".rstrip("0")
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def short(value: float) -> str:
    """A value: three significant digits."""
    return f"{value:.3g}"


def times(ratio: float) -> str:
    """A multiple: "1.24×"."""
    return f"{ratio:.3g}×" if ratio < 100 else f"{ratio:,.0f}×"


def multiple(needed: Needed, ratio: float) -> str:
    """A multiple that may be a bound: "1.24×", "1.2× to 1.5×", ">= 1.2×"; `ratio` is the lower."""
    if needed.at_most is None or not needed.at_least:
        return f">= {times(ratio)}"
    upper = ratio * needed.at_most / needed.at_least
    return times(ratio) if needed.exact else f"{times(ratio)} to {times(upper)}"
