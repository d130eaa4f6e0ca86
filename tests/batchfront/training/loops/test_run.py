"""A loop's trial is its own: alone, beside others, and after an interruption."""

import gc
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch

from batchfront.errors import CheckpointError, WorkloadError
from batchfront.training.checkpoint_format import dump, load
from batchfront.training.checkpoint_writer import copied
from batchfront.training.loops.resumption import Resumption
from batchfront.training.loops.run import LoopRun, Shown
from batchfront.training.loops.watch import Watch
from batchfront.workload.evaluation_grid import EvaluationGrid
from batchfront.workload.goal import Goal, ReportedMetric
from batchfront.workload.loop import Loop, Measured, Trial
from batchfront.workload.search_space import Metaparameters
from tests import loops

SLOW: Metaparameters = {"learning_rate": 0.01, "momentum": 0.5}
FAST: Metaparameters = {"learning_rate": 0.2, "momentum": 0.9}

MAKERS = [loops.kept, loops.replayed, loops.line]


def run(loop: Loop, values: Metaparameters = FAST, seed: int = 1, **given: Any) -> LoopRun:
    """A fresh run at batch size 4."""
    return LoopRun(loop, 4, values, seed, **given)


def shown(loop: Loop, to_step: int = 60, values: Metaparameters = FAST) -> list[Shown]:
    """What a trial shows that runs by itself."""
    alone = run(loop, values)
    alone.advance(to_step)
    alone.close()
    return alone.shown


def through_a_file(state: Any) -> Any:
    """A state as a checkpoint keeps it."""
    file = BytesIO()
    dump(copied(state), file)
    file.seek(0)
    return load(file)


@pytest.mark.parametrize("make", MAKERS)
def test_a_trial_gives_the_same_steps_beside_others(make: Callable[[], Loop]) -> None:
    alone, other = shown(make()), shown(make(), values=SLOW)
    pair = run(make()), run(make(), SLOW, seed=1)
    for step in range(1, 61):
        torch.rand(3)  # as others do in between
        np.random.rand(2)
        for one in pair:
            one.advance(step)
    assert [one.shown for one in pair] == [alone, other]
    assert alone != other


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("stop_at", [1, 37])
def test_an_interrupted_trial_goes_on_to_the_bit(make: Callable[[], Loop], stop_at: int) -> None:
    how = Resumption.REPLAYED if make is loops.replayed else Resumption.KEPT
    first = run(make(), resumption=how)
    first.advance(stop_at)
    first.evaluate(full=True)
    state = through_a_file(first.state())
    first.advance(stop_at + 5)  # what was kept isn't changed by that
    again = run(make(), resumption=how)
    again.restore(state)
    assert again.step == stop_at
    assert again.evaluations == first.evaluations
    np.random.seed(5)
    again.advance(60)
    assert again.shown == shown(make())
    assert again.cost.training_seconds > state["spent"]["training_seconds"]


def test_what_is_kept_is_not_trained_again() -> None:
    begun: list[int] = []

    def train(trial: Trial) -> Iterator[Measured]:
        begun.append(trial.step)
        yield from loops.train_kept(trial)

    loop = replace(loops.kept(), train=train)
    first = run(loop, resumption=Resumption.KEPT)
    first.advance(20)
    again = run(loop, resumption=Resumption.KEPT)
    again.restore(through_a_file(first.state()))
    again.advance(21)
    assert begun == [0, 20]


def test_a_restored_trial_that_has_not_begun_is_kept_as_it_was() -> None:
    first = run(loops.kept(), resumption=Resumption.KEPT)
    first.advance(20)
    state = through_a_file(first.state())
    again = run(loops.kept(), resumption=Resumption.KEPT)
    again.restore(state)
    assert again.state() is state


def test_a_trial_that_starts_again_has_no_state() -> None:
    made = run(loops.replayed(), resumption=Resumption.ANEW)
    made.advance(3)
    assert made.state() is None


