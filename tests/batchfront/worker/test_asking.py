"""Ask and tell: trials in anyone's scheduler are held and judged as a worker's are."""

import math
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

import batchfront
from batchfront.errors import CatalogError, IdentityError, NothingLeft, UsageError, WorkloadError
from batchfront.frontier.frontier import load_frontier
from batchfront.store.schema import measurements, workers
from batchfront.store.url import Storage, open_storage
from batchfront.study.study import Filter
from batchfront.training.run import Run
from batchfront.worker import asked_trial
from batchfront.worker.asked_trial import AskedTrial
from batchfront.worker.asking import Database
from batchfront.worker.heartbeat import Heartbeat
from batchfront.worker.race import Race
from batchfront.workload.evaluation_grid import EvaluationGrid, GridSteps
from batchfront.workload.goal import Goal
from batchfront.workload.metrics import ERROR_RATE
from tests.batchfront.worker.conftest import Prompt
from tests.counting import Counter, Counters
from tests.processes import Child, forkserver
from tests.searches import NAME, expire, planned, rows, started, work, worker
from tests.toy import STEP_BUDGET, clouds
from tests.waiting import LONG

GOAL = Goal(ERROR_RATE, 0.5)
GRID = GridSteps(EvaluationGrid(), STEP_BUDGET)


def counter(rate: float, breaks_at: int = STEP_BUDGET + 1) -> Counter:
    return Counter(GOAL, rate, breaks_at, GRID)


FIELD: list[Callable[[], Counter]] = [
    lambda: counter(0.006),
    lambda: counter(0.009),
    lambda: counter(0.0),
    lambda: counter(0.012, breaks_at=20),
    lambda: counter(0.009),
]
"""Two are first, at the same step; one learns nothing, and one breaks."""


def one_step(trial: AskedTrial, run: Counter) -> bool:
    """Train to the next evaluation, and tell it; whether to go on."""
    step = run.evaluation_steps.after(run.step)
    assert step is not None
    assert trial.evaluates(step)
    run.advance(step)
    return trial.report(step, run.metric, run.metric if run.is_finite() else math.nan)


def in_step(database: Database, field: list[Callable[[], Counter]]) -> None:
    """Ask for all of them, and train them one step after another, as a scheduler may."""
    trials = [database.trial(clouds()) for _ in field]
    live = [(trial, field[trial.number]()) for trial in trials]
    while live:
        nearest = min(run.step for _, run in live)
        going = [(t, run) for t, run in live if run.step > nearest or one_step(t, run)]
        # One that has drawn level with a winner is told once all have been heard.
        live = [(t, run) for t, run in going if t.may_go_on]


def kept(storage: Storage) -> tuple[list[Any], list[Any]]:
    """What is stored of each trial, but for what it has cost, and what it has shown."""
    columns = ("number", "state", "outcome", "reason", "steps", "steps_to_target", "steps_lower")
    found = [[getattr(row, name) for name in (*columns, "metric")] for row in rows(storage)]
    by = (measurements.c.slot_id, measurements.c.step, measurements.c.metric)
    query = select(measurements).where(measurements.c.split == "validation").order_by(*by)
    with storage.read() as conn:
        return found, [tuple(row) for row in conn.execute(query)]


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """No news is late on a busy machine."""
    monkeypatch.setattr(asked_trial, "Heartbeat", Prompt)


@pytest.mark.parametrize("finishers", [1, 3])
def test_trials_that_keep_in_step_end_as_in_the_race_of_a_worker(
    storage: Storage, tmp_path: Path, prompt: None, finishers: int
) -> None:
    planned(storage, trials=len(FIELD), batch_sizes=(4,), goal=0.5, finishers=finishers)
    storage.close()  # so that all is in the file
    copy = shutil.copy(storage.url.database or "", tmp_path / "asked.db")
    ledger = worker(storage)
    study, taken = started(ledger)
    made: dict[int, Callable[[], Run]] = {study.trial_seed(n): run for n, run in enumerate(FIELD)}
    factory = Counters(GOAL, made, clouds().stopping)
    with Heartbeat(ledger, study.id) as heartbeat:
        Race(ledger, study, factory, heartbeat=heartbeat, stop=threading.Event()).run(taken)

    with batchfront.open(f"sqlite:///{copy}") as opened:
        in_step(opened, FIELD)
    asked = open_storage(f"sqlite:///{copy}")
    assert kept(asked) == kept(storage)
    assert [row[2] for row in kept(asked)[0]].count("reached") == max(finishers, 2)
    points = [load_frontier(one, NAME).points for one in (storage, asked)]
    assert len({(p.steps, p.steps_lower, p.trial) for (p,) in points}) == 1
    asked.close()


