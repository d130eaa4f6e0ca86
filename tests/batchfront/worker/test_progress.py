"""What a worker's trials have shown is there for whoever looks, while they run."""

from collections.abc import Sequence

import pytest
from sqlalchemy import select

from batchfront.ledger.status import load_status
from batchfront.outcomes import Evaluation, TrialResult
from batchfront.store.database import Storage
from batchfront.store.schema import measurements
from batchfront.study.slots import Slot
from batchfront.vocabulary import Outcome, Phase
from batchfront.worker.progress import Progress
from tests.searches import ALL, claim, expire, planned, started, worker

pytestmark = pytest.mark.every_storage


def values(storage: Storage, slot: Slot, split: str = "validation") -> list[tuple[int, float]]:
    kept = measurements.c
    query = select(kept.step, kept.value).where(kept.slot_id == slot.id, kept.split == split)
    with storage.read() as conn:
        return [(row.step, row.value) for row in conn.execute(query.order_by(kept.step))]


def showing(*metrics: float) -> list[Evaluation]:
    return [Evaluation(10 * n, 0.5, metric) for n, metric in enumerate(metrics, start=1)]


def test_learning_curves_of_running_trials_are_written_as_they_grow(storage: Storage) -> None:
    planned(storage, batch_sizes=(4,))
    one = worker(storage)
    study, (first, second) = started(one, 2)
    shown: list[tuple[Slot, Sequence[Evaluation]]] = [(first, showing(0.4)), (second, [])]
    progress = Progress(one, study, lambda: shown, "lower")
    progress.write()
    shown[:] = [(first, showing(0.4, 0.3, 0.2)), (second, showing(0.5))]
    progress.write()
    assert values(storage, first) == [(10, 0.4), (20, 0.3), (30, 0.2)]
    assert values(storage, first, "train") == [(10, 0.5), (20, 0.5), (30, 0.5)]
    assert values(storage, second) == [(10, 0.5)]


def test_a_result_replaces_what_an_earlier_try_of_its_trial_has_shown(storage: Storage) -> None:
    planned(storage, batch_sizes=(4,))
    gone = worker(storage, "gone")
    study, (slot,) = started(gone, 1)
    Progress(gone, study, lambda: [(slot, showing(0.4, 0.3, 0.2))], "lower").write()
    expire(storage)
    two = worker(storage, "two")
    _, taken = started(two)
    (again,) = [one for one in taken if one.id == slot.id]
    result = TrialResult(Outcome.CAPPED, "", 10, tuple(showing(0.45)))
    assert two.finish(study, [(again, result)]) == []
    assert values(storage, slot) == [(10, 0.45)]
    Progress(gone, study, lambda: [(slot, showing(0.4, 0.3))], "lower").write()  # too late
    assert values(storage, slot) == [(10, 0.45)]


def test_where_trials_are_compared_what_they_were_compared_by_is_written_then(
    storage: Storage,
) -> None:
    planned(storage, batch_sizes=(4,), extrapolate=True)
    one = worker(storage)
    study, (slot,) = started(one, 1)
    Progress(one, study, lambda: [(slot, showing(0.4))], "lower").write()
    assert values(storage, slot) == []


def test_the_best_now_is_that_of_the_last_evaluations_and_comes_with_the_heartbeat(
    storage: Storage,
) -> None:
    planned(storage, batch_sizes=(4,))
    one = worker(storage)
    study, (a, b) = started(one, 2)
    shown = [(a, showing(0.1, 0.4)), (b, showing(0.3, float("nan")))]
    assert Progress(one, study, lambda: shown, "lower").best() == 0.4
    shown[1] = b, showing(0.3)
    progress = Progress(one, study, lambda: shown, "lower")
    assert progress.best() == 0.3
    assert Progress(one, study, lambda: shown, "higher").best() == 0.4
    one.heartbeat(study.id, {s.id: (s.fence, 20) for s in (a, b)}, 1.0, progress.best())
    (found,) = load_status(storage, ALL).studies
    assert (found.now, found.goal, found.metric) == (0.3, 0.1, "error rate")


def test_a_worker_says_which_phase_it_is_in_until_it_claims_again(storage: Storage) -> None:
    planned(storage)

    def phase() -> Phase | None:
        return load_status(storage, ALL).workers[0].phase

    one = worker(storage)
    one.enter_phase(Phase.IMPORTING)
    assert phase() == Phase.IMPORTING
    study, (slot,) = claim(one, 1)
    assert phase() is None
    one.enter_phase(Phase.ENGINES)
    one.heartbeat(study.id, {slot.id: (slot.fence, 0)})
    assert phase() == Phase.ENGINES
    one.enter_phase(None)
    assert phase() is None
