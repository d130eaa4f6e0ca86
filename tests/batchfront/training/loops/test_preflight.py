"""What trying a loop finds before any of its trials is planned."""

import logging
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from batchfront import Choice, Log, Measured, Trial
from batchfront.errors import UsageError, WorkloadError
from batchfront.training.loops.preflight import ExaminedLoop, examine
from batchfront.workload.loop import Loop
from tests import loops


def tried(loop: Loop, *batch_sizes: int) -> ExaminedLoop:
    return examine(loop, batch_sizes or (4, 16), loops.SPEC)


@pytest.mark.parametrize(
    ("loop", "how"),
    [(loops.kept(), "kept"), (loops.replayed(), "replayed"), (loops.line(), "kept")],
)
def test_how_a_loop_goes_on_is_found(loop: Loop, how: str) -> None:
    assert tried(loop).tries == {"resumption": how, "torch": True, "at_once": None}


def test_a_loop_that_keeps_nothing_is_told_how() -> None:
    (note,) = tried(loops.replayed()).notes
    assert note == (
        "clouds/replayed/momentum: an interrupted trial is run again up to where it stood; "
        "trial.keep(model, optimizer) has it go on from there"
    )
    assert tried(loops.kept()).notes == []


def test_the_process_is_left_as_it_was() -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]
    tried(loops.kept())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[index,union-attr]


def test_what_a_loop_prints_while_it_is_tried_is_not_the_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def train(trial: Trial) -> Iterator[Measured]:
        print("hello")
        yield from loops.train_line(trial)

    tried(replace(loops.line(), train=train))
    assert capsys.readouterr().out == ""


def test_that_it_is_tried_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        tried(loops.line())
    assert "line/regression/sgd: trying its first 3 steps, twice" in caplog.text


def each_step(trial: Trial) -> Iterator[Measured]:
    """Evaluates without asking when."""
    for step, batch in trial.batches(100):
        yield trial.measured(
            step, 0.5 + 0 * float(trial["learning_rate"]), examples=batch.size * step
        )


def test_a_loop_that_does_not_ask_when_it_is_evaluated_is_refused() -> None:
    with pytest.raises(WorkloadError, match=r"don't call trial.evaluates\(step\); yield wherever"):
        tried(loops.loop(each_step, step_budget=1_000))


def test_where_each_step_is_evaluated_it_needs_not_ask() -> None:
    assert tried(loops.loop(each_step, step_budget=100)).tries["resumption"] == "replayed"


def draws(trial: Trial) -> Iterator[Measured]:
    rate = float(trial["learning_rate"]) + trial.batch_size
    for step in range(1, trial.step_budget + 1):
        if trial.evaluates(step):
            yield trial.measured(step, 0.5, loss=rate * torch.rand(()).item())


def seeds_itself(trial: Trial) -> Iterator[Measured]:
    torch.manual_seed(0)
    yield from draws(trial)


def test_that_a_loop_shows_the_same_with_another_seed_is_noted() -> None:
    said = "its first steps show the same with another seed"
    assert any(said in note for note in tried(loops.loop(seeds_itself)).notes)
    assert not any(said in note for note in tried(loops.loop(draws)).notes)


shared = {"count": 0}
generator = np.random.default_rng(0)


def counts_for_all(trial: Trial) -> Iterator[Measured]:
    rate = float(trial["learning_rate"]) + trial.batch_size
    for step in range(1, 10):
        shared["count"] += 1
        yield trial.measured(step, 0.5, loss=rate * shared["count"])


def draws_from_its_own(trial: Trial) -> Iterator[Measured]:
    rate = float(trial["learning_rate"]) + trial.batch_size
    for step in range(1, 10):
        yield trial.measured(step, 0.5, loss=rate + generator.random())


@pytest.mark.parametrize("train", [counts_for_all, draws_from_its_own])
def test_what_trials_share_is_refused_with_both_numbers(train: Any) -> None:
    with pytest.raises(WorkloadError) as raised:
        tried(loops.loop(train))
    text = str(raised.value)
    assert text.startswith("clouds/loop/momentum: your loop isn't reproducible: step 1, loss ")
    assert "the second time with another trial in between" in text
    assert "\n" not in text


def test_what_another_trial_changes_in_between_is_refused() -> None:
    """By itself it would be the same twice."""
    scale: list[float] = []

    def train(trial: Trial) -> Iterator[Measured]:
        scale[:] = [float(trial["learning_rate"]) * trial.batch_size]
        for step in range(1, 10):
            yield trial.measured(step, 0.5 + scale[0] / step)

    with pytest.raises(WorkloadError, match="isn't reproducible: step 2, error "):
        tried(loops.loop(train))


