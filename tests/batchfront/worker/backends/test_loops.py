"""Loops in a race, worked on by real workers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import select

from batchfront.errors import IdentityError
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import studies
from batchfront.store.url import Storage
from batchfront.study.study import Study
from batchfront.training.loops.run import LoopRun
from batchfront.worker.backends import loops as backend
from batchfront.worker.options import WorkerOptions
from batchfront.worker.pace import Pace
from batchfront.worker.worker import Settings, Worker
from batchfront.workload.loop import Loop
from tests import calling, loops
from tests.searches import CODE, KEPT_AT_ONCE, rows


def planned(storage: Storage, make: Callable[[], Loop], **asked: Any) -> tuple[Study, ...]:
    options = SearchOptions(**{"trials": 5, "batch_sizes": (4,), **asked})
    return plan(storage, f"{loops.SPEC}{make.__name__}", make(), options).studies


def work(
    storage: Storage, folder: Path, stop: Event | None = None, pace: Pace | None = None
) -> None:
    told = WorkerOptions(
        checkpoint_dir=str(folder / "kept"),
        trial_dir=str(folder / "trials"),
        code=(*CODE, str(folder)),
    )
    Worker(storage, Settings("one", "cpu", options=told), stop or Event(), pace=pace).run()


def crossing(loop: Loop, study: Study, number: int, values: Mapping[str, Any]) -> int | None:
    """The step at which a trial that runs by itself, to its end, passes the goal."""
    run = LoopRun(loop, study.batch_size, values, study.trial_seed(number))
    run.advance(run.evaluation_steps.steps[-1])
    run.close()
    return next((one.step for one in run.shown if loop.goal.passed(one.value)), None)


@pytest.mark.parametrize("make", [loops.kept, loops.replayed, loops.line])
@pytest.mark.parametrize("room", [None, 2])
def test_the_winner_is_that_of_every_loop_run_to_its_end(
    storage: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[], Loop],
    room: int | None,
) -> None:
    if room is not None:
        monkeypatch.setattr(backend, "measured_room", lambda *_: room)
    (study,) = planned(storage, make)
    work(storage, tmp_path)
    ended = rows(storage)
    alone = [crossing(make(), study, row.number, row_values(row)) for row in ended]
    reached = [step for step in alone if step is not None]
    assert reached
    best = min(reached)
    assert min(row.steps_to_target for row in ended if row.steps_to_target) == best
    for row, step in zip(ended, alone, strict=True):
        assert (row.outcome == "reached") == (row.steps_to_target == step is not None)
        assert row.outcome == "reached" or step is None or step > best
    assert not any(tmp_path.rglob("*.pt"))


def row_values(row: Any) -> Mapping[str, Any]:
    import json

    found: Mapping[str, Any] = json.loads(row.params)
    return found


@pytest.mark.parametrize("make", [loops.kept, loops.replayed, loops.line])
def test_trials_that_are_interrupted_end_as_if_they_had_not_been(
    storage: Storage, tmp_path: Path, make: Callable[[], Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    (study,) = planned(storage, make)
    stop, begun = Event(), []
    advance = LoopRun.advance

    def stopping(self: LoopRun, to_step: int, stopped: Event | None = None) -> bool:
        if to_step > 8 and self.step == 8:
            stop.set()
        begun.append(to_step)
        return advance(self, to_step, stopped)

    monkeypatch.setattr(LoopRun, "advance", stopping)
    work(storage, tmp_path, stop)
    monkeypatch.undo()
    assert {row.state for row in rows(storage)} <= {"free", "done"}
    assert {row.steps for row in rows(storage) if row.state == "free"} == {8}
    work(storage, tmp_path)
    for row in rows(storage):
        alone = crossing(make(), study, row.number, row_values(row))
        assert row.state == "done"
        assert row.steps_to_target in (None, alone)
        assert (row.outcome == "reached") == (row.steps_to_target is not None)


@pytest.mark.every_storage
def test_trials_are_kept_while_they_go_on(storage: Storage, tmp_path: Path) -> None:
    planned(storage, loops.kept)
    work(storage, tmp_path, pace=KEPT_AT_ONCE)
    assert {row.state for row in rows(storage)} == {"done"}


def test_no_more_are_begun_than_there_is_room_for(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage, loops.line)
    live: list[int] = []
    begin = LoopRun._begin

    def counted(self: LoopRun) -> None:
        begin(self)
        live.append(sum(not run.closed for run in made))

    made: list[LoopRun] = []
    init = LoopRun.__init__

    def noted(self: LoopRun, *given: Any, **more: Any) -> None:
        init(self, *given, **more)
        made.append(self)

    monkeypatch.setattr(LoopRun, "__init__", noted)
    monkeypatch.setattr(LoopRun, "_begin", counted)
    monkeypatch.setattr(backend, "measured_room", lambda *_: 2)
    work(storage, tmp_path)
    assert max(live) == 2
    assert len(live) >= 5


def test_where_memory_runs_out_fewer_are_taken_and_all_come_to_an_end(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage, loops.line)
    made: list[LoopRun] = []
    init, begin = LoopRun.__init__, LoopRun._begin

    def noted(self: LoopRun, *given: Any, **more: Any) -> None:
        init(self, *given, **more)
        made.append(self)

    def limited(self: LoopRun) -> None:
        if sum(run._generator is not None for run in made) >= 2:
            raise MemoryError("full")
        begin(self)

    monkeypatch.setattr(LoopRun, "__init__", noted)
    monkeypatch.setattr(LoopRun, "_begin", limited)
    monkeypatch.setattr(backend, "measured_room", lambda *_: 5)
    work(storage, tmp_path)
    assert {row.state for row in rows(storage)} == {"done"}
    assert "failed" not in {row.outcome for row in rows(storage)}


def test_a_loop_that_says_how_many_is_not_measured(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise AssertionError("measured")

    monkeypatch.setattr(backend, "measured_room", refused)
    path = tmp_path / "own.py"
    path.write_text(
        "from dataclasses import replace\nfrom tests import loops\n"
        "loop = replace(loops.line(), at_once=2)\n"
    )
    loop = loops.line()
    plan(storage, f"{path}:loop", loop, SearchOptions(trials=3, batch_sizes=(4,)))
    with storage.write() as conn:
        found = conn.execute(select(studies.c.identity)).scalar_one()
        conn.execute(
            studies.update().values(identity=found.replace('"at_once": null', '"at_once": 2'))
        )
    work(storage, tmp_path)
    assert {row.state for row in rows(storage)} == {"done"}


def test_a_function_that_calls_back_comes_to_the_steps_of_the_generator(
    storage: Storage, tmp_path: Path
) -> None:
    spec = f"{calling.SPEC}calling"
    options = SearchOptions(trials=3, batch_sizes=(4,))
    (study,) = plan(storage, spec, calling.calling, options).studies
    work(storage, tmp_path)
    generator = calling.loop(calling.training)
    alone = [crossing(generator, study, row.number, row_values(row)) for row in rows(storage)]
    best = min(step for step in alone if step is not None)
    found = [row.steps_to_target for row in rows(storage)]
    assert found == [step if step == best else None for step in alone]


LOOP = """
from batchfront import Goal, Log, Loop

