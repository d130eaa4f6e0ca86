"""A heat: trials of one study that race in lockstep over the evaluation grid."""

from bisect import bisect_right, insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from threading import Event
from typing import Generic, NamedTuple, Protocol, TypeVar

from batchfront.outcomes import GoalCrossing, LearningCurve, TrialResult
from batchfront.phase_timer import timed_as
from batchfront.training.early_dropping import Rule, curve_of
from batchfront.training.engines import Engine, Failed, Sequential, attempt
from batchfront.training.evaluation import GoalCheck
from batchfront.training.stopping import judge
from batchfront.training.trial import TrialRun, are_finite
from batchfront.vocabulary import Outcome
from batchfront.workload.workload import Workload


class _Place(NamedTuple):
    """Where on the grid an evaluated step stands."""

    previous: int  # the evaluated step before it
    rung: bool  # whether full looks are made here
    last: bool

    def full(self, run: TrialRun) -> bool:
        """One that has passed the goal is looked at for its curve alone: at rungs, and at last."""
        return self.rung or (self.last and run.passage is not None)


class Numbered(Protocol):
    """What a heat needs to know of the slot that a run belongs to."""

    @property
    def number(self) -> int: ...


S = TypeVar("S", bound=Numbered)


class Heat(Generic[S]):
    """Runs of one study with the slots they fill; `round` after `round` until none is live.

    finishers  -- the race goes on until so many trials of the study have passed the goal; 0: no
                  trial is capped
    continuing -- of the study's trials that pass, the first so many go on to the step budget
    engine     -- what computes them: one after another, unless it is told otherwise
    dropping   -- rules by which `compare` drops trials that are behind
    lockstep   -- the least advanced come first; otherwise all go on, wherever each of them is

    A heat counts its own trials that pass; of those in other heats it is told (`lower_cap`,
    `count_passed`). Told late, it caps a trial late, and lets one more go on: never one too few.
    """

    def __init__(
        self,
        workload: Workload,
        batch_size: int,
        runs: list[tuple[S, TrialRun]],
        finishers: int = 1,
        continuing: int = 0,
        engine: Engine | None = None,
        dropping: Sequence[Rule] = (),
        *,
        lockstep: bool = True,
    ) -> None:
        self.workload, self._lockstep = workload, lockstep
        self._dropping = dropping
        self._looked: list[tuple[S, TrialRun]] = []  # in full, in the last round
        self.engine: Engine = Sequential() if engine is None else engine
        self.grid = workload.grid.steps(workload.steps_allowed(batch_size))
        self.live = runs
        self.cap: int | None = None
        self._finishers, self._continuing = finishers, continuing
        self._passed = 0  # trials of the study, as far as known here
        self._to_target: list[int] = []  # steps of this heat's trials, in order
        self._goes_on: set[int] = set()  # by number of the slot

    def lower_cap(self, cap: int | None) -> None:
        """Take note that so many trials as there are to be finishers, in whatever heats, have
        passed the goal in at most `cap` steps."""
        if cap is not None and (self.cap is None or cap < self.cap):
            self.cap = cap

    def count_passed(self, passed: int) -> None:
        """Take note that so many trials of the study have passed the goal, in whatever heats."""
        self._passed = max(self._passed, passed)

    def let_go_on(self, slot: S) -> None:
        """Take note that a trial is one that passed the goal before, and goes on."""
        self._goes_on.add(slot.number)

    def round(self, stop: Event) -> list[tuple[S, TrialResult]]:
        """Bring the least advanced trials to their next evaluated step, and look at them; or, where
        they are not in lockstep, all by as many steps as the first of them has to its next one.

        Returns the trials that ended; they are no longer live. A trial that passes the goal caps
        the others only once all have been looked at, at the same step: whoever draws level has
        reached the goal too. If `stop` is set, trials stay where they are, to be saved.
        """
        self._looked = []
        due, targets = self._due()
        ended = self._attempt(due, targets, stop) if due else {}
        for slot, run in self.live:
            if slot.number not in ended and self._beaten(slot, run):
                ended[slot.number] = _ending(run, Outcome.CAPPED, self._why_capped())
        over = [(slot, ended[slot.number]) for slot, _ in self.live if slot.number in ended]
        self.live = [(slot, run) for slot, run in self.live if slot.number not in ended]
        return over

    def _due(self) -> tuple[list[tuple[S, TrialRun]], list[int]]:
        """The trials that advance now, and the steps that they are brought to."""
        following = [self._next_step(run.step) for _, run in self.live]
        nearest = min(following, default=0)
        due = [
            (slot, run)
            for (slot, run), step in zip(self.live, following, strict=True)
            if (step == nearest or not self._lockstep) and not self._beaten(slot, run)
        ]
        if self._lockstep:
            return due, [int(nearest) for _ in due]
        stride = min((self._next_step(run.step) - run.step for _, run in due), default=0)
        return due, [int(run.step + stride) for _, run in due]

    def compare(
        self, known: Callable[[int, Sequence[tuple[S, TrialRun]]], Mapping[int, LearningCurve]]
    ) -> list[tuple[S, TrialResult]]:
        """Drop the trials that are behind, by the heat's rules, at the full looks just made.

        known -- of a step, and the trials that were looked at there: the curves of the study's
                 other trials that have been looked at there, by number of their slots

        Returns the trials that ended; they are no longer live. One that has passed the goal stays.
        """
        over: dict[int, TrialResult] = {}
        for step in sorted({run.step for _, run in self._looked if self._dropping}):
            here = [(slot, run) for slot, run in self._looked if run.step == step]
            mine = {slot.number: curve_of(run.looks) for slot, run in here}
            curves = {**known(step, here), **mine}
            for rule in self._dropping:
                reasons = rule.dropped(curves, self.cap)
                for slot, run in here:
                    if slot.number in reasons and slot.number not in over:
                        over[slot.number] = _ending(run, Outcome.DROPPED, reasons[slot.number])
        self._looked = []
        ended = [(slot, over[slot.number]) for slot, _ in self.live if slot.number in over]
        self.live = [(slot, run) for slot, run in self.live if slot.number not in over]
        return ended

    def _beaten(self, slot: S, run: TrialRun) -> bool:
        return self.cap is not None and run.step >= self.cap and slot.number not in self._goes_on

    def _why_capped(self) -> str:
        if self._finishers == 1:
            return f"another trial reached the goal in {self.cap} steps"
        return f"{self._finishers} other trials reached the goal in at most {self.cap} steps"

    def _next_step(self, step: int) -> float:
        index = bisect_right(self.grid, step)
        return self.grid[index] if index < len(self.grid) else float("inf")

    def _attempt(
        self, due: Sequence[tuple[S, TrialRun]], targets: Sequence[int], stop: Event
    ) -> dict[int, TrialResult]:
        """Advance these and look at those that come to an evaluated step, even if `stop` is set
        meanwhile: a look that was left out would never be made. Which end, by number of the
        slot."""
        ended: dict[int, TrialResult] = {}
        arrived: list[tuple[S, TrialRun]] = []
        moved = self.engine.advance([run for _, run in due], targets, stop)
        for (slot, run), there in zip(due, moved, strict=True):
            if isinstance(there, Failed):
                ended[slot.number] = _ending(run, Outcome.FAILED, there.reason)
            elif there and self._next_step(run.step - 1) == run.step:
                arrived.append((slot, run))
        places = {step: self._place(step) for step in {run.step for _, run in arrived}}
        finite = are_finite([run for _, run in arrived])
        going_on = [one for one, fine in zip(arrived, finite, strict=True) if fine]
        found = self._looks(going_on, places)
        for (slot, run), fine in zip(arrived, finite, strict=True):
            place, seen = places[run.step], found.get(slot.number)
            ending = attempt(partial(self._judged, slot, run, place, seen, finite=fine))
            if isinstance(ending, Failed):
                ending = _ending(run, Outcome.FAILED, ending.reason)
            if ending is not None:
                ended[slot.number] = ending
            elif places[run.step].rung and run.passage is None:
                self._looked.append((slot, run))
        return ended

    def _place(self, step: int) -> "_Place":
        index = bisect_right(self.grid, step) - 1
        previous = self.grid[index - 1] if index else 0
        rung = self.workload.grid.is_look(step, previous)
        return _Place(previous, rung, last=index == len(self.grid) - 1)

    def _looks(
        self, arrived: Sequence[tuple[S, TrialRun]], places: Mapping[int, "_Place"]
    ) -> dict[int, GoalCheck | Failed]:
        """What is seen of those that are looked at, by number of the slot."""
        looked: tuple[list[tuple[S, TrialRun]], ...] = ([], [])  # in part, and in full
        for slot, run in arrived:
            full = places[run.step].full(run)
            if full or run.passage is None:
                looked[full].append((slot, run))
        found: dict[int, GoalCheck | Failed] = {}
        for full in (False, True):
            if looked[full]:
                with timed_as("evaluation"):
                    seen = self.engine.look([run for _, run in looked[full]], full=full)
                numbers = [slot.number for slot, _ in looked[full]]
                found |= dict(zip(numbers, seen, strict=True))
        return found

    def _judged(
        self,
        slot: S,
        run: TrialRun,
        place: "_Place",
        found: GoalCheck | Failed | None,
        *,
        finite: bool,
    ) -> TrialResult | None:
        """The ending of a run that has been looked at, if this is where it ends."""
        if isinstance(found, Failed):
            return _ending(run, Outcome.FAILED, found.reason)
        if not finite:
            return self._over(run, Outcome.DIVERGED, f"training loss not finite by step {run.step}")
        full = place.full(run)
        if run.passage is None and found is not None and found.value is not None and found.passed:
            passage = self._pass(slot, run, place.previous, found.value)
            if slot.number not in self._goes_on:
                return _reached(run, passage, f"{self.workload.goal} at step {passage.step}")
        if full:
            rules, goal = self.workload.stopping, self.workload.goal
            verdict = judge(run.looks, run.untrained_loss, rules, goal)
            if verdict is not None and (run.passage is None or verdict[0] == Outcome.DIVERGED):
                return self._over(run, *verdict)
        if place.last:
            return self._over(run, Outcome.EXHAUSTED, f"step budget of {run.step} spent")
        return None

    def _pass(self, slot: S, run: TrialRun, previous: int, metric: float) -> GoalCrossing:
        run.passage = passage = GoalCrossing(run.step, previous, metric, run.test_metric())
        insort(self._to_target, run.step)
        if 0 < self._finishers <= len(self._to_target):
            self.lower_cap(self._to_target[self._finishers - 1])
        if slot.number not in self._goes_on:
            if self._passed < self._continuing:
                self._goes_on.add(slot.number)
            self._passed += 1
        return passage

    def _over(self, run: TrialRun, outcome: Outcome, reason: str) -> TrialResult:
        """The ending by a rule; of a trial that has passed the goal it is still `reached`."""
        passage = run.passage
        if passage is None:
            return _ending(run, outcome, reason)
        reason = f"{self.workload.goal} at step {passage.step}, and then: {reason}"
        return _reached(run, passage, reason)


def _ending(run: TrialRun, outcome: Outcome, reason: str) -> TrialResult:
    last = run.looks[-1] if run.looks else None
    return TrialResult(
        outcome,
        reason,
        run.step,
        tuple(run.looks),
        metric=last.metric if last else None,
        metric_step=last.step if last else None,
        micro_batch=run.passes.micro_batch(run.batch_size),
        cost=run.spent,
        engine=" and ".join(sorted(run.engines)) or None,
    )


def _reached(run: TrialRun, passage: GoalCrossing, reason: str) -> TrialResult:
    return replace(
        _ending(run, Outcome.REACHED, reason),
        steps_to_target=passage.step,
        steps_lower=passage.lower,
        metric=passage.metric,
        metric_step=passage.step,
        test_metric=passage.test_metric,
    )
