"""Which evaluations a trial may leave out: those between two full ones, while it is far from its
goal.

A full evaluation shows how far from the goal a trial is, and those before it how fast that has
changed lately. Where it is further than it is likely to come until the next full evaluation, it is
evaluated nowhere in between; but its state is kept. If that next evaluation finds it past the goal,
or closer than it was taken to come, or without a finite loss, it goes back to the kept state and is
trained again, evaluated at every evaluated step. Training is deterministic: whatever it passes on
the way, it passes at the step at which it would have been found without all this.

What is left out depends on what the trial itself has shown, not on what runs beside it.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Protocol, TypeGuard

from batchfront.training.engines import Failed
from batchfront.training.memory import is_out_of_memory
from batchfront.training.run import GoalCheck, Run
from batchfront.workload.goal import Goal

RECENT = 5
"""Changes between full evaluations, up to the last, that say how fast a trial changes."""

FAR, FASTER = math.log(1.5), 3
"""A trial is far from its goal if it would not come to it, nor to 1.5 times it, by 3 times the
largest of its recent changes. All are of the logarithm of what is missing to a perfect metric."""

NEAR, LATER = math.log(1.5), 2
"""It has come near if it is within 1.5 times the goal, or within twice that change."""


class Replayable(Run, Protocol):
    """A run that can be trained again from where it was.

    kept_until -- the step up to which its evaluations are left out; None: it keeps no state
    judged     -- the last step at which what an evaluation showed has been acted upon
    decided    -- the last step at which it was decided whether evaluations are left out from there
    """

    judged: int
    decided: int

    @property
    def kept_until(self) -> int | None: ...

    def keep(self, until: int) -> None:
        """Keep its state, to go back to, while its evaluations before `until` are left out."""

    def let_go(self) -> None:
        """Keep no state any more."""

    def roll_back(self) -> None:
        """Go back to the kept state, which is let go."""


class SparseEvaluation:
    """Says of the runs of one heat where they are evaluated, and what that means for them.

    cap -- the step at which trials are capped, as far as the heat knows: one that has come to it is
           evaluated there before it is
    """

    def __init__(self, goal: Goal) -> None:
        self._goal = goal
        self.cap: int | None = None

    def begin(self, runs: Iterable[Run]) -> None:
        """Decide of those that stand at a full evaluation what they leave out from there on."""
        for run in runs:
            if not is_replayable(run) or run.judged != run.step or run.goal_crossing is not None:
                continue
            if run.decided == run.step or not run.evaluation_steps.is_full(run.step):
                continue
            run.decided = run.step
            run.let_go()
            until = _next_full(run)
            if until is not None and is_far([one.metric for one in run.evaluations], self._goal):
                try:
                    run.keep(until)
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    run.let_go()

    def next(self, run: Run) -> int | None:
        """The step to bring a run to next: its own where an evaluation is outstanding there."""
        if self.is_due(run):
            return run.step
        following = run.evaluation_steps.after(run.step)
        if following is None or not is_replayable(run) or run.kept_until is None:
            return following
        cap = run.kept_until if self.cap is None else max(self.cap, following)
        return min(run.kept_until, cap)

    def is_due(self, run: Run) -> bool:
        """Whether a run that can be trained again stands where it is to be evaluated, and what that
        shows has not been acted upon."""
        if not is_replayable(run):
            return False
        if run.judged >= run.step or run.step not in run.evaluation_steps:
            return False
        capped = self.cap is not None and run.step >= self.cap
        return run.kept_until is None or run.step >= run.kept_until or capped

    def is_evaluated(self, run: Run, *, moved: bool) -> bool:
        """Whether a run is evaluated where it stands, to which it has just moved or not."""
        return self.is_due(run) or (
            moved and not is_replayable(run) and run.step in run.evaluation_steps
        )

    def is_sparse(self, run: Run) -> bool:
        """Whether evaluations of a run are being left out."""
        return is_replayable(run) and run.kept_until is not None

    def is_open(self, run: Run) -> bool:
        """Whether a run has come to evaluated steps, up to the cap, of which nothing is known
        yet."""
        if not is_replayable(run):
            return False
        first = run.evaluation_steps.after(run.judged)
        return first is not None and first <= min(run.step, self.cap or run.step)

    def go_back(self, run: Run, check: GoalCheck | Failed | None, *, finite: bool) -> bool:
        """Have a run go back to its kept state if what an evaluation showed of it may have been so
        at an earlier step, which was left out. Returns whether it did."""
        if not is_replayable(run) or run.kept_until is None or isinstance(check, Failed):
            return False
        if run.evaluation_steps.before(run.step) <= run.judged:  # nothing was left out
            return False
        if finite and check is not None and not check.passed and check.value is not None:
            earlier = [one.metric for one in run.evaluations if one.step < run.step]
            if not is_near([*earlier, check.value], self._goal):
                return False
        run.roll_back()
        return True

    def note_judged(self, run: Run) -> None:
        """Take note that what an evaluation showed of a run has been acted upon."""
        if is_replayable(run):
            run.judged = run.step

    def forget(self, run: Run) -> None:
        """Keep no state of a run that has passed the goal."""
        if is_replayable(run):
            run.let_go()


def is_replayable(run: Run) -> TypeGuard[Replayable]:
    """Whether a run can be trained again from where it was."""
    return run.replayable


def _next_full(run: Run) -> int | None:
    """The next full evaluation of a run, or the last step of its budget; None if there is no
    evaluated step before it."""
    steps, first = run.evaluation_steps, run.evaluation_steps.after(run.step)
    step = first
    while step is not None and not steps.is_full(step):
        following = steps.after(step)
        if following is None:
            break
        step = following
    return step if step != first else None


def is_far(metrics: Sequence[float], goal: Goal) -> bool:
    """Whether a trial whose full evaluations have shown these is too far from its goal to pass it
    before the next one."""
    if len(metrics) <= 2:
        return False
    return _distance(metrics[-1], goal) > max(FAR, FASTER * _change(metrics, goal))


def is_near(metrics: Sequence[float], goal: Goal) -> bool:
    """Whether a trial whose full evaluations have shown these, without evaluations between the last
    two, is so close to its goal that it may have passed it in between."""
    return not _distance(metrics[-1], goal) > max(NEAR, LATER * _change(metrics, goal))


def _distance(metric: float, goal: Goal) -> float:
    """How many times as far as the goal a metric is from the best number that it can have, as a
    logarithm; NaN where there is no such number, or none yet."""
    allowed, found = abs(goal.value - goal.best), abs(metric - goal.best)
    return math.log(found / allowed) if 0 < found < math.inf else math.nan


def _change(metrics: Sequence[float], goal: Goal) -> float:
    """The largest change of the distance from one full evaluation to the next, of late."""
    distances = [_distance(metric, goal) for metric in metrics[-RECENT - 1 :]]
    changes = [abs(now - before) for before, now in pairwise(distances)]
    return max(changes) if all(map(math.isfinite, changes)) else math.inf