def test_a_checkpoint_of_another_way_to_go_on_is_passed_over() -> None:
    first = run(loops.kept(), resumption=Resumption.REPLAYED)
    first.advance(3)
    state = first.state()
    assert state is not None
    with pytest.raises(CheckpointError):
        run(loops.kept(), resumption=Resumption.KEPT).restore(state)


def test_a_replay_that_shows_something_else_fails_with_both_numbers() -> None:
    offset = 0.0

    def train(trial: Trial) -> Iterator[Measured]:
        for step in range(1, trial.step_budget + 1):
            yield trial.measured(step, 1 / step + offset * (step > 3))

    first = run(loops.loop(train))
    first.advance(6)
    state = first.state()
    assert state is not None
    offset = 0.25
    again = run(loops.loop(train))
    again.restore(state)
    with pytest.raises(WorkloadError) as raised:
        again.advance(7)
    assert str(raised.value) == (
        "clouds/loop/momentum: your loop isn't reproducible: step 4, error 0.25 and 0.5, when it "
        "was run again after an interruption"
    )


def test_a_full_evaluation_has_the_mean_of_the_losses_since_the_last() -> None:
    def train(trial: Trial) -> Iterator[Measured]:
        for step in range(1, 4):
            yield trial.measured(step, 0.5, loss=float(step))

    made = run(loops.loop(train))
    made.advance(1)
    made.evaluate(full=True)
    made.advance(2)
    made.evaluate(full=False)
    made.advance(3)
    assert not made.evaluate(full=True).passed
    assert [tuple(one) for one in made.evaluations] == [(1, 1.0, 0.5, {}), (3, 2.5, 0.5, {})]


def test_a_loss_that_is_not_told_is_none_and_one_that_is_no_number_shows() -> None:
    def train(trial: Trial) -> Iterator[Measured]:
        yield trial.measured(1, 0.5)
        yield trial.measured(2, 0.5, loss=math.inf)

    made = run(loops.loop(train))
    made.advance(1)
    made.evaluate(full=True)
    assert made.evaluations[0].loss is None
    assert made.is_finite()
    made.advance(2)
    assert not made.is_finite()


def test_it_goes_on_to_the_next_step_that_is_evaluated() -> None:
    made = run(replace(loops.line(), grid=EvaluationGrid(first=10, spacing=0.5)))
    assert made.advance(3)
    assert made.step == 10


def test_a_bare_yield_is_where_it_stops_and_nothing_else() -> None:
    stop, seen = Event(), []

    def train(trial: Trial) -> Iterator[Measured | None]:
        for step in range(1, 1000):
            seen.append(step)
            yield trial.measured(step, 0.5) if trial.evaluates(step) else None
            if step == 25:
                stop.set()

    made = run(loops.loop(train, grid=EvaluationGrid(first=20, spacing=1.0)))
    assert made.advance(20, stop)
    assert not made.advance(40, stop)
    assert (made.step, seen[-1]) == (20, 26)


def test_what_it_keeps_between_two_evaluations_is_of_neither() -> None:
    stop, line = Event(), loops.Line()

    def train(trial: Trial) -> Iterator[Measured | None]:
        trial.keep(line)
        for step in range(1, 10):
            line.updates = step
            yield trial.measured(step, 0.5) if trial.evaluates(step) else None
            if step == 4:
                stop.set()

    grid = EvaluationGrid(first=3, spacing=2.0)
    made = run(loops.loop(train, grid=grid), resumption=Resumption.KEPT)
    assert made.advance(3, stop)
    state = made.state()
    assert state is not None
    assert (state["step"], state["parts"][0]["updates"]) == (3, 3)
    assert not made.advance(9, stop)
    assert (made.step, line.updates) == (3, 5)
    assert made.state() is None


def once(value: Any) -> Callable[[Trial], Iterator[Any]]:
    def train(_: Trial) -> Iterator[Any]:
        yield value

    return train


