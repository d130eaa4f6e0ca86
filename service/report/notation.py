"""How numbers and names are written in the report."""

import html
import math

from service.answers import count as count
from service.answers import listed as listed
from service.frontier import Point
from service.search_space import Value


def short_count(number: float) -> str:
    """A number for a label beside a point: 1,841, then 18.4k and 1.84M."""
    if number < 10_000:
        return count(number)
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        # 999,950 would round up to 1000k, so each unit begins where the one below rounds up
        if number >= 0.9995 * size:
            return f"{number / size:#.3g}".rstrip(".") + unit
    return count(number)


def significant(value: Value | None) -> str:
    """A metaparameter with 3 significant digits; just below 1, those of its distance to 1."""
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return count(value)
    if not math.isfinite(value):
        return str(value)
    if 0.9 < value < 1:
        return f"{value:.{max(3, 1 - math.floor(math.log10(1 - value)))}f}"
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        text = f"{value:#.3g}"
        return f"{value:,.0f}" if "e" in text else text.rstrip(".")
    return power(f"{value:.2e}")


def power(text: str) -> str:
    """Scientific notation without padding: 1e-05 becomes 1e-5."""
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def rounded(value: float) -> float:
    """A number as the page's data keeps it: more digits than anyone can see."""
    return float(f"{value:.4g}")


def words(name: str) -> str:
    """A metaparameter's name as words: learning_rate becomes learning rate."""
    return name.replace("_", " ")


def in_figure(text: str) -> str:
    """Text for a figure, where Plotly reads a few tags."""
    return html.escape(text, quote=False)


def params_in_figure(params: dict[str, Value]) -> str:
    """Metaparameters for a hover label, one a line."""
    lines = (f"{words(name)} {significant(value)}" for name, value in params.items())
    return "<br>".join(in_figure(line) for line in lines)


def earliest(point: Point) -> float:
    """The first step at which the goal may have been passed: the one after the look before."""
    steps = point.steps or 0
    return steps if point.steps_lower is None else min(point.steps_lower + 1, steps)


def interval(point: Point) -> str:
    """The steps at one of which the goal was first passed: 1,824–1,841; "–" where nobody knows."""
    if point.steps is None or (point.measured_elsewhere and point.steps_lower is None):
        return "–"
    first = earliest(point)
    return count(first) if first == point.steps else f"{count(first)}–{count(point.steps)}"
