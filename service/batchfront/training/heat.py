"""A heat: trials of one study that race over their evaluated steps."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Event
from typing import Generic, Protocol, TypeVar

from batchfront.outcomes import GoalCrossing, LearningCurve, TrialResult, cap
from batchfront.phase_timer import timed_as
from batchfront.training.early_dropping import DroppingRule, curve_of
from batchfront.training.engines import Engine, Failed, Sequential, attempt
from batchfront.training.run import GoalCheck, Run
from batchfront.training.sparse_evaluation import SparseEvaluation
from batchfront.training.stopping import judge
from batchfront.vocabulary import Outcome
from batchfront.workload.goal import Goal
from batchfront.workload.stopping_rules import StoppingRules


@dataclass(frozen=True)
class RaceRules:
    """What trials race to, and what ends those that don't get there.

    finishers  -- the race goes on until so many trials of the study have passed the goal; 0: no
                  trial is capped
    continuing -- of the study's trials that pass, the first so many go on to the step budget
    dropping   -- rules by which `Heat.compare` drops trials that are behind
    lockstep   -- the least advanced come first; otherwise all go on, wherever each of them is
    sparse     -- evaluations are left out where a trial is far from the goal: see
                  `SparseEvaluation`
    """

    goal: Goal
    stopping: StoppingRules
    finishers: int = 1
    continuing: int = 0
    dropping: Sequence[DroppingRule] = ()
    lockstep: bool = True
    sparse: bool = False


class Numbered(Protocol):
    """What a heat needs to know of the slot that a run belongs to."""

    @property
    def number(self) -> int: ...


S = TypeVar("S", bound=Numbered)
R = TypeVar("R", bound=Run)

Found = GoalCheck | Failed | None
"""What an evaluation shows; None where a run is not evaluated."""


class Heat(Generic[S, R]):
    """Runs of one study with the slots they fill: call `round` after `round` until none is live.

    engine  -- what computes them: one after another, unless it is told otherwise
    crossed -- called of each run that passes the goal, as it stands there; None: nothing is

    A heat counts its own trials that pass; of those in other heats it is told (`lower_cap`,
    `count_passed`). Told late, it caps a trial late, and lets one more go on: never one too few.
    """

    def __init__(
        self,
        rules: RaceRules,
        runs: Iterable[tuple[S, R]] = (),
        *,
        engine: Engine[R] | None = None,
        crossed: Callable[[S, R], None] | None = None,
    ) -> None:
        self.rules, self._crossed = rules, crossed
        self.live: list[tuple[S, R]] = list(runs)
        self.engine: Engine[R] = Sequential() if engine is None else engine
        self.cap: int | None = None
        self._passed = 0  # trials of the study, as far as known here
        self._to_target: list[int] = []  # steps of this heat's trials
        self._continuing: set[int] = set()  # past the goal, by number of the slot
        self._evaluated: list[tuple[S, R]] = []  # in full, in the last round
        self._sparse = SparseEvaluation(rules.goal)
        # Of runs that wait for others to be trained again, by number of the slot: what has been
        # found where they wait, and the step that the others went back to.
        self._found: dict[int, Found] = {}
        self._ahead_of: dict[int, int] = {}

    def lower_cap(self, cap: int | None) -> None:
        """Take note that so many trials as there are to be finishers, in whatever heats, have
        passed the goal in at most `cap` steps."""
        if cap is not None and (self.cap is None or cap < self.cap):
            self.cap = self._sparse.cap = cap

    def count_passed(self, passed: int) -> None:
        """Take note that so many trials of the study have passed the goal, in whatever heats."""
        self._passed = max(self._passed, passed)

    def let_go_on(self, slot: S) -> None:
        """Take note that a trial is one that passed the goal before, and goes on."""
        self._continuing.add(slot.number)

    def round(self, stop: Event) -> list[tuple[S, TrialResult]]:
        """Bring the least advanced trials to the first step at which one of them is evaluated next,
        and evaluate those that are. Where they are not in lockstep, all advance by as many steps as
        the first of them has to its next one.

        Returns the trials that ended; they are no longer live. A trial that passes the goal caps
        the others only once all have been evaluated at the same step: whoever draws level has
        reached the goal too. One that may have passed it earlier, where its evaluations were left
        out, goes back, and the others wait for it where they are. If `stop` is set, trials stay
        where they are, to be saved.
        """
        self._evaluated = []
        due, targets = self._due()
        ended = self._advance(due, targets, stop) if due else {}
        for slot, run in self.live:
            if slot.number not in ended and self._beaten(slot, run):
                ended[slot.number] = self._capped(slot, run)
            elif slot.number not in ended and self._sparse.next(run) is None:
                ended[slot.number] = self._exhausted(run)
        return self._end(ended)

    def compare(
        self, known: Callable[[int, Sequence[tuple[S, R]]], Mapping[int, LearningCurve]]
    ) -> list[tuple[S, TrialResult]]:
        """Drop the trials that are behind, by the heat's rules, at the full evaluations just made.

        known -- of a step, and the trials that were evaluated there: the curves of the study's
                 other trials that have been evaluated there, by number of their slots

        Returns the trials that ended; they are no longer live. One that has passed the goal stays.
        """
        dropping = self.rules.dropping
        ended: dict[int, TrialResult] = {}
        for step in sorted({run.step for _, run in self._evaluated if dropping}):
            here = [(slot, run) for slot, run in self._evaluated if run.step == step]
            mine = {slot.number: curve_of(run.evaluations) for slot, run in here}
            curves = {**known(step, here), **mine}
            for rule in dropping:
                reasons = rule.dropped(curves, self.cap)
                for slot, run in here:
                    if slot.number in reasons and slot.number not in ended:
                        ended[slot.number] = _result(run, Outcome.DROPPED, reasons[slot.number])
        self._evaluated = []
        return self._end(ended)

    def _end(self, results: Mapping[int, TrialResult]) -> list[tuple[S, TrialResult]]:
        """Take the trials with a result, by number of the slot, out of the live ones."""
        ended = []
        for slot, run in self.live:
            if slot.number in results:
                run.close()
                ended.append((slot, results[slot.number]))
        self.live = [(slot, run) for slot, run in self.live if slot.number not in results]
        return ended

    def _due(self) -> tuple[list[tuple[S, R]], list[int]]:
        """The trials that advance now, and the steps that they are brought to."""
        following = [
            (slot, run, step)
            for slot, run in self.live
            if (step := self._sparse.next(run)) is not None
        ]
        lockstep = self.rules.lockstep
        behind = min((run.step for _, run, _ in following), default=0)
        due = [
            (slot, run, step)
            for slot, run, step in following
            if (run.step == behind or not lockstep) and not self._beaten(slot, run)
        ]
        if lockstep:
            ahead = [run.step for _, run, _ in following if run.step > behind]
            nearest = min([*ahead, *(step for _, _, step in due)], default=0)
            return [(slot, run) for slot, run, _ in due], [nearest] * len(due)
        stride = min((step - run.step for _, run, step in due), default=0)
        return [(slot, run) for slot, run, _ in due], [run.step + stride for _, run, _ in due]

    def _beaten(self, slot: S, run: R) -> bool:
        if self.cap is None or run.step < self.cap or slot.number in self._continuing:
            return False
        if slot.number in self._found:  # whoever draws level has reached the goal too
            return run.step > self.cap
        return not self._sparse.is_open(run)

    def _capped(self, slot: S, run: R) -> TrialResult:
        """The result of a run that is beaten: as it was at the cap, if others were behind it that
        were trained again."""
        result = _result(run, Outcome.CAPPED, self._why_capped())
        back = self._ahead_of.get(slot.number)
        return result if back is None else _as_of(result, max(self.cap or 0, back))

    def _why_capped(self) -> str:
        if self.rules.finishers == 1:
            return f"another trial reached the goal in {self.cap} steps"
        others = f"{self.rules.finishers} other trials"
        return f"{others} reached the goal in at most {self.cap} steps"

    def _advance(
        self, due: Sequence[tuple[S, R]], targets: Sequence[int], stop: Event
    ) -> dict[int, TrialResult]:
        """Advance these and evaluate those that come to an evaluated step, even if `stop` is set
        meanwhile: an evaluation that was left out would never be made. Returns the results of those
        that end, by number of the slot."""
        ended: dict[int, TrialResult] = {}
        arrived = self._arrived(due, targets, stop, ended)
        finite, checks = self._evaluated_at(arrived)
        passed = (isinstance(check, GoalCheck) and check.passed for check in checks.values())
        if self.rules.sparse and any(passed):
            arrived = self._with_open(arrived)
            finite, checks = self._evaluated_at(arrived, checks)
        back = self._sent_back(arrived, finite, checks)
        if back and self.rules.lockstep:
            self._wait([(slot, run) for slot, run in arrived if run not in back], back, checks)
            return ended
        for (slot, run), fine in zip(arrived, finite, strict=True):
            if run in back:
                continue
            check = checks.get(slot.number)
            result = attempt(partial(self._judge, slot, run, check, finite=fine))
            if isinstance(result, Failed):
                result = _result(run, Outcome.FAILED, result.reason)
            if result is not None:
                ended[slot.number] = result
            elif run.goal_crossing is None and run.evaluation_steps.is_full(run.step):
                self._evaluated.append((slot, run))
            self._sparse.note_judged(run)
        return ended

    def _arrived(
        self,
        due: Sequence[tuple[S, R]],
        targets: Sequence[int],
        stop: Event,
        ended: dict[int, TrialResult],
    ) -> list[tuple[S, R]]:
        """Advance these. Returns those to be evaluated where they have come to, with those that
        have waited there for them; the results of those that failed come to `ended`."""
        if self.rules.sparse:
            self._sparse.begin(run for _, run in due)
        before = [run.step for _, run in due]
        moved = self.engine.advance([run for _, run in due], targets, stop)
        came_to: dict[int, int] = {}  # steps, by number of the slot
        for (slot, run), came, step in zip(due, moved, before, strict=True):
            if run.step > step:
                self._ahead_of.pop(slot.number, None)
            if isinstance(came, Failed):
                ended[slot.number] = _result(run, Outcome.FAILED, came.reason)
            elif came:
                came_to[slot.number] = run.step
        steps = set(came_to.values())
        return [
            (slot, run)
            for slot, run in self.live
            if run.step in steps
            and slot.number not in ended
            and self._sparse.is_evaluated(run, moved=slot.number in came_to)
        ]

    def _with_open(self, arrived: Sequence[tuple[S, R]]) -> list[tuple[S, R]]:
        """These, one of which has passed the goal, and those that stand where they do and may have
        passed it before, where it was left out to evaluate them."""
        numbers, steps = {slot.number for slot, _ in arrived}, {run.step for _, run in arrived}
        return [
            (slot, run)
            for slot, run in self.live
            if slot.number in numbers
            or (run.step in steps and self._sparse.is_sparse(run) and self._sparse.is_open(run))
        ]

    def _evaluated_at(
        self, arrived: Sequence[tuple[S, R]], known: Mapping[int, Found] | None = None
    ) -> tuple[list[bool], dict[int, Found]]:
        """Whether the losses of each are finite, and what is found of those of which they are, by
        number of the slot.

        known -- what has been found already
        """
        finite = self.engine.finite([run for _, run in arrived])
        fine = [one for one, so in zip(arrived, finite, strict=True) if so]
        return finite, self._evaluate(fine, self._found if known is None else known)

    def _evaluate(
        self, arrived: Sequence[tuple[S, R]], known: Mapping[int, Found]
    ) -> dict[int, Found]:
        """What is found of those that are evaluated, or is known, by number of the slot."""
        found = {s.number: known[s.number] for s, _ in arrived if s.number in known}
        for full in (False, True):
            evaluated = [
                (slot, run)
                for slot, run in arrived
                if slot.number not in found
                and (_in_full(run) or self._sparse.is_sparse(run)) == full
                and (full or run.goal_crossing is None)
            ]
            if evaluated:
                with timed_as("evaluation"):
                    checks = self.engine.evaluate([run for _, run in evaluated], full=full)
                numbers = [slot.number for slot, _ in evaluated]
                found |= dict(zip(numbers, checks, strict=True))
        return found

    def _sent_back(
        self,
        arrived: Sequence[tuple[S, R]],
        finite: Sequence[bool],
        checks: Mapping[int, Found],
    ) -> list[R]:
        """Have those go back that may have passed the goal, or diverged, where it was left out to
        evaluate them. Returns them."""
        for slot, _ in arrived:
            self._found.pop(slot.number, None)
        return [
            run
            for (slot, run), fine in zip(arrived, finite, strict=True)
            if self._sparse.go_back(run, checks.get(slot.number), finite=fine)
        ]

    def _wait(
        self,
        arrived: Sequence[tuple[S, R]],
        back: Sequence[R],
        checks: Mapping[int, Found],
    ) -> None:
        """Have all others wait, with what has been found of those that have arrived, until those
        that went back have come up again: whoever passes the goal on the way caps them there."""
        behind = min(run.step for run in back)
        self._found |= {slot.number: checks.get(slot.number) for slot, _ in arrived}
        for slot, run in self.live:
            if run.step > behind:
                self._ahead_of.setdefault(slot.number, behind)

    def _judge(self, slot: S, run: R, check: Found, *, finite: bool) -> TrialResult | None:
        """The result of a run that has been evaluated, if this is where it ends."""
        if isinstance(check, Failed):
            return _result(run, Outcome.FAILED, check.reason)
        if not finite:
            return self._over(run, Outcome.DIVERGED, f"training loss not finite by step {run.step}")
        full, goal = _in_full(run), self.rules.goal
        if run.goal_crossing is None and check is not None and check.passed:
            crossing = self._cross(slot, run, check)
            if slot.number not in self._continuing:
                return _reached(run, crossing, f"{goal} at step {crossing.step}")
        if full:
            verdict = judge(run.evaluations, run.untrained_loss, self.rules.stopping, goal)
            if verdict is not None and (
                run.goal_crossing is None or verdict[0] == Outcome.DIVERGED
            ):
                return self._over(run, *verdict)
        return self._exhausted(run) if run.evaluation_steps.after(run.step) is None else None

    def _cross(self, slot: S, run: R, check: GoalCheck) -> GoalCrossing:
        """Take note that a run has passed the goal here."""
        assert check.value is not None  # only the whole split can say so
        previous = run.evaluation_steps.before(run.step)
        run.goal_crossing = crossing = GoalCrossing(
            run.step, previous, check.value, run.test_metric(), check.measures
        )
        self._sparse.forget(run)
        self._to_target.append(run.step)
        self.lower_cap(cap(self._to_target, self.rules.finishers))
        if slot.number not in self._continuing:
            if self._passed < self.rules.continuing:
                self._continuing.add(slot.number)
            self._passed += 1
        if self._crossed is not None:
            self._crossed(slot, run)
        return crossing

    def _exhausted(self, run: R) -> TrialResult:
        return self._over(run, Outcome.EXHAUSTED, run.evaluation_steps.spent(run.step))

    def _over(self, run: R, outcome: Outcome, reason: str) -> TrialResult:
        """The result by a rule: of a trial that has passed the goal it is still `reached`."""
        crossing = run.goal_crossing
        if crossing is None:
            return _result(run, outcome, reason)
        reason = f"{self.rules.goal} at step {crossing.step}, and then: {reason}"
        return _reached(run, crossing, reason)


def _in_full(run: Run) -> bool:
    """Whether a run is evaluated in full at its step. One that has passed the goal is evaluated for
    its curve alone: where others are in full, and at last."""
    steps, step = run.evaluation_steps, run.step
    last = run.goal_crossing is not None and steps.after(step) is None
    return last or steps.is_full(step)


def _result(run: Run, outcome: Outcome, reason: str) -> TrialResult:
    last = run.evaluations[-1] if run.evaluations else None
    return TrialResult(
        outcome,
        reason,
        run.step,
        tuple(run.evaluations),
        metric=last.metric if last else None,
        metric_step=last.step if last else None,
        micro_batch=run.micro_batch,
        cost=run.cost,
        engine=run.engine,
    )


def _as_of(result: TrialResult, step: int) -> TrialResult:
    """The result of a trial that was to end at an earlier step than it did."""
    evaluations = tuple(one for one in result.evaluations if one.step <= step)
    last = evaluations[-1] if evaluations else None
    return replace(
        result,
        steps=min(result.steps, step),
        evaluations=evaluations,
        metric=last.metric if last else None,
        metric_step=last.step if last else None,
    )


def _reached(run: Run, crossing: GoalCrossing, reason: str) -> TrialResult:
    return replace(
        _result(run, Outcome.REACHED, reason),
        steps_to_target=crossing.step,
        steps_lower=crossing.lower,
        metric=crossing.metric,
        metric_step=crossing.step,
        test_metric=crossing.test_metric,
        measures=crossing.measures,
    )
