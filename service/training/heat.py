"""A heat: trials of one study that race in lockstep over the evaluation grid."""

import traceback
from bisect import bisect_right
from dataclasses import dataclass, field
from threading import Event
from typing import Generic, Protocol, TypeVar

from service.training.memory import is_lost_device
from service.training.stopping import Look, Outcome, judge
from service.training.trial import Spent, TrialRun
from service.workload import Workload


@dataclass(frozen=True)
class Ending:
    """How a trial ended.

    steps           -- how far it was trained
    steps_to_target -- the first evaluated step past the goal; of outcome `reached` only
    steps_lower     -- the evaluated step before that one, where the goal stood open
    metric          -- the goal metric when last computed in full, at step `metric_step`
    test_metric     -- the same on the test split, where the goal was reached
    micro_batch     -- examples a training pass, where memory was too small for the whole batch
    spent           -- what it cost
    """

    outcome: Outcome
    reason: str
    steps: int
    looks: tuple[Look, ...] = ()
    steps_to_target: int | None = None
    steps_lower: int | None = None
    metric: float | None = None
    metric_step: int | None = None
    test_metric: float | None = None
    micro_batch: int | None = None
    spent: Spent = field(default_factory=Spent)


class Numbered(Protocol):
    """What a heat needs to know of the slot that a run belongs to."""

    @property
    def number(self) -> int: ...


S = TypeVar("S", bound=Numbered)


class Heat(Generic[S]):
    """Runs of one study with the slots they fill; `round` after `round` until none is live."""

    def __init__(self, workload: Workload, batch_size: int, runs: list[tuple[S, TrialRun]]) -> None:
        self.workload = workload
        self.grid = workload.grid.steps(workload.steps_allowed(batch_size))
        self.live = runs
        self.cap: int | None = None

    def lower_cap(self, cap: int | None) -> None:
        """Take note that another heat of the study has won in `cap` steps."""
        if cap is not None and (self.cap is None or cap < self.cap):
            self.cap = cap

    def round(self, stop: Event) -> list[tuple[S, Ending]]:
        """Bring the least advanced trials to their next evaluated step, and look at them.

        Returns the trials that ended; they are no longer live. A trial that passes the goal caps
        the others only once all have been looked at, at the same step: whoever draws level has
        reached the goal too. If `stop` is set, trials stay where they are, to be saved.
        """
        target = min((self._next_step(run.step) for _, run in self.live), default=None)
        ended: dict[int, Ending] = {}
        for slot, run in self.live:
            if stop.is_set():
                break
            if self._next_step(run.step) == target and not self._beaten(run):
                ending = self._attempt(run, int(target), stop)
                if ending is not None:
                    ended[slot.number] = ending
                    self.lower_cap(ending.steps_to_target)
        for slot, run in self.live:
            if slot.number not in ended and self._beaten(run):
                reason = f"another trial reached the goal in {self.cap} steps"
                ended[slot.number] = _ending(run, "capped", reason)
        over = [(slot, ended[slot.number]) for slot, _ in self.live if slot.number in ended]
        self.live = [(slot, run) for slot, run in self.live if slot.number not in ended]
        return over

    def _beaten(self, run: TrialRun) -> bool:
        return self.cap is not None and run.step >= self.cap

    def _next_step(self, step: int) -> float:
        index = bisect_right(self.grid, step)
        return self.grid[index] if index < len(self.grid) else float("inf")

    def _attempt(self, run: TrialRun, target: int, stop: Event) -> Ending | None:
        try:
            return self._to_next_look(run, target, stop)
        except Exception as error:
            if is_lost_device(error):
                raise
            return _ending(run, "failed", failure(error))

    def _to_next_look(self, run: TrialRun, target: int, stop: Event) -> Ending | None:
        if not run.advance(target, stop):
            return None
        if not run.finite():
            return _ending(run, "diverged", f"training loss not finite by step {run.step}")
        index = bisect_right(self.grid, target) - 1
        previous = self.grid[index - 1] if index else 0
        full = self.workload.grid.is_look(target, previous)
        found = run.evaluate(full=full)
        if found.passed:
            return Ending(
                "reached",
                f"{self.workload.goal} at step {target}",
                run.step,
                tuple(run.looks),
                steps_to_target=target,
                steps_lower=previous,
                metric=found.value,
                metric_step=target,
                test_metric=run.test_metric(),
                micro_batch=run.passes.micro_batch(run.batch_size),
                spent=run.spent,
            )
        if full:
            verdict = judge(
                run.looks, run.untrained_loss, self.workload.stopping, self.workload.goal
            )
            if verdict is not None:
                return _ending(run, *verdict)
        if index == len(self.grid) - 1:
            return _ending(run, "exhausted", f"step budget of {target} spent")
        return None


def failure(error: Exception) -> str:
    """The reason of a failed trial: the error in one line, and then its traceback."""
    lines = str(error).strip().splitlines() or ["no message"]
    trace = "".join(traceback.format_exception(error))
    text = f"{type(error).__name__}: {lines[0]}\n{trace}"
    # What PostgreSQL's text can't hold: NUL, and halves of surrogate pairs.
    return text.replace("\0", "�").encode(errors="replace").decode()


def _ending(run: TrialRun, outcome: Outcome, reason: str) -> Ending:
    last = run.looks[-1] if run.looks else None
    return Ending(
        outcome,
        reason,
        run.step,
        tuple(run.looks),
        metric=last.metric if last else None,
        metric_step=last.step if last else None,
        micro_batch=run.passes.micro_batch(run.batch_size),
        spent=run.spent,
    )