def train(trial):
    for step, batch in trial.batches(100):
        if trial.evaluates(step):
            yield trial.measured(step, 1 - trial["learning_rate"] * step, loss={loss})

loop = Loop(
    name="a/loop/sgd",
    train=train,
    goal=Goal("error", 0.1, better="lower"),
    search_space={{"learning_rate": Log(0.001, 0.1)}},
    step_budget=300,
    batch_sizes=(4,),
)
"""


def test_code_that_has_changed_is_refused(storage: Storage, tmp_path: Path) -> None:
    from batchfront.workload import catalog

    path = tmp_path / "own.py"
    path.write_text(LOOP.format(loss=1))
    spec = f"{path}:loop"
    plan(storage, spec, catalog.load(spec), SearchOptions(trials=2))
    path.write_text(LOOP.format(loss=2))
    with pytest.raises(IdentityError, match="the code of a/loop/sgd is not what it was planned w"):
        work(storage, tmp_path)


def test_a_trial_that_raises_fails_with_the_line_and_others_go_on(
    storage: Storage, tmp_path: Path
) -> None:
    from batchfront.workload import catalog

    path = tmp_path / "own.py"
    path.write_text(LOOP.format(loss="1 / (step < 5 or trial.seed % 2)"))
    spec = f"{path}:loop"
    plan(storage, spec, catalog.load(spec), SearchOptions(trials=6))
    work(storage, tmp_path)
    ended = rows(storage)
    failed = [row for row in ended if row.outcome == "failed"]
    assert failed
    assert {row.state for row in ended} == {"done"}
    for row in failed:
        said = row.reason.splitlines()[0]
        assert said == (
            "WorkloadError: a/loop/sgd: train() fails after step 4: own.py, line 7: "
            "ZeroDivisionError: division by zero"
        )


def test_a_trials_folder_is_its_own_and_stays(storage: Storage, tmp_path: Path) -> None:
    from batchfront.workload import catalog

    path = tmp_path / "own.py"
    text = LOOP.format(loss=1).replace(
        "    for step, batch",
        '    (trial.directory / "seed.txt").write_text(str(trial.seed))\n    for step, batch',
        1,
    )
    path.write_text(text)
    spec = f"{path}:loop"
    (study,) = plan(storage, spec, catalog.load(spec), SearchOptions(trials=3)).studies
    work(storage, tmp_path)
    written = {int(file.read_text()) for file in (tmp_path / "trials").rglob("seed.txt")}
    assert written == {study.trial_seed(number) % 2**31 for number in range(3)}
