"""What is measured beside the goal, by the names under which it is kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from batchfront.errors import WorkloadError
from batchfront.workload.given import shown
from batchfront.workload.goal import ReportedMetric, is_metric, metric_of_ours, not_a_metric
from batchfront.workload.metric_fields import LONGEST_NAME

if TYPE_CHECKING:  # which bring torch
    from batchfront.workload.metrics import Metric, SplitMetric

_WRITE = (
    'Metric("name", per_example, better="higher"), with (outputs, targets) to a number for each '
    'example, or SplitMetric("name", of, better="higher")'
)


def as_measures(workload: str, given: Any, goal: str) -> tuple[Metric | SplitMetric, ...]:
    """Check a workload's measures: metrics, or the names of ours, in a tuple or list, or a single
    one.

    goal -- the name of the goal's metric, which is no other's

    Raises WorkloadError for anything else, with what to write.
    """
    if isinstance(given, str) or is_metric(given):
        given = (given,)
    if not isinstance(given, tuple | list):
        raise WorkloadError(
            f"{workload}: measures is {shown(given)}; give a tuple of metrics, such as "
            f"(ACCURACY,), or of {_WRITE}"
        )
    measures: list[Metric | SplitMetric] = []
    for one in given:
        metric = metric_of_ours(one) if isinstance(one, str) else one
        if not is_metric(metric) or isinstance(metric, ReportedMetric):
            named = f"{shown(one)} is no metric of batchfront's; a measure is {_WRITE}"
            why = named if isinstance(one, str) else not_a_metric(one)
            raise WorkloadError(f"{workload}: measures: {why}")
        measures.append(metric)
    try:
        refuse_names([one.name for one in measures], goal)
    except WorkloadError as error:
        raise WorkloadError(f"{workload}: {error}") from None
    return tuple(measures)


def refuse_names(names: Iterable[Any], goal: str) -> None:
    """Raise WorkloadError unless each of these can be told from the others and from the goal's
    metric, and kept."""
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str) or not name.isprintable() or not name.strip():
            raise WorkloadError(f"measure {name!r}: its name must be one line of text")
        if len(name) > LONGEST_NAME:
            raise WorkloadError(
                f"measure {name!r}: its name must have at most {LONGEST_NAME} characters"
            )
        if name == goal:
            raise WorkloadError(
                f"measure {name!r} has the name of the goal's metric, which is recorded anyway; "
                "leave it out, or give it another name"
            )
        if name in seen:
            raise WorkloadError(f"two measures are called {name!r}; give one another name")
        seen.add(name)
