"""What every metric has, whoever computes it: a name, a better side and bounds; without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from batchfront.errors import UsageError
from batchfront.workload.given import number, shown

if TYPE_CHECKING:  # which bring torch
    from batchfront.workload.goal import ReportedMetric
    from batchfront.workload.metrics import Metric, SplitMetric

Better = Literal["lower", "higher"]

LONGEST_NAME = 64
"""Characters of a metric's name that a database keeps."""


def check_metric(metric: Metric | SplitMetric | ReportedMetric) -> None:
    """Raise UsageError, with what to write, for a metric's name, side or bounds that can't be."""
    name = metric.name
    if not isinstance(name, str):
        raise UsageError(f"a metric's name is {shown(name)}; write a string")
    if not (name.isprintable() and 0 < len(name.strip()) <= LONGEST_NAME):
        raise UsageError(
            f"metric {name[: 2 * LONGEST_NAME]!r}: its name must be one line of 1 to "
            f"{LONGEST_NAME} characters"
        )
    if not isinstance(metric.better, str) or metric.better not in ("lower", "higher"):
        raise UsageError(
            f'metric {name!r}: better is {shown(metric.better)}; write better="lower" or '
            'better="higher"'
        )
    for bound in ("low", "high"):
        value = getattr(metric, bound)
        found = number(f"metric {name!r}: {bound}", value, infinite=True)
        object.__setattr__(metric, bound, found)
    if not metric.low < metric.high:
        raise UsageError(f"metric {name!r}: low={metric.low:g} must be below high={metric.high:g}")
