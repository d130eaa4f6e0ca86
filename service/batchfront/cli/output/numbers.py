"""Numbers for a person at a terminal."""

from batchfront.frontier.analysis.censoring import Needed


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
