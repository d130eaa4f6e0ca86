"""Small loops that call `trial.report`, without torch, for the tests.

Their processes find them by this file's path (`SPEC`, with a name of one).
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from batchfront import Goal, Log, Loop, Measured, Trial

SPEC = f"{Path(__file__).resolve()}:"


def loop(train: Callable[[Trial], Any], **given: Any) -> Loop:
    """A loop of the usual names and numbers."""
    usual: dict[str, Any] = {
        "name": "toy/line/sgd",
        "goal": Goal("loss", 0.01, better="lower"),
        "search_space": {"learning_rate": Log(1e-3, 0.3)},
        "step_budget": 40,
        "batch_sizes": (4, 16),
    }
    return Loop(train=train, **{**usual, **given})


def training(trial: Trial) -> Iterator[Measured]:
    """A generator that draws from Python's global random numbers."""
    weight, rate, batch_size = 3.0, float(trial["learning_rate"]), trial.batch_size
    for step in range(1, trial.step_budget + 1):
        weight -= rate * (2 * weight + random.gauss(0, 1) / batch_size**0.5)
        if trial.evaluates(step):
            yield trial.measured(step, weight**2, loss=abs(weight), examples=step * batch_size)


def call_back(trial: Trial, until: int = 10**9) -> None:
    """The same, reported; perhaps not to the end."""
    for step, value, loss, examples in map(_told, training(trial)):
        if step > until:
            return
        trial.report(step, value, loss, examples)


def _told(found: Measured) -> tuple[int, float, float | None, int | None]:
    return found.step, found.value, found.loss, found.examples


def return_early(trial: Trial) -> None:
    """Ends after a step."""
    call_back(trial, until=1)


def skip(trial: Trial) -> None:
    """Reports every second step."""
    _ = trial.batch_size, trial["learning_rate"]
    for step in range(2, 100, 2):
        trial.report(step, 1.0)


def ignore_batch_size(trial: Trial) -> None:
    """Asks for its learning rate alone."""
    trial.report(1, trial["learning_rate"])


def ignore_rate(trial: Trial) -> None:
    """Asks for its batch size alone."""
    for step in range(1, trial.step_budget + 1):
        trial.report(step, 1.0 / trial.batch_size)


def miscount(trial: Trial) -> None:
    """Takes a batch size of its own."""
    _ = trial.batch_size, trial["learning_rate"]
    trial.report(1, 1.0, examples=7)


def say_low(trial: Trial) -> None:
    """Reports a word."""
    _ = trial.batch_size, trial["learning_rate"]
    trial.report(1, "low")  # type: ignore[arg-type]


def drift(trial: Trial) -> None:
    """Gives other numbers each time."""
    _ = trial.batch_size, trial["learning_rate"]
    for step in range(1, trial.step_budget + 1):
        trial.report(step, 1.0 + time.time() % 1000 * os.getpid())


def fail(trial: Trial) -> None:
    """Raises."""
    raise ZeroDivisionError(f"with {trial.batch_size}")


def return_generator(trial: Trial) -> Any:
    """Has nothing run."""
    return training(trial)


def epochs(trial: Trial) -> None:
    """Reports wherever it likes, and ends before its step budget."""
    _ = trial.batch_size, trial["learning_rate"]
    assert not trial.has_grid
    for step in (7, 14, 21):
        trial.report(step, 1.0 / step)


yielding = loop(training)
calling = loop(call_back)
early = loop(return_early)
skipping = loop(skip)
sizeless = loop(ignore_batch_size)
rateless = loop(ignore_rate)
miscounting = loop(miscount)
drifting = loop(drift)
wordy = loop(say_low)
failing = loop(fail)
returning = loop(return_generator)
by_epochs = loop(epochs, own_steps=True)
together = loop(call_back, at_once=3)
