"""Searches and points as the tests of certainty need them."""

from collections.abc import Sequence

import numpy as np

from batchfront.frontier.frontier import Finisher, Point
from batchfront.frontier.queries import Trial
from batchfront.study.study import Study


def law(rng: np.random.Generator, n: int) -> list[int]:
    """Steps of a search whose trials follow a power law: P(steps < s) = (s / 10^6)^(1/0.3)."""
    return sorted((1e6 * np.exp(-rng.exponential(0.3, n))).astype(int).tolist())


IDENTITY = {
    "goal": {"metric": "error rate", "better": "lower", "value": 0.1},
    "search_space": {"learning_rate": {"kind": "Log", "low": 0.001, "high": 1.0}},
}


def point(
    batch_size: int,
    steps: Sequence[int] = (),
    outcomes: dict[str, int] | None = None,
    rate: float = 0.03,
    **study: object,
) -> Point:
    """The frontier at a batch size, with trials that took these steps, best first."""
    fields = {
        "id": batch_size,
        "name": f"a/b/c/b{batch_size}",
        "workload": "a/b/c",
        "spec": "",
        "batch_size": batch_size,
        "identity": IDENTITY,
        "goal_value": None,
        "seed": 0,
        "schedule": "race",
        "sampler": "sobol",
        "count": "all",
        "trials": 32,
        **study,
    }
    finishers = tuple(Finisher(i, s, s - 1) for i, s in enumerate(steps))
    best = None
    if steps:
        params = {"learning_rate": rate}
        best = Trial(0, params, "reached", "", steps[0], steps[0], steps[0] - 1, *([None] * 4), {})
    return Point(Study(**fields), best, outcomes or {}, finishers, {})  # type: ignore[arg-type]
