"""A race knows its runs by the protocol alone: these have no model, and some no state."""

from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from batchfront.store.url import Storage
from batchfront.training.checkpoints import Checkpoints
from batchfront.training.run import Run
from batchfront.worker.heartbeat import Heartbeat
from batchfront.worker.race import Race
from batchfront.workload.goal import Goal
from batchfront.workload.metrics import ERROR_RATE
from tests.counting import BUDGET, Counter, Counters, Every, Program
from tests.searches import planned, rows, started, worker

GOAL = Goal(ERROR_RATE, 0.5)


def race(
    storage: Storage,
    *made: Callable[[], Run],
    stop: Event | None = None,
    kept: Checkpoints | None = None,
) -> None:
    """Race what `made` gives, trial by trial, as one worker."""
    ledger, stop = worker(storage), stop or Event()
    study, taken = started(ledger)
    factory = Counters(GOAL, {study.trial_seed(n): one for n, one in enumerate(made)})
    with Heartbeat(ledger, study.id) as heartbeat:
        Race(ledger, study, factory, heartbeat=heartbeat, stop=stop, kept=kept).run(taken)


def test_a_race_of_counters_goes_to_its_end(storage: Storage) -> None:
    planned(storage, trials=5, batch_sizes=(4,))
    race(
        storage,
        lambda: Counter(GOAL, 0.002),
        lambda: Counter(GOAL, 0.003),
        lambda: Counter(GOAL, 0.0),
        lambda: Counter(GOAL, 0.003, breaks_at=20),
        lambda: Program(GOAL, 0.001, evaluation_steps=Every(40, BUDGET), untrained_loss=None),
    )
    found = [(row.state, row.outcome, row.steps, row.steps_to_target) for row in rows(storage)]
    winner = found[1][2]
    assert 1 - 0.003 * winner < 0.5
    assert found == [
        ("done", "capped", winner, None),
        ("done", "reached", winner, winner),
        ("done", "stalled", 128, None),
        ("done", "diverged", 20, None),
        ("done", "capped", -(-winner // 40) * 40, None),
    ]


@pytest.fixture
def stopped_at_100() -> tuple[Event, type[Counter]]:
    """A stop that comes when some counter has come to step 100."""
    stop = Event()

    class Stopping(Counter):
        def advance(self, to_step: int, stopped: Event | None = None) -> bool:
            if to_step > 100:
                stop.set()
            return super().advance(to_step, stopped)

    return stop, Stopping


def test_told_to_stop_it_keeps_what_has_a_state_and_the_rest_starts_again(
    storage: Storage, tmp_path: Path, stopped_at_100: tuple[Event, type[Counter]]
) -> None:
    stop, stopping = stopped_at_100
    planned(storage, trials=2, batch_sizes=(4,))
    kept = Checkpoints(tmp_path)
    race(
        storage,
        lambda: stopping(GOAL, 0.003),
        lambda: Program(GOAL, 0.001, evaluation_steps=Every(10, BUDGET)),
        stop=stop,
        kept=kept,
    )
    counter, program = rows(storage)
    assert (counter.state, program.state) == ("free", "free")
    assert 90 < counter.steps <= 100
    assert program.steps == 0
    resumed = Counter(GOAL, 0.003)
    race(
        storage,
        lambda: resumed,
        lambda: Program(GOAL, 0.001, evaluation_steps=Every(10, BUDGET)),
        kept=kept,
    )
    counter, program = rows(storage)
    assert (counter.outcome, program.outcome) == ("reached", "capped")
    assert [one.step for one in resumed.evaluations][:3] == [1, 2, 3]  # from before the stop
    assert resumed.cost.evaluated_examples > len(resumed.evaluations)
    assert program.steps == -(-counter.steps // 10) * 10
