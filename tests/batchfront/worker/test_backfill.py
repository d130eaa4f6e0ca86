"""Heats that compute their trials as one take on others in the places of those that end."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from sqlalchemy import update

from batchfront.frontier.frontier import load_frontier
from batchfront.ledger.claims import COMPANY_DEATHS
from batchfront.store.schema import slots
from batchfront.store.url import Storage
from batchfront.study import adaptive_sampler as sampling
from batchfront.training.engines import Failed
from batchfront.training.heat import Heat
from batchfront.training.model_run import ModelRun
from batchfront.training.vectorized.engine import Vectorized
from batchfront.worker import backfill as backfill
from batchfront.worker import race
from batchfront.worker.backends import models
from batchfront.worker.race import Race
from batchfront.worker.setup import LoadedWorkload
from tests import searches
from tests.searches import SHORT_STRETCHES, rows
from tests.toy import plain

TRIALS = 12
ROOM = 5

planned = partial(searches.planned, workload=plain, trials=TRIALS, batch_sizes=(4,))
work = partial(searches.work, engine="vectorized")


def winner(storage: Storage) -> tuple[int, int | None]:
    (point,) = load_frontier(storage, plain().name).points
    assert point.best is not None
    return point.best.number, point.steps


@pytest.fixture
def undisturbed(second_storage: Storage) -> Storage:
    """The same study, all of its trials in one heat, one after another."""
    planned(second_storage)
    work(second_storage, engine="sequential")
    return second_storage


@pytest.fixture
def heats(monkeypatch: pytest.MonkeyPatch) -> list[list[dict[int, int]]]:
    """What each heat was at the beginning of its rounds: number to steps."""
    found: list[list[dict[int, int]]] = []
    run, round_ = Race.run, Heat.round

    def begun(self: Race, taken: Any) -> None:
        found.append([])
        run(self, taken)

    def watched(self: Heat[Any, Any], stop: Event) -> Any:
        found[-1].append({slot.number: run.step for slot, run in self.live})
        return round_(self, stop)

    monkeypatch.setattr(Race, "run", begun)
    monkeypatch.setattr(Heat, "round", watched)
    return found


@pytest.fixture
def room_for_five(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers hold so many trials at once, and hear news at every turn."""
    monkeypatch.setattr(models, "room_for", lambda *_: ROOM)
    monkeypatch.setattr("batchfront.worker.heartbeat.FIRST_PAUSE", 0.001)


