"""A race knows its runs by the protocol alone: these have no model, and some no state."""

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from batchfront.ledger.ledger import Ledger
from batchfront.plan.options import Request
from batchfront.plan.plan import plan
from batchfront.store.schema import slots
from batchfront.store.url import Storage
from batchfront.study.slots import Slot
from batchfront.study.study import Filter, Study
from batchfront.training.checkpoints import Checkpoints
from batchfront.training.run import Run
from batchfront.worker.heartbeat import Heartbeat
from batchfront.worker.race import Race
from batchfront.workload.goal import Goal
from batchfront.workload.metrics import ERROR_RATE
from sqlalchemy import select

from tests.counting import BUDGET, Counter, Counters, Every, Program
from tests.toy import PLAIN, plain

GOAL = Goal(ERROR_RATE, 0.5)


class Fleet:
    """One worker's hold on a study of a few trials."""

    def __init__(self, storage: Storage, trials: int) -> None:
        plan(storage, PLAIN, plain(), Request(trials=trials, batch_sizes=(4,), finishers=1))
        self.storage, self.ledger = storage, Ledger(storage, "one")
        self.ledger.register("here", 1, "none")

    def claim(self) -> tuple[Study, list[Slot]]:
        claimed = self.ledger.claim(Filter(), lambda _: 100)
        assert claimed is not None
        study, taken = claimed
        return study, self.ledger.start(study, taken, study.space, {"batchfront": "1"})

    def race(self, *made: Callable[[], Run], stop: Event, kept: Checkpoints | None = None) -> None:
        """Of what `made` gives, trial by trial."""
        study, taken = self.claim()
        factory = Counters(GOAL, {study.trial_seed(n): one for n, one in enumerate(made)})
        with Heartbeat(self.ledger, study.id) as heartbeat:
            race = Race(
                self.ledger, study, factory, heartbeat=heartbeat, stop=stop, checkpoints=kept
            )
            race.run(taken)

    def rows(self) -> list[Any]:
        with self.storage.read() as conn:
            return list(conn.execute(select(slots).order_by(slots.c.number)))


def test_a_race_of_counters_goes_to_its_end(storage: Storage) -> None:
    fleet = Fleet(storage, 5)
    fleet.race(
        lambda: Counter(GOAL, 0.002),
        lambda: Counter(GOAL, 0.003),
        lambda: Counter(GOAL, 0.0),
        lambda: Counter(GOAL, 0.003, breaks_at=20),
        lambda: Program(GOAL, 0.001, evaluated=Every(40, BUDGET), untrained_loss=None),
        stop=Event(),
    )
    found = [(row.state, row.outcome, row.steps, row.steps_to_target) for row in fleet.rows()]
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
    fleet, kept = Fleet(storage, 2), Checkpoints(tmp_path)
    fleet.race(
        lambda: stopping(GOAL, 0.003),
        lambda: Program(GOAL, 0.001, evaluated=Every(10, BUDGET)),
        stop=stop,
        kept=kept,
    )
    counter, program = fleet.rows()
    assert (counter.state, program.state) == ("free", "free")
    assert 90 < counter.steps <= 100
    assert program.steps == 0
    resumed = Counter(GOAL, 0.003)
    fleet.race(
        lambda: resumed,
        lambda: Program(GOAL, 0.001, evaluated=Every(10, BUDGET)),
        stop=Event(),
        kept=kept,
    )
    counter, program = fleet.rows()
    assert (counter.outcome, program.outcome) == ("reached", "capped")
    assert [one.step for one in resumed.evaluations][:3] == [1, 2, 3]  # from before the stop
    assert resumed.cost.evaluated_examples > len(resumed.evaluations)
    assert program.steps == -(-counter.steps // 10) * 10