def test_one_after_another_each_goes_no_further_than_the_best_before(
    storage: Storage, database: str
) -> None:
    planned(storage, trials=3, batch_sizes=(4,), goal=0.5)
    rates = [0.006, 0.005, 0.012]
    for trial in batchfront.open(database).trials(NAME):
        with trial:
            run = counter(rates[trial.number])
            while one_step(trial, run):
                pass
    ended = [(row.outcome, row.steps, row.steps_to_target) for row in rows(storage)]
    assert ended == [("reached", 84, 84), ("capped", 84, None), ("reached", 42, 42)]


def test_a_trial_has_what_its_study_and_slot_say(storage: Storage, database: str) -> None:
    (_, study) = planned(storage, batch_sizes=(2, 4))
    with batchfront.open(database).trial(NAME, batch_size=4) as trial:
        (row,) = [row for row in rows(storage) if row.state == "leased"]
        assert (row.study_id, row.number) == (study.id, trial.number)
        assert trial.metaparameters["learning_rate"] == trial["learning_rate"]
        assert (trial.batch_size, trial.step_budget) == (4, STEP_BUDGET)
        assert trial.long_seed == study.trial_seed(trial.number)
        assert str(trial) == trial.study + " trial 0" == f"{NAME}/b4 trial 0"
        assert [s for s in range(200) if trial.evaluates(s)] == list(GRID.steps)
        with pytest.raises(WorkloadError, match="no metaparameter 'lr'; the search space is"):
            trial["lr"]


def test_how_a_trial_ended_is_known_and_it_goes_no_further(storage: Storage, database: str) -> None:
    planned(storage, trials=1, batch_sizes=(4,))
    with batchfront.open(database).trial(NAME, 4) as trial:
        assert trial.report(10, 0.2)
        assert trial.may_go_on
        assert not trial.report(20, 0.05, 0.3)
        assert (trial.outcome, trial.reason) == ("reached", "error rate < 0.1 at step 20")
        assert not trial.may_go_on
        assert not trial.report(30, 0.01)
    (row,) = rows(storage)
    assert (row.outcome, row.steps_to_target, row.steps_lower) == ("reached", 20, 10)
    assert row.training_seconds > 0
    with storage.read() as conn:
        assert [*conn.execute(select(workers.c.state)).scalars()] == ["stopped"]


def test_an_evaluation_past_the_step_budget_counts_for_nothing(
    storage: Storage, database: str
) -> None:
    planned(storage, trials=1, batch_sizes=(4,))
    with batchfront.open(database).trial(NAME) as trial:
        assert trial.report(140, 0.2)
        assert not trial.report(160, 0.01)
    assert trial.outcome == "exhausted"
    (row,) = rows(storage)
    assert (row.outcome, row.steps, row.metric) == ("exhausted", 140, 0.2)


