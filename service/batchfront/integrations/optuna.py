"""Trials that an Optuna `objective(trial)` trains, as people write it for `study.optimize`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from optuna import TrialPruned
from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial

from batchfront.errors import WorkloadError
from batchfront.reporting import TrialEnded
from batchfront.workload.goal import Goal
from batchfront.workload.loop import Loop, Trial

Updates = Callable[[int, int], int]
"""From an objective's own step and the batch size to the updates done by then."""


def loop(objective: Callable[[Any], Any], *, goal: Goal, updates: Updates, **parts: Any) -> Loop:
    """A workload whose trials an Optuna objective trains.

    objective -- takes a trial: what it suggests is a value of the search space, whatever range it
                 is asked for that has it in, and `batch_size` the study's; `report` waits until the
                 trial may go on, and `should_prune` is true once it is over. What it returns at its
                 end doesn't count: its reports do
    updates   -- the updates of the weights that are done at a step that it reports: of epochs
                 counted from 0, `lambda epoch, batch_size: (epoch + 1) * (50_000 // batch_size)`
    parts     -- name, search_space, step_budget, batch_sizes and the others of a `Loop`
    """
    return Loop(train=_Train(objective, updates), goal=goal, own_steps=True, **parts)


class AskedTrial(FixedTrial):
    """What an objective is given: Optuna's own trial of fixed values, which are the trial's.

    ended -- how it was ended, once it is over
    """

    def __init__(self, trial: Trial, updates: Updates) -> None:
        super().__init__({})
        self.ended: TrialEnded | None = None
        self._trial, self._updates = trial, updates

    def report(self, value: float, step: int) -> None:
        """Report an evaluation, and wait until the trial may go on."""
        if self.ended is not None:
            raise self.ended
        done = self._updates(step, self._trial.batch_size)
        if done < 1:
            raise WorkloadError(
                f"the objective reports step {step}, at which {done} updates are done, as "
                "updates() says; an evaluation comes after one at least"
            )
        try:
            self._trial.report(done, value)
        except TrialEnded as ended:
            self.ended = ended

    def should_prune(self) -> bool:
        """Whether the trial is over."""
        return self.ended is not None

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        value = self._trial.batch_size if name == "batch_size" else self._trial[name]
        try:
            inside = distribution._contains(distribution.to_internal_repr(value))
        except ValueError:  # no number, or none of the choices
            inside = False
        if not inside:
            raise WorkloadError(
                f"{name} is {value!r} in this trial, which the objective's {distribution} lacks: "
                "have it suggest what the search space, and batch_sizes, have"
            )
        self._params[name] = value
        return super()._suggest(name, distribution)


@dataclass(frozen=True)
class _Train:
    """A loop's function, of data, so that the loop's code is that of the objective."""

    objective: Callable[[Any], Any]
    updates: Updates

    def __call__(self, trial: Trial) -> None:
        asked = AskedTrial(trial, self.updates)
        try:
            self.objective(asked)
        except TrialPruned:
            if asked.ended is None:
                raise WorkloadError(
                    "the objective prunes its trial itself, which is the race's to decide: raise "
                    "TrialPruned only where trial.should_prune()"
                ) from None
        if asked.ended is not None:
            raise asked.ended
