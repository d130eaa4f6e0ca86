"""What came out wrong once: the right steps to target, by whichever engine computes them."""

import pytest
from sqlalchemy import select

from batchfront.frontier.frontier import load_frontier
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import slots
from batchfront.store.url import Storage
from batchfront.vocabulary import EngineName
from batchfront.workload.catalog import load
from tests.reported import SPEC
from tests.searches import work


@pytest.mark.parametrize(
    ("name", "asked", "steps", "engine"),
    [
        ("parameter_hook", "auto", {4: 739, 16: 73}, "sequential"),
        ("padding_idx", "auto", {4: 108, 16: 104}, "sequential"),
        ("augment_minority", "vectorized", {8: 168, 16: 34}, "vectorized"),
        ("augment_minority", "sequential", {8: 168, 16: 34}, "sequential"),
        ("c_equals_l", "vectorized", {8: 24, 16: 18}, "vectorized"),
        ("optimizer_raises", "vectorized", {8: 113}, "vectorized"),
        ("optimizer_raises_by_hook", "auto", {8: 113}, "sequential"),
        ("clip_in_optimizer", "vectorized", {8: 31}, "vectorized"),
        ("clip_in_optimizer_by_hook", "auto", {8: 31}, "sequential"),
    ],
)
def test_steps_to_target(
    storage: Storage, name: str, asked: EngineName, steps: dict[int, int], engine: str
) -> None:
    workload = load(SPEC + name)
    plan(storage, SPEC + name, workload, SearchOptions(trials=8))
    work(storage, engine=asked)
    found = load_frontier(storage, workload.name)
    assert {point.batch_size: point.steps for point in found.points} == steps
    assert {e for point in found.points for e in point.versions["engine"]} == {engine}
    with storage.read() as conn:
        failed = select(slots.c.reason).where(slots.c.outcome == "failed")
        reasons = list(conn.execute(failed).scalars())
    assert len(reasons) == (6 if name.startswith("optimizer_raises") else 0)
    assert all(reason.startswith("RuntimeError: The total norm of order") for reason in reasons)