def test_numbers_that_differ_by_rounding_alone_start_again() -> None:
    runs = iter(range(100))

    def train(trial: Trial) -> Iterator[Measured]:
        off = 1e-9 * next(runs) * float(trial["learning_rate"]) * trial.batch_size
        for step in range(1, 10):
            yield trial.measured(step, 0.5 + off)

    found = tried(loops.loop(train))
    assert found.tries["resumption"] == "anew"
    assert (
        "its numbers differ from run to run in their last digits (step 1, error" in found.notes[0]
    )
    assert "an interrupted trial starts again from step 0" in found.notes[1]


def test_generators_of_a_loops_own_can_be_kept() -> None:
    def train(trial: Trial) -> Iterator[Measured]:
        own = random.Random(trial.seed), np.random.default_rng(trial.seed), torch.Generator()
        own[2].manual_seed(trial.seed)
        if keeping:
            trial.keep(*own)
        for step, _ in trial.batches(100):
            rate = float(trial["learning_rate"])
            drawn = own[0].random(), own[1].random(), torch.rand((), generator=own[2]).item()
            yield trial.measured(step, 0.5 + rate * sum(drawn))

    keeping = True
    assert tried(loops.loop(train)).tries["resumption"] == "kept"
    keeping = False
    assert tried(loops.loop(train)).tries["resumption"] == "replayed"


def test_schedules_are_kept_with_the_rest() -> None:
    def train(trial: Trial) -> Iterator[Measured]:
        net, optimizer = loops.parts(trial)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 3])
        scaler = torch.amp.GradScaler("cpu")
        trial.keep(net, optimizer, schedule, scaler)
        for step, batch in trial.batches(len(loops.INPUTS)):
            loss = loops.update(net, optimizer, batch)
            schedule.step()
            yield trial.measured(step, loops.error(net), loss)

    assert tried(replace(loops.kept(), train=train)).tries["resumption"] == "kept"


def test_a_state_that_lacks_something_is_told_and_replayed_instead() -> None:
    def train(trial: Trial) -> Iterator[Measured]:
        net, optimizer = loops.parts(trial)
        trial.keep(net)  # and not the momentum
        for step, batch in trial.batches(len(loops.INPUTS)):
            loss = loops.update(net, optimizer, batch)
            yield trial.measured(step, loops.error(net), loss)

    found = tried(replace(loops.kept(), train=train))
    assert found.tries["resumption"] == "replayed"
    assert "it doesn't go on as before from what trial.keep has kept: step 3, " in found.notes[0]


def test_a_state_that_lacks_something_shows_in_what_is_kept_where_it_does_not_in_the_value() -> (
    None
):
    def train(trial: Trial) -> Iterator[Measured]:
        net, optimizer = loops.parts(trial)
        trial.keep(net)
        for step, batch in trial.batches(len(loops.INPUTS)):
            loops.update(net, optimizer, batch)
            yield trial.measured(step, 0.5)

    found = tried(replace(loops.kept(), train=train))
    assert found.tries["resumption"] == "replayed"
    assert "what trial.keep has kept: the kept[0]['0.weight']. It lacks" in found.notes[0]


def test_a_schedule_that_is_not_kept_is_told_though_it_has_changed_nothing_yet() -> None:
    def train(trial: Trial) -> Iterator[Measured]:
        net, optimizer = loops.parts(trial)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 30)
        layers = list(net.children())  # kept with the model
        trial.keep(net, optimizer)
        for step, batch in trial.batches(len(loops.INPUTS)):
            loss = loops.update(net, optimizer, batch)
            schedule.step()
            yield trial.measured(step, loops.error(net) + 0 * len(layers), loss)

    found = tried(replace(loops.kept(), train=train))
    assert found.tries["resumption"] == "replayed"
    assert "trial.keep lacks schedule, which training may change" in found.notes[0]


def test_a_state_that_does_not_load_is_told_and_replayed_instead() -> None:
    class Broken(loops.Line):
        def load_state_dict(self, state: dict[str, Any]) -> None:
            raise KeyError("weights")

    def train(trial: Trial) -> Iterator[Measured]:
        trial.keep(Broken())
        for step, _ in trial.batches(100):
            yield trial.measured(step, 0.5 + float(trial["learning_rate"]))

    found = tried(loops.loop(train))
    assert found.tries["resumption"] == "replayed"
    assert "it can't go on from what trial.keep has kept" in found.notes[0]


