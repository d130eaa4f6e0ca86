"""Each heat's engine: as asked for, as remembered, or as a short trial finds."""

import json
import logging
from collections.abc import Sequence
from threading import Event
from typing import Any

import optuna
import pytest
import torch
from sqlalchemy import select

from batchfront.errors import UsageError
from batchfront.frontier.frontier import load_frontier
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.database import Storage
from batchfront.store.retry import impatient
from batchfront.store.schema import engines, slots
from batchfront.study.slots import Slot
from batchfront.study.study import Filter, Study
from batchfront.training.vectorized import engine as vectorized
from batchfront.vocabulary import EngineName
from batchfront.worker import engine_choice
from batchfront.worker.engine_choice import EngineChoice, refuse_unfit
from batchfront.worker.options import WorkerOptions
from batchfront.worker.setup import LoadedWorkload
from batchfront.worker.worker import Settings, Worker
from tests.searches import CODE, work
from tests.toy import PLAIN, SPEC, clouds, plain

CPU = torch.device("cpu")

Claimed = tuple[Study, LoadedWorkload, list[Slot]]


def choice(
    storage: Storage, asked: EngineName = "auto", devices: Sequence[torch.device] = (CPU,)
) -> Any:
    return EngineChoice(storage, impatient, asked, devices, 1, Event())


def remembered(storage: Storage) -> list[str]:
    with storage.read() as conn:
        return list(conn.execute(select(engines.c.engine)).scalars())


def finding(monkeypatch: pytest.MonkeyPatch, ratio: float | None) -> None:
    """What a trial of the engines would find, without its time."""
    monkeypatch.setattr(engine_choice, "speedup", lambda *_: ratio)


def finding_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def compared(*_: object) -> float:
        raise AssertionError("engines compared")

    monkeypatch.setattr(engine_choice, "speedup", compared)


@pytest.mark.every_storage
@pytest.mark.parametrize(("ratio", "engine"), [(2.3, "vectorized"), (1.05, "sequential")])
def test_the_faster_engine_is_said_and_remembered_for_all_workers(
    storage: Storage,
    claimed: Claimed,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ratio: float,
    engine: str,
) -> None:
    finding(monkeypatch, ratio)
    with caplog.at_level(logging.INFO, "batchfront.worker.engine_choice"):
        assert choice(storage).of(*claimed) == engine
    assert remembered(storage) == [engine]
    assert caplog.messages == [
        f"plain/mlp/momentum/b4: {engine}; "
        f"vectorized is {ratio:.1f} times as fast as sequential (4 trials)"
    ]
    finding_nothing(monkeypatch)
    assert choice(storage).of(*claimed) == engine