def raising(error: BaseException) -> Callable[[Trial], Iterator[Any]]:
    def train(trial: Trial) -> Iterator[Any]:
        yield trial.measured(1, 0.5)
        raise error

    return train


def ends_an_iterator(trial: Trial) -> Iterator[Any]:
    batches = iter([1])
    for step in range(1, 4):
        next(batches)
        yield trial.measured(step, 0.5)


def asks_for_more(trial: Trial) -> Iterator[Any]:
    yield trial.measured(1, float(trial["dropout"]))


def says(step: Any, value: Any = 0.5, **more: Any) -> Callable[[Trial], Iterator[Any]]:
    def train(trial: Trial) -> Iterator[Any]:
        yield trial.measured(step, value, **more)

    return train


def goes_backwards(trial: Trial) -> Iterator[Any]:
    for step in (1, 2, 1):
        yield trial.measured(step, 0.5)


def skips(trial: Trial) -> Iterator[Any]:
    for step in (1, 3):
        yield trial.measured(step, 0.5)


def in_inference_mode(trial: Trial) -> Iterator[Any]:
    with torch.inference_mode():
        yield trial.measured(1, 0.5)


def in_autocast(trial: Trial) -> Iterator[Any]:
    with torch.autocast("cpu"):
        yield trial.measured(1, 0.5)


def on_a_device(trial: Trial) -> Iterator[Any]:
    with torch.device("meta"):
        yield trial.measured(1, 0.5)


def keeps_a_list(trial: Trial) -> Iterator[Any]:
    trial.keep([])  # type: ignore[arg-type]
    yield


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (once(0.5), "before its first evaluation: train() yields a float; write yield trial.mea"),
        (once((1, 0.5)), "train() yields a tuple; write yield trial.measured(step, value)"),
        (says(1, "0.5"), "before its first evaluation: value is '0.5' (str), not a number"),
        (says(1, torch.ones(2)), "value is a Tensor, not a number"),
        (says(1, None), "value is None, not a number"),
        (says(1, 0.5, loss="low"), "loss is 'low' (str), not a number"),
        (says(1.5), "step is 1.5 (float), not a whole number"),
        (says(2), "yields step 2, where step 1 is the next that is evaluated; yield wherever tri"),
        (says(0), "yields step 0, where step 1 is the next that is evaluated"),
        (goes_backwards, "yields step 1 after step 2; steps only go up"),
        (skips, "yields step 3, where step 2 is the next that is evaluated"),
        (says(1, 0.5, examples=32), "has taken 32 examples by step 1, where 1 batches of trial.ba"),
        (says(1, 1.5), "error is 1.5 at step 1; it lies between 0 and 1"),
        (once(None), "before its first evaluation; it is to go on to the step budget, 150 steps"),
        (raising(ValueError("no\nmore")), "fails after step 1: test_run.py, line "),
        (raising(SystemExit(3)), "fails after step 1: test_run.py, line "),
        (ends_an_iterator, "next() finds nothing more; begin the iterator again for each epoch"),
        (asks_for_more, "no metaparameter 'dropout'; the search space is learning_rate, momentum"),
        (in_inference_mode, "it yields inside of torch.inference_mode; evaluate inside of it, and"),
        (in_autocast, "it yields inside of torch.autocast; evaluate inside of it, and yield afte"),
        (on_a_device, "it yields inside of `with torch.device(...)` or another mode of torch's"),
        (keeps_a_list, "trial.keep: a list has no state_dict()"),
    ],
)
def test_what_a_loop_does_wrong_is_one_line_with_its_name(
    train: Callable[[Trial], Iterator[Any]], said: str
) -> None:
    goal = Goal(ReportedMetric("error", "lower", 0, 1), 0.1)
    made = run(loops.loop(train, goal=goal))
    with pytest.raises(WorkloadError) as raised:
        made.advance(10)
    text = str(raised.value)
    assert said in text
    assert text.startswith("clouds/loop/momentum: ")
    assert "\n" not in text
    assert not torch.is_inference_mode_enabled()
    assert not torch.is_autocast_enabled("cpu")


