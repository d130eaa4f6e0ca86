"""What is asked of a framework and of the user's code before it trains."""

from collections.abc import Callable
from typing import Any

import pytest

from batchfront.errors import UsageError, WorkloadError
from batchfront.integrations.checks import made, refuse_other_batch_size, required
from tests.batchfront.integrations.conftest import Recorded


def test_a_library_of_the_right_version_is_imported() -> None:
    import click

    assert required("click", "8.0") is click


def test_a_library_of_too_old_a_version_is_refused_in_one_line() -> None:
    from importlib.metadata import version

    found = version("click")
    with pytest.raises(
        UsageError, match=f"^click {found} is installed, and this needs 1000.2 or l"
    ):
        required("click", "1000.2")


def test_a_library_that_is_not_there_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"^this needs no-such-library: .*\[no-such-library\]"):
        required("no-such-library", "1.0")


@pytest.mark.parametrize(("since", "there"), [("8", True), ("8.0.0.1", True), ("7.99", True)])
def test_versions_are_compared_as_numbers(since: str, there: bool) -> None:
    assert (required("click", since) is not None) is there


def test_a_function_is_given_what_it_names(record: Callable[..., Recorded]) -> None:
    def make(*, batch_size: int, seed: int, learning_rate: float, other: str = "default") -> Any:
        return batch_size, seed, learning_rate, other

    trial = record(learning_rate=0.5, momentum=0.9).trial
    assert made(make, trial) == (8, 7, 0.5, "default")
    assert trial.unread == {"momentum"}


def test_a_function_that_takes_all_is_given_all(record: Callable[..., Recorded]) -> None:
    trial = record(learning_rate=0.5).trial
    given = made(lambda **given: given, trial)
    assert set(given) == {
        *("batch_size", "seed", "step_budget", "device", "directory"),
        "learning_rate",
    }


def test_a_function_that_asks_for_something_else_is_told_what_there_is(
    record: Callable[..., Recorded],
) -> None:
    def make_trainer(lr: float) -> None:
        """Never called."""

    with pytest.raises(
        WorkloadError,
        match=r"^make_trainer\(\) asks for lr, and a trial has batch_size, .*, learning_rate$",
    ):
        made(make_trainer, record(learning_rate=0.5).trial)


def test_another_batch_size_than_the_study_s_is_refused_with_the_three_numbers(
    record: Callable[..., Recorded],
) -> None:
    trial = record(batch_size=64).trial
    refuse_other_batch_size(trial, 8, 4, 2)
    with pytest.raises(
        WorkloadError,
        match="takes 8 examples per device x 2 accumulated x 2 devices = 32, and the study's batch",
    ):
        refuse_other_batch_size(trial, 8, 2, 2)