@pytest.mark.every_storage
def test_whoever_is_first_to_write_decides_for_both(
    storage: Storage,
    claimed: Claimed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def meanwhile(*_: object) -> float:
        finding(monkeypatch, 1.0)
        assert choice(storage).of(*claimed) == "sequential"
        return 9.0

    monkeypatch.setattr(engine_choice, "speedup", meanwhile)
    assert choice(storage).of(*claimed) == "sequential"
    assert remembered(storage) == ["sequential"]


def test_engines_are_compared_on_runs_that_are_thrown_away(
    storage: Storage,
    claimed: Claimed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert choice(storage).of(*claimed) in ("sequential", "vectorized")
    assert len(remembered(storage)) == 1
    with storage.read() as conn:
        assert set(conn.execute(select(slots.c.steps)).scalars()) == {0}


@pytest.mark.parametrize("asked", ["sequential", "vectorized"])
def test_what_is_asked_for_is_used_and_not_remembered(
    storage: Storage,
    claimed: Claimed,
    monkeypatch: pytest.MonkeyPatch,
    asked: EngineName,
) -> None:
    finding_nothing(monkeypatch)
    assert choice(storage, asked).of(*claimed) == asked
    assert remembered(storage) == []


def test_what_cannot_be_compared_is_sequential_and_not_remembered(
    storage: Storage,
    claimed: Claimed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finding(monkeypatch, None)
    assert choice(storage).of(*claimed) == "sequential"
    assert remembered(storage) == []


def test_few_trials_are_computed_one_after_another(
    storage: Storage,
    claimed: Claimed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finding_nothing(monkeypatch)
    study, loaded, taken = claimed
    assert choice(storage).of(study, loaded, taken[:3]) == "sequential"


def test_a_workload_that_cannot_be_vectorized_is_sequential_unless_that_is_asked_for(
    storage: Storage,
    claimed: Claimed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finding_nothing(monkeypatch)
    assert choice(storage, devices=(CPU, CPU)).of(*claimed) == "sequential"
    said = "plain/mlp/momentum: --engine vectorized can't compute it: 2 devices compute each"
    with pytest.raises(UsageError, match=said):
        choice(storage, "vectorized", (CPU, CPU)).of(*claimed)
    with pytest.raises(UsageError, match=said):
        refuse_unfit(claimed[0], claimed[0].spec, (CPU, CPU))
    refuse_unfit(claimed[0], claimed[0].spec, (CPU,))


def test_a_workload_is_judged_at_the_middle_of_its_search_space(storage: Storage) -> None:
    study = plan(storage, SPEC, clouds(), SearchOptions(trials=4, batch_sizes=(4,))).studies[0]
    with pytest.raises(UsageError, match="torch's own Dropout draws for all at once"):
        refuse_unfit(study, study.spec, (CPU,))


@pytest.mark.every_storage
def test_a_trials_engine_is_among_its_versions_and_a_mixture_is_seen(storage: Storage) -> None:
    plan(storage, PLAIN, plain(), SearchOptions(trials=2, batch_sizes=(4, 8)))
    engines: tuple[EngineName, ...] = ("sequential", "vectorized")
    for batch_size, asked in zip((4, 8), engines, strict=True):
        wanted, options = Filter((), (batch_size,)), WorkerOptions(engine=asked, code=CODE)
        settings = Settings(f"w{batch_size}", "cpu", wanted, options)
        Worker(storage, settings, Event()).run()
    frontier = load_frontier(storage, "plain/mlp/momentum")
    assert [point.versions["engine"] for point in frontier.points] == [
        ["sequential"],
        ["vectorized"],
    ]
    assert frontier.versions["engine"] == ["sequential", "vectorized"]


def test_a_worker_leaves_what_it_cannot_vectorize_to_others(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(storage, PLAIN, plain(), SearchOptions(trials=2, batch_sizes=(4,)))
    monkeypatch.setattr(engine_choice, "why_not", lambda *_: "it is odd")
    settings = Settings("one", "cpu", options=WorkerOptions(engine="vectorized", code=CODE))
    with pytest.raises(UsageError, match="can't compute it: it is odd; use auto or sequential"):
        Worker(storage, settings, Event()).run()
    with storage.read() as conn:
        states = set(map(tuple, conn.execute(select(slots.c.state, slots.c.attempts))))
    assert states == {("free", 0)}


@pytest.mark.every_storage
def test_the_engine_that_is_recorded_is_the_one_that_computed_the_trial(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Some of these trials have dropout of torch's, which can't be computed as one."""
    finding(monkeypatch, 9.0)
    study = plan(storage, SPEC, clouds(), SearchOptions(trials=8, batch_sizes=(4,))).studies[0]
    with caplog.at_level(logging.INFO):
        work(storage, engine="auto")
    with storage.read() as conn:
        rows = conn.execute(select(slots.c.params, slots.c.versions, slots.c.outcome)).all()
    found = {
        (json.loads(row.params)["dropout"] == 0, json.loads(row.versions)["engine"])
        for row in rows
        if row.outcome != "failed"
    }
    assert found == {(True, "vectorized"), (False, "sequential")}
    rdb = optuna.storages.RDBStorage(storage.engine.url.render_as_string(hide_password=False))
    trials = optuna.load_study(study_name=study.name, storage=rdb).trials
    rdb.engine.dispose()
    assert {t.user_attrs["engine"] for t in trials} == {"sequential", "vectorized"}
    why = "trials are computed one by one, as torch's own Dropout draws for all at once"
    assert caplog.messages.count(f"clouds/mlp/momentum: {why}") == 1


def test_why_a_workload_is_not_vectorized_is_said_once(
    storage: Storage,
    claimed: Claimed,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    finding_nothing(monkeypatch)
    chosen = choice(storage, devices=(CPU, CPU))
    with caplog.at_level(logging.INFO):
        assert [chosen.of(*claimed) for _ in range(2)] == ["sequential"] * 2
    why = "trials are computed one by one, as 2 devices compute each trial"
    assert caplog.messages == [f"plain/mlp/momentum: {why}"]


def test_what_has_been_proven_for_one_heat_is_not_proven_again(
    storage: Storage,
    claimed: Claimed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study, loaded, taken = claimed
    chosen = choice(storage)
    drawn = [loaded.run(study.batch_size, slot.params or {}, 1) for slot in taken]
    assert chosen.make("vectorized", loaded).advance(drawn, 3, Event()) == [True] * 4
    monkeypatch.setattr(vectorized, "why_not_alike", None)
    again = [loaded.run(study.batch_size, slot.params or {}, 1) for slot in taken]
    assert chosen.make("vectorized", loaded).advance(again, 3, Event()) == [True] * 4