def test_a_loss_before_the_first_step_is_what_others_are_compared_with(
    storage: Storage, database: str
) -> None:
    planned(storage, trials=1, batch_sizes=(4,))
    with batchfront.open(database).trial(NAME) as trial:
        assert trial.report(0, 0.9, 1.0)
        assert trial.report(50, 0.8, 3.0)
        assert not trial.report(120, 0.7, 2e4)
    assert (trial.outcome, trial.reason) == (
        "diverged",
        "training loss 2e+04 at step 120, untrained 1",
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_has_diverged(
    storage: Storage, database: str, value: float
) -> None:
    planned(storage, trials=1, batch_sizes=(4,))
    with batchfront.open(database).trial(NAME) as trial:
        assert trial.report(100, 0.2)
        assert not trial.report(101, value)
    assert trial.outcome == "diverged"


# Blocks that end before their trial


def test_an_exception_fails_the_trial_which_is_tried_thrice(
    storage: Storage, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    planned(storage, trials=1, batch_sizes=(4,))
    opened = batchfront.open(database)

    def block(trial: AskedTrial, attempt: int) -> None:
        with trial:
            trial.report(5, 0.3)
            raise ArithmeticError(f"overflow {attempt}")

    for attempt in (1, 2, 3):
        trial = opened.trial(NAME)
        with pytest.raises(ArithmeticError):
            block(trial, attempt)
    assert trial.outcome == "failed"
    (row,) = rows(storage)
    assert (row.state, row.outcome, row.steps) == ("done", "failed", 5)
    assert row.reason.startswith("ArithmeticError: overflow 3\nTraceback")
    assert "raise ArithmeticError" in row.reason
    assert [record.message for record in caplog.records] == [
        f"{NAME}/b4 trial 0 failed (attempt {n} of 3): ArithmeticError: overflow {n}"
        for n in (1, 2, 3)
    ]
    with pytest.raises(NothingLeft, match="every trial that is planned has ended") as left:
        opened.trial(NAME)
    assert left.value.finished


@pytest.mark.parametrize("raised", [None, KeyboardInterrupt, SystemExit])
def test_a_block_that_is_left_early_gives_its_trial_back_and_says_so(
    storage: Storage,
    database: str,
    caplog: pytest.LogCaptureFixture,
    raised: type[BaseException] | None,
) -> None:
    planned(storage, trials=2, batch_sizes=(4,))
    begun = []
    why = f"of {raised.__name__}" if raised else "its block ended before it did"

    def loop() -> None:
        for trial in batchfront.open(database).trials(NAME):
            with trial:
                begun.append(trial)
                trial.report(7, 0.3)
                if raised is not None:
                    raise raised

    if raised is None:
        loop()
    else:
        with pytest.raises(raised):
            loop()
    (trial,) = begun  # and no loop that goes on for ever
    assert trial.outcome is None
    assert [record.message for record in caplog.records] == [
        f"{NAME}/b4 trial 0: given back after step 7 of {STEP_BUDGET}, because {why}"
    ]
    assert [(row.state, row.attempts) for row in rows(storage)] == [("free", 0)] * 2


def test_a_trial_that_others_have_by_now_writes_nothing_and_says_so(
    storage: Storage, database: str, caplog: pytest.LogCaptureFixture, prompt: None
) -> None:
    planned(storage, trials=1, batch_sizes=(4,))
    with batchfront.open(database).trial(NAME) as trial:
        assert trial.report(5, 0.3)
        expire(storage)
        with batchfront.open(database).trial(NAME) as other:
            assert not trial.report(6, 0.01)
            assert [record.message for record in caplog.records] == [
                f"{NAME}/b4: given up here, as another worker has it, it was deleted or its start "
                "lost: trial 0"
            ]
            assert (trial.outcome, trial.over) == (None, True)
            assert rows(storage)[0].state == "leased"
            assert not other.report(9, 0.05)
    (row,) = rows(storage)
    assert (row.outcome, row.steps_to_target) == ("reached", 9)


def test_what_was_lost_unnoticed_is_refused_when_it_is_written(
    storage: Storage, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    planned(storage, trials=1, batch_sizes=(4,))
    with batchfront.open(database).trial(NAME) as trial:
        expire(storage)
        ledger = worker(storage, "another")
        _, (slot,) = started(ledger)
        assert not trial.report(6, 0.01)
    assert trial.outcome is None
    assert "as another worker has it, it was deleted or its start lost: trial 0" in caplog.text
    assert "given back" not in caplog.text
    (row,) = rows(storage)
    assert (row.state, row.worker_id, row.fence) == ("leased", "another", slot.fence)


def test_a_machine_that_slept_asks_before_it_goes_on(
    storage: Storage, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Heartbeat, "_beat", lambda self: None)  # it sleeps, too
    planned(storage, trials=1, batch_sizes=(4,))
    with batchfront.open(database).trial(NAME) as trial:
        expire(storage)
        started(worker(storage, "another"))
        assert trial.report(6, 0.3)  # nobody has said anything
        trial._heartbeat._asked_at -= 3600
        assert not trial.report(7, 0.3)


def hold_and_wait(database: str, held: Any) -> None:
    """Ask for a trial, and never come back to it."""
    with batchfront.open(database).trial(NAME) as trial:
        trial.report(3, 0.3)
        held.set()
        threading.Event().wait()


@pytest.mark.every_storage
def test_a_killed_process_leaves_its_trial_to_others_once_its_lease_is_over(
    storage: Storage, database: str
) -> None:
    planned(storage, trials=1, batch_sizes=(4,))
    context = forkserver("tests.conftest", "batchfront.worker.asking")
    held = context.Event()
    process = Child(hold_and_wait, (database, held))
    process.start()
    assert held.wait(LONG)
    process.kill()
    process.join()
    opened = batchfront.open(database)
    with pytest.raises(NothingLeft, match="no trial is free now") as left:
        opened.trial(NAME)
    assert not left.value.finished
    expire(storage)
    for trial in opened.trials(NAME):
        with trial:
            trial.report(4, 0.01)
    (row,) = rows(storage)
    assert (row.outcome, row.deaths, row.steps) == ("reached", 1, 4)


def test_a_fork_asks_for_its_own_and_leaves_its_parents_alone(
    storage: Storage, database: str, prompt: None
) -> None:
    planned(storage, trials=2, batch_sizes=(4,))
    opened = batchfront.open(database)
    with opened.trial(NAME) as parents:
        child = os.fork()
        if child == 0:
            with suppress(BaseException), parents:
                with suppress(UsageError):
                    parents.report(1, 0.01)
                with opened.trial(NAME) as own:
                    own.report(2, 0.01)
            os._exit(0)
        os.waitpid(child, 0)
        assert not parents.report(3, 0.3)
    ended = [(row.outcome, row.steps) for row in rows(storage)]
    assert ended == [("capped", 3), ("reached", 2)]


# What is refused


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ((5, 0.2), "reported step 5 after one at step 5; steps have to rise"),
        ((3, 0.2), "reported step 3 after one at step 5; steps have to rise"),
        ((6.5, 0.2), "step is 6.5"),
        ((6, "0.2"), "value is '0.2'"),
        ((6, 0.2, "low"), "loss is 'low'"),
        ((6, 45.0), "value 45 at step 6; error rate lies between 0 and 1"),
        ((0, 0.2), "reported step 0 after one at step 5; steps have to rise"),
        ((6, 0.2, 0.1, 23), "23 examples in 6 steps; the batch size is 4, so there should be 24"),
    ],
)
def test_a_report_that_makes_no_sense_is_refused_in_a_line(
    storage: Storage, database: str, told: Any, why: str
) -> None:
    planned(storage, trials=1, batch_sizes=(4,))
    with batchfront.open(database).trial(clouds()) as trial:
        assert trial.report(5, 0.3, examples=20)
        with pytest.raises(WorkloadError) as refused:
            trial.report(*told)
        assert why in str(refused.value)
        assert "\n" not in str(refused.value)
        assert trial.report(6, 0.3)


def test_what_is_not_planned_can_not_be_asked_for(storage: Storage, database: str) -> None:
    planned(storage, batch_sizes=(2, 4))
    opened = batchfront.open(database)
    with pytest.raises(UsageError, match=f"no studies of 'clouds'.*there are: {NAME}"):
        opened.trial("clouds")
    with pytest.raises(UsageError, match="not planned at batch size 3, but at 2, 4"):
        opened.trial(NAME, 3)
    with pytest.raises(IdentityError, match="step_budget was 150, is 99"):
        opened.trial(replace(clouds(), step_budget=99))
    with pytest.raises(UsageError, match="plan has no option 'trails'; did you mean trials"):
        opened.plan(clouds(), trails=3)
    assert {row.state for row in rows(storage)} == {"free"}


def test_no_database_is_made_by_asking(empty_database: str) -> None:
    with pytest.raises(batchfront.BatchfrontError, match="no database"):
        batchfront.open(empty_database).trial(NAME)
    with pytest.raises(UsageError, match="is not a URL"):
        batchfront.open("trials.db")


def test_the_next_trial_is_not_claimed_while_one_is_open(storage: Storage, database: str) -> None:
    planned(storage, batch_sizes=(4,))
    trials = batchfront.open(database).trials(NAME)
    with next(trials), pytest.raises(UsageError, match="trial 0 is still open"):
        next(trials)


# Planned from Python

MINE = batchfront.Loop(
    name="mine/mlp/sgd",
    goal=Goal("error", 0.1, better="lower"),
    search_space={"learning_rate": batchfront.Log(1e-3, 1.0)},
    step_budget=500,
    batch_sizes=(8, 32),
)


def test_a_search_whose_loop_is_elsewhere_is_planned_and_asked_for(empty_database: str) -> None:
    with batchfront.open(empty_database) as opened:
        assert opened.plan(MINE, trials=2, batch_sizes=[8]) == MINE.name
        opened.plan(MINE, trials=3, batch_sizes=[8, 32])
        for trial in opened.trials(MINE):
            with trial:
                for step, batch in trial.batches(1000):
                    assert len(batch) == trial.batch_size
                    error = 1 - trial["learning_rate"] * step / 100
                    if trial.evaluates(step) and not trial.report(step, error):
                        break
    points = load_frontier(open_storage(empty_database), MINE.name).points
    assert [(p.batch_size, sum(p.outcomes.values())) for p in points] == [(8, 3), (32, 3)]
    assert all("open" not in p.outcomes and p.best is not None for p in points)


def test_workers_leave_it_to_those_who_ask(empty_database: str) -> None:
    opened = batchfront.open(empty_database)
    opened.plan(f"{Path(__file__).resolve()}:MINE", trials=1)
    storage = open_storage(empty_database)
    with pytest.raises(CatalogError, match="mine/mlp/sgd has no function to train it"):
        work(storage)
    opened.plan(replace(MINE, name="your/mlp/sgd"), trials=1)
    with pytest.raises(CatalogError, match="your/mlp/sgd was planned from Python"):
        work(storage, wanted=Filter(("your/mlp/sgd",)))
    assert {row.state for row in rows(storage)} == {"free"}
    storage.close()


# Several at once


def count_up(database: str, name: str, *_: Any) -> list[int]:
    """Train whatever is left; the numbers of what ended here."""
    opened, numbers = batchfront.open(database), []
    for trial in opened.trials(name):
        with trial:
            run = counter(0.001 * (trial.number % 7 + 4))
            while one_step(trial, run):
                pass
        numbers.append(trial.number)
    opened.close()
    return numbers


@pytest.mark.every_storage
def test_threads_ask_for_trials_of_their_own(storage: Storage, database: str) -> None:
    planned(storage, trials=12, batch_sizes=(4,), goal=0.5)
    opened = batchfront.open(database)
    ended: list[int] = []
    both = threading.Barrier(2)

    def loop() -> None:
        for nth, trial in enumerate(opened.trials(NAME)):
            with trial:
                if nth == 0:
                    both.wait(LONG)  # each holds one
                run = counter(0.01)
                while one_step(trial, run):
                    pass
            ended.append(trial.number)

    threads = [threading.Thread(target=loop) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert sorted(ended) == list(range(12))
    assert {row.state for row in rows(storage)} == {"done"}
    with storage.read() as conn:  # which are the same for all that each has held
        assert len(conn.execute(select(workers.c.id)).all()) == 2


@pytest.mark.every_storage
def test_trials_that_wait_for_those_of_another_batch_size_say_so(
    storage: Storage, database: str
) -> None:
    planned(storage, trials=2, batch_sizes=(4, 16), sampler="joint", together=1)
    with batchfront.open(database) as opened:
        for batch_size in (16, 4, 16, 4):
            with opened.trial(NAME, batch_size) as trial:
                assert not trial.report(1, math.nan)
            if batch_size == 16 and trial.number == 0:
                with pytest.raises(
                    NothingLeft, match="wait for trials of batch size 4, as"
                ) as left:
                    opened.trial(NAME, 16)
                assert not left.value.finished
        with pytest.raises(NothingLeft, match="every trial") as left:
            opened.trial(NAME, 16)
        assert left.value.finished


def test_processes_end_every_trial_once(
    storage: Storage, database: str, eight_processes: Callable[..., list[Any]]
) -> None:
    planned(storage, trials=40, batch_sizes=(4,), goal=0.5)
    numbers = [n for found in eight_processes(count_up, database, NAME) for n in found]
    assert sorted(numbers) == list(range(40))
    found = rows(storage)
    assert {row.state for row in found} == {"done"}
    assert {row.outcome for row in found} <= {"reached", "capped"}
    fastest = min(row.steps_to_target for row in found if row.outcome == "reached")
    assert fastest == 51  # by 0.01 a step, whoever got there first