def test_an_infinite_value_is_no_error_but_one_that_has_diverged() -> None:
    def train(trial: Trial) -> Iterator[Measured]:
        yield trial.measured(1, math.inf)

    made = run(loops.loop(train, goal=Goal(ReportedMetric("error", "lower", 0, 1), 0.1)))
    assert made.advance(1)
    assert made.shown[-1].value == math.inf


def test_a_loop_that_is_resumed_and_starts_over_is_told_where_to_go_on() -> None:
    def train(trial: Trial) -> Iterator[Measured]:
        trial.keep(loops.Line())
        for step in range(1, 100):
            yield trial.measured(step, 0.5)

    first = run(loops.loop(train), resumption=Resumption.KEPT)
    first.advance(5)
    again = run(loops.loop(train), resumption=Resumption.KEPT)
    again.restore(through_a_file(first.state()))
    with pytest.raises(WorkloadError, match=r"goes on after step 5; begin at trial\.step \+ 1"):
        again.advance(6)


def test_out_of_memory_stays_what_it_is() -> None:
    made = run(loops.loop(raising(MemoryError())))
    with pytest.raises(MemoryError):
        made.advance(2)
    assert made.ran_out
    assert made.closed


def test_batches_that_end_an_epoch_may_be_smaller_where_its_examples_are_known() -> None:
    def train(trial: Trial) -> Iterator[Measured]:
        for step, examples in enumerate((4, 8, 10, 14), 1):
            yield trial.measured(step, 0.5, examples=examples)

    assert run(loops.loop(train, train_examples=10)).advance(4)
    with pytest.raises(WorkloadError, match=r"has taken 10 examples by step 3.*say train_examples"):
        run(loops.loop(train)).advance(4)


def test_a_closed_loop_has_let_go_of_what_it_held() -> None:
    held: list[weakref.ref[Any]] = []
    ended: list[str] = []

    def train(trial: Trial) -> Iterator[Measured]:
        net = loops.model()
        trial.keep(net)
        held.append(weakref.ref(net))
        try:
            yield trial.measured(1, 0.5)
        finally:
            ended.append("closed")

    made = run(loops.loop(train))
    made.advance(1)
    made.close()
    made.close()
    gc.collect()
    assert ended == ["closed"]
    assert held[0]() is None


def test_a_loop_that_raises_when_it_is_closed_is_told_and_forgotten(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def train(trial: Trial) -> Iterator[Measured]:
        try:
            yield trial.measured(1, 0.5)
        finally:
            raise ValueError("too late")

    made = run(loops.loop(train))
    made.advance(1)
    made.close()
    assert "ending the loop raised test_run.py, line " in caplog.text


def test_a_turn_that_never_yields_is_broken_off_once_the_worker_is_to_stop() -> None:
    stop = Event()

    def train(trial: Trial) -> Iterator[Measured]:
        yield trial.measured(1, 0.5)
        stop.set()
        while True:
            with suppress(Exception):  # which is another
                sum(range(100))

    made = run(loops.loop(train), watch=Watch(grace=0.0, every=0.01))
    assert made.advance(1, stop)
    assert not made.advance(2, stop)
    assert made.step == 1
    state = made.state()  # it can still be run again up to there
    assert state is not None
    assert state["step"] == 1
    again = run(loops.loop(train))
    again.restore(state)
    assert again.state() is state


def test_what_was_broken_off_on_its_way_has_only_the_checkpoint_of_before() -> None:
    stop = Event()

    def train(trial: Trial) -> Iterator[Measured]:
        trial.keep(loops.Line())
        yield trial.measured(1, 0.5)
        stop.set()
        while True:
            pass

    watch = Watch(grace=0.0, every=0.01)
    made = run(loops.loop(train), resumption=Resumption.KEPT, watch=watch)
    made.advance(1, stop)
    made.advance(2, stop)
    assert made.state() is None
