"""Loops, and what their functions are given."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from batchfront import Loop, Measured, Trial
from batchfront.errors import SearchSpaceError, WorkloadError
from batchfront.workload.evaluation_grid import EvaluationGrid, GridSteps
from tests import loops


def trial(batch_size: int = 4, step: int = 0, seed: int = 2**40 + 7, budget: int = 100) -> Trial:
    """A trial with a learning rate and a momentum."""
    steps = GridSteps(EvaluationGrid(first=10, spacing=0.5), budget)
    return Trial({"learning_rate": 0.1, "momentum": 0.9}, batch_size, seed, steps, step=step)


def test_a_metaparameter_is_asked_for_by_its_name() -> None:
    assert trial()["learning_rate"] == 0.1
    assert trial().metaparameters == {"learning_rate": 0.1, "momentum": 0.9}


def test_an_unknown_metaparameter_is_refused_with_those_there_are() -> None:
    with pytest.raises(WorkloadError) as raised:
        trial()["dropout"]
    said = "no metaparameter 'dropout'; the search space is learning_rate, momentum"
    assert str(raised.value) == said


def test_what_has_not_been_asked_for_is_known() -> None:
    asked = trial()
    assert asked.unread == {"batch_size", "learning_rate", "momentum"}
    assert (asked["momentum"], asked.batch_size) == (0.9, 4)
    assert asked.unread == {"learning_rate"}


def test_the_seed_is_one_that_every_library_takes() -> None:
    assert trial().seed == 7
    assert trial().long_seed == 2**40 + 7
    np.random.default_rng(trial().seed)


def test_it_evaluates_at_the_steps_of_the_grid() -> None:
    assert [step for step in range(101) if trial().evaluates(step)] == [10, 15, 22, 33, 49, 73]


def test_batches_are_whole_epochs_one_after_another() -> None:
    batches = [batch.tolist() for _, batch in trial(batch_size=4).batches(10)]
    assert {len(batch) for batch in batches} == {4}
    flat = [index for batch in batches for index in batch]
    epochs = [flat[start : start + 10] for start in range(0, 400, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 30


@pytest.mark.parametrize("done", [1, 3, 5, 64])
def test_batches_go_on_where_a_trial_left_them(done: int) -> None:
    whole = [(step, batch.tolist()) for step, batch in trial().batches(10)]
    rest = [(step, batch.tolist()) for step, batch in trial(step=done).batches(10)]
    assert rest == whole[done:]
    assert rest[0][0] == done + 1


def test_another_seed_has_other_batches_and_global_generators_are_left_alone() -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]
    one, other = (next(trial(seed=seed).batches(100))[1].tolist() for seed in (1, 2))
    assert one != other
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index,union-attr]


def test_fewer_examples_than_a_batch_has_are_refused() -> None:
    with pytest.raises(WorkloadError, match=r"trial\.batches\(3\): fewer than the batch size, 4"):
        next(trial().batches(3))


def test_a_report_inside_of_a_generator_says_what_to_write() -> None:
    with pytest.raises(WorkloadError, match=r"a generator yields trial\.measured\(step, value\)"):
        trial().report(1, 0.5)


@pytest.mark.parametrize("value", [np.float32(0.5), np.array(0.5), torch.tensor(0.5), 0.5])
def test_numbers_of_any_library_are_measured_as_plain_ones(value: Any) -> None:
    found = trial().measured(np.int64(3), value, loss=value, examples=np.int32(12))
    assert found == Measured(3, 0.5, 0.5, 12)
    assert [type(part) for part in (found.step, found.value, found.loss)] == [int, float, float]


@pytest.mark.parametrize("value", [True, "0.5", None, [0.5], torch.ones(2), object()])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(WorkloadError, match=r"^value is .*, not a number$"):
        trial().measured(3, value)


def test_a_function_that_does_not_yield_calls_back() -> None:
    def reports(trial: Trial) -> None:
        trial.report(1, 0.5)

    class Trains:
        def __call__(self, trial: Trial) -> Iterator[Measured]:
            yield trial.measured(1, 0.5)

    assert loops.loop(reports).calls_back
    for train in (loops.train_kept, partial(loops.train_kept), Trains(), Trains().__call__):
        assert not loops.loop(train).calls_back


async def asynchronous(_: Trial) -> None:
    pass


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (loops.train_kept(trial()), "train is a generator; give the function itself, uncalled"),
        ("train.py", "train is a str, not a function of a trial"),
        (asynchronous, "train is asynchronous; write a plain generator"),
    ],
)
def test_what_is_no_training_function_is_refused(train: Any, said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        loops.loop(train)


@pytest.mark.parametrize("given", [{"at_once": 0}, {"train_examples": -1}])
def test_counts_that_none_can_have_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(WorkloadError, match=f"{next(iter(given))} is "):
        loops.loop(loops.train_kept, **given)


def test_the_batch_size_is_no_metaparameter() -> None:
    with pytest.raises(SearchSpaceError, match="batch_size is no metaparameter"):
        loops.loop(loops.train_kept, search_space={"batch_size": 4}).space(4)


def test_a_loops_identity_says_that_it_is_one() -> None:
    described = loops.kept().describe()
    assert described["kind"] == "loop"
    assert described["goal"] == {
        "metric": "error",
        "better": "lower",
        "value": 0.1,
        "text": "error < 0.1",
    }
    assert set(described) == {"kind", "goal", "grid", "stopping"}


def test_a_directory_is_made_when_it_is_asked_for(tmp_path: Path) -> None:
    made: list[Path] = []

    def folder() -> Path:
        made.append(tmp_path)
        return tmp_path

    steps = GridSteps(EvaluationGrid(), 10)
    asked = Trial({}, 4, 1, steps, directory=folder)
    assert not made
    assert asked.directory == tmp_path


def test_a_loop_is_a_workload_with_a_goal_of_its_own() -> None:
    assert isinstance(loops.kept(), Loop)
    assert loops.kept().with_goal(0.2).goal.value == 0.2