def test_what_no_checkpoint_holds_is_refused_with_its_place() -> None:
    class Odd(loops.Line):
        def state_dict(self) -> dict[str, Any]:
            return {"seen": object()}

    def train(trial: Trial) -> Iterator[Measured]:
        trial.keep(Odd())
        for step, _ in trial.batches(100):
            yield trial.measured(step, 0.5 + float(trial["learning_rate"]))

    with pytest.raises(WorkloadError) as raised:
        tried(loops.loop(train))
    assert str(raised.value).startswith(
        "clouds/loop/momentum: trial.keep: the Odd's state_dict()['seen'] is of type object, which "
    )


def no_batch_size(trial: Trial) -> Iterator[Measured]:
    for step in range(1, 10):
        yield trial.measured(step, 0.5 + float(trial["learning_rate"]))


def another_batch_size(trial: Trial) -> Iterator[Measured]:
    assert trial.batch_size
    for step in range(1, 10):
        yield trial.measured(step, 0.5 + float(trial["learning_rate"]), examples=32 * step)


def no_rate(trial: Trial) -> Iterator[Measured]:
    for step, _ in trial.batches(100):
        yield trial.measured(step, 0.5)


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (no_batch_size, "the loop doesn't take its batch size: its first steps don't ask for tri"),
        (another_batch_size, "has taken 32 examples by step 1, where 1 batches of trial.batch_si"),
        (no_rate, "the loop doesn't use the metaparameter 'learning_rate': its first steps don't"),
    ],
)
def test_a_loop_that_does_not_take_what_is_searched_is_refused(train: Any, said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        tried(loops.loop(train))


def test_a_metaparameter_may_belong_to_one_of_several_choices() -> None:
    def train(trial: Trial) -> Iterator[Measured]:
        rate = float(trial["learning_rate"])
        if trial["optimizer"] == "momentum":
            rate /= 1 - float(trial["momentum"])
        for step, _ in trial.batches(100):
            yield trial.measured(step, 0.5 + rate)

    space = {
        "learning_rate": Log(0.1, 0.2),
        "optimizer": Choice("momentum", "sgd", "adam"),
        "momentum": 0.5,
    }
    tried(loops.loop(train, search_space=space))
    with pytest.raises(WorkloadError, match="doesn't use the metaparameter 'beta2'"):
        tried(loops.loop(train, search_space={**space, "beta2": 0.9}))


def test_a_goal_that_the_first_step_passes_is_refused() -> None:
    with pytest.raises(UsageError) as raised:
        tried(loops.kept().with_goal(0.99))
    text = str(raised.value)
    assert "the goal, error < 0.99, is already passed after the first step (0." in text
    assert text.endswith("choose a harder one with --goal, or is higher better?")


def test_a_batch_of_more_examples_than_there_are_is_refused() -> None:
    with pytest.raises(UsageError, match="batch size 1000 is larger than the training set of 96"):
        tried(loops.kept(), 4, 1000)
    with pytest.raises(UsageError, match="batch size 200 is larger than the training set of 120"):
        tried(loops.line(), 4, 200)


def test_the_examples_of_an_epoch_are_those_it_asks_for_batches_of() -> None:
    assert tried(loops.line()).train_examples == 120
    assert tried(loops.replayed()).train_examples == 96  # as it says
    assert tried(replace(loops.replayed(), train_examples=0)).train_examples == 0


def test_several_devices_for_a_trial_are_refused() -> None:
    found = tried(loops.line())
    found.refuse_devices(1)
    with pytest.raises(WorkloadError, match="--devices-per-trial 2 shares every batch, and a loop"):
        found.refuse_devices(2)


def test_a_grid_that_begins_late_is_tried_from_the_first_step() -> None:
    steps: list[int] = []

    def train(trial: Trial) -> Iterator[Measured]:
        for measured in loops.train_line(trial):
            steps.append(measured.step)
            yield measured

    grid = replace(loops.line().grid, first=100)
    tried(replace(loops.line(), train=train, grid=grid))
    assert set(steps) == {1, 2, 3}


def test_a_step_budget_of_one_step_is_enough_to_try() -> None:
    assert tried(replace(loops.line(), step_budget=1)).tries["resumption"] == "kept"


def test_its_code_is_followed_from_its_function() -> None:
    code = tried(loops.kept()).code
    assert {"train", "loops.py:train_kept", "loops.py:update", "toy.py:splits"} <= set(code)


def test_a_trials_folder_is_gone_after_it_was_tried() -> None:
    made: list[Path] = []

    def train(trial: Trial) -> Iterator[Measured]:
        made.append(trial.directory)
        (trial.directory / "log.txt").write_text("so far")
        yield from loops.train_line(trial)

    tried(replace(loops.line(), train=train))
    assert made
    assert not any(folder.exists() for folder in made)