@pytest.fixture
def ended_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first heat two trials end at once."""
    advance, left = Vectorized.advance, [2]

    def fails(self: Vectorized, runs: Any, *arguments: Any) -> Any:
        done = advance(self, runs, *arguments)
        while left[0] and len(runs) == ROOM:
            left[0] -= 1
            done[2 * left[0]] = Failed("ArithmeticError: it is the test's")
            monkeypatch.setattr(race, "ATTEMPTS", 1)
        return done

    monkeypatch.setattr(Vectorized, "advance", fails)


@pytest.mark.every_storage
@pytest.mark.usefixtures("room_for_five", "ended_early")
def test_a_race_without_room_for_its_study_takes_on_others_where_trials_end_early(
    storage: Storage, undisturbed: Storage, heats: list[list[dict[int, int]]]
) -> None:
    planned(storage)
    work(storage)
    entered = next(live for live in heats[0] if ROOM in live)
    assert len(entered) == ROOM
    assert entered[ROOM] == 0
    assert all(len(live) <= ROOM for rounds in heats for live in rounds)
    assert {row.state for row in rows(storage)} == {"done"}
    assert {row.attempts for row in rows(storage)} == {1}
    failed = {row.number for row in rows(storage) if row.outcome == "failed"}
    assert failed == {0, 2}  # neither of which is the winner
    assert winner(storage) == winner(undisturbed)


@pytest.mark.usefixtures("room_for_five", "ended_early")
def test_trials_that_take_turns_too_go_on_from_their_checkpoints(
    storage: Storage,
    undisturbed: Storage,
    tmp_path: Path,
    heats: list[list[dict[int, int]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planned(storage)
    work(storage, tmp_path / "kept", pace=SHORT_STRETCHES)
    assert winner(storage) == winner(undisturbed)
    assert {row.state for row in rows(storage)} == {"done"}
    assert {row.attempts for row in rows(storage)} == {1}
    assert not list(tmp_path.rglob("*.pt"))
    for before, after in pairwise(heats):
        assert all(step >= before[-1].get(number, 0) for number, step in after[0].items())


@pytest.mark.usefixtures("room_for_five", "ended_early")
def test_those_that_come_in_catch_up_before_the_race_goes_on(
    storage: Storage, heats: list[list[dict[int, int]]]
) -> None:
    planned(storage)
    work(storage)
    first = heats[0]
    came = next(index for index, live in enumerate(first) if ROOM in live)
    others = {number: step for number, step in first[came].items() if step}
    for live in first[came:]:
        if min(live.values()) >= max(others.values()):
            break
        assert {n: s for n, s in live.items() if n in others} == others


def test_a_race_of_a_whole_study_asks_for_no_others(
    storage: Storage, heats: list[list[dict[int, int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage)
    monkeypatch.setattr(backfill.Ledger, "claim_more", lambda *_: pytest.fail("asked"))
    work(storage)
    assert len(heats) == 1


@pytest.mark.every_storage
def test_of_trials_one_by_one_several_go_on_together_each_begun_when_one_ends(
    storage: Storage, heats: list[list[dict[int, int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "ONE_BY_ONE", 4)
    planned(storage, together=1)
    work(storage)
    assert [len(live) for rounds in heats[:1] for live in rounds[:3]] == [4] * 3
    assert {row.state for row in rows(storage)} == {"done"}
    assert {row.attempts for row in rows(storage)} == {1}
    reached = [row.steps_to_target for row in rows(storage) if row.outcome == "reached"]
    assert reached
    assert min(reached) <= min(row.steps for row in rows(storage) if row.outcome == "capped")
    # Wherever they are, all go on at the same pace.
    for before, after in pairwise(heats[0]):
        assert len({after[n] - step for n, step in before.items() if n in after}) <= 1


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_sampler_draws_each_trial_when_it_knows_of_those_under_way(
    storage: Storage, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "ONE_BY_ONE", 3)
    draw, seen = sampling.sample, []

    def watched(storage: Storage, study: Any, numbers: Sequence[int]) -> Any:
        under_way = [row.number for row in rows(storage) if row.state == "leased" and row.params]
        seen.extend((number, len(under_way)) for number in numbers)
        return draw(storage, study, numbers)

    monkeypatch.setattr(sampling, "sample", watched)
    planned(storage, sampler=sampler, together=1, trials=6)
    work(storage)
    assert seen[:3] == [(0, 0), (1, 1), (2, 2)]
    assert all(under_way < 3 for _, under_way in seen)
    assert len({row.params for row in rows(storage)}) == 6
    assert {row.state for row in rows(storage)} == {"done"}


def test_one_by_one_is_one_at_a_time_unless_the_engine_is_asked_for(
    storage: Storage, heats: list[list[dict[int, int]]]
) -> None:
    """A sampler's draws depend on which trials have ended: not on what was found to be faster."""
    planned(storage, together=1)
    work(storage, engine="auto")
    assert all(len(live) == 1 for rounds in heats for live in rounds)


def test_a_trial_that_is_to_be_held_alone_stays_alone(
    storage: Storage, heats: list[list[dict[int, int]]]
) -> None:
    planned(storage, together=1, trials=4)
    with storage.write() as conn:
        conn.execute(update(slots).values(deaths=COMPANY_DEATHS))
    work(storage)
    assert [len(rounds[0]) for rounds in heats] == [1] * 4


def test_what_is_given_to_an_idle_worker_is_not_taken_back(
    storage: Storage, tmp_path: Path, heats: list[list[dict[int, int]]]
) -> None:
    """Half of a heat of trials one by one is free for whoever waits, until the heat is over."""
    planned(storage, together=1, trials=4)
    given: list[int] = []
    hold = Race._hold

    def shares(self: Race) -> None:
        hold(self)
        if not given and all(run.step > 3 for _, run in self.heat.live):
            given.extend(slot.number for slot, _ in self.heat.live[1::2])
            self._share()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Race, "_hold", shares)
        work(storage, tmp_path / "kept")
    assert given
    assert given[0] not in heats[0][-1]
    assert {row.state for row in rows(storage)} == {"done"}


def test_no_more_come_in_than_memory_holds(
    storage: Storage, heats: list[list[dict[int, int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage, together=1)
    make = LoadedWorkload.run

    def run(self: LoadedWorkload, *arguments: Any, **named: Any) -> ModelRun:
        if len(heats[-1]) == 0 and len(made_here) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        made_here.append(1)
        return make(self, *arguments, **named)

    made_here: list[int] = []
    monkeypatch.setattr(LoadedWorkload, "run", run)
    work(storage)
    assert max(len(live) for rounds in heats for live in rounds) == 3
    assert {row.state for row in rows(storage)} == {"done"}
