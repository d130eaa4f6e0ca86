"""What is measured beside the goal, by the names under which it is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from batchfront.errors import WorkloadError
from batchfront.workload.goal import LONGEST_NAME

if TYPE_CHECKING:  # which bring torch
    from batchfront.workload.metrics import Metric, SplitMetric

_WRITE = (
    'Metric("name", per_example, better="higher"), with (outputs, targets) to a number for each '
    'example, or SplitMetric("name", of, better="higher")'
)


def as_measures(given: Any, goal: str) -> tuple[Metric | SplitMetric, ...]:
    """Check a workload's measures: metrics in a tuple or list, or a single one.

    goal -- the name of the goal's metric, which is no other's

    Raises WorkloadError for anything else, with what to write.
    """
    if isinstance(given, tuple | list) and not given:
        return ()
    from batchfront.workload.metrics import Metric, SplitMetric

    if isinstance(given, Metric | SplitMetric):
        given = (given,)
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise WorkloadError(f"measures is {_said(given)}; give a tuple of {_WRITE}")
    measures = tuple(given)
    for one in measures:
        if not isinstance(one, Metric | SplitMetric):
            raise WorkloadError(f"measures holds {_said(one)}; a measure is {_WRITE}")
    refuse_names([one.name for one in measures], goal)
    return measures


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


def _said(given: Any) -> str:
    name = getattr(given, "__name__", None)
    return f"{type(given).__name__} {name}" if name else f"a {type(given).__name__}"
