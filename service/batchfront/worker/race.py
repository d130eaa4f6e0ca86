"""One heat raced to its end: leases, race state, hand-overs and checkpoints around the training."""

import logging
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from time import monotonic
from typing import Generic, TypeVar

from batchfront.errors import Unreachable
from batchfront.ledger.ledger import ATTEMPTS, Held, Ledger, RaceState
from batchfront.outcomes import Evaluation, LearningCurve, TrialResult
from batchfront.phase_timer import timed_as
from batchfront.phrases import first_few
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.training.early_dropping import rules
from batchfront.training.engines import Engine, failure
from batchfront.training.heat import Heat, RaceRules
from batchfront.training.memory import is_lost_device, is_out_of_memory, release
from batchfront.training.run import Run, RunFactory
from batchfront.vocabulary import Outcome, Phase, Schedule
from batchfront.worker.backfill import Backfill
from batchfront.worker.checkpoint_policy import HeatCheckpoints, Kept
from batchfront.worker.heartbeat import Heartbeat
from batchfront.worker.kept_winner import KeptWinner
from batchfront.worker.pace import Pace
from batchfront.worker.step_budget import StepBudget

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Run)

STRETCH = 1.5
"""A heat is released when it is this many times as far as trials that nobody could take yet. What
is trained past the winner's step is then, at worst, half as much again."""


class Race(Generic[R]):
    """One heat from its start to the end of its last trial, to the stop, or to a release.

    factory     -- what the trials' runs come from
    engine      -- what computes them: one after another, unless it is told otherwise
    kept        -- where interrupted ones are kept; None: they start again
    backfill    -- claims further trials in the places of those that have ended, if it may
    winner      -- keeps the weights of the study's best trial; None: nobody's are kept
    pace        -- how often training stops for something else
    budget      -- the steps that the worker may take
    after_round -- called after each round of the heat
    """

    def __init__(
        self,
        ledger: Ledger,
        study: Study,
        factory: RunFactory[R],
        *,
        heartbeat: Heartbeat,
        stop: Event,
        engine: Engine[R] | None = None,
        kept: Kept | None = None,
        backfill: Backfill | None = None,
        winner: KeptWinner | None = None,
        pace: Pace | None = None,
        budget: StepBudget | None = None,
        after_round: Callable[[], None] | None = None,
    ) -> None:
        self.ledger, self.study, self.factory = ledger, study, factory
        self.heartbeat, self.stop = heartbeat, stop
        self._pace = Pace() if pace is None else pace
        self._backfill, self._after_round, self._budget = backfill, after_round, budget
        self._winner = winner
        self.heat: Heat[Slot, R] = Heat(
            race_rules(study, factory),
            engine=engine,
            crossed=None if winner is None else winner.crossed,
        )
        self.checkpoints = HeatCheckpoints(study, kept, factory.versions, stop, self._pace)
        heartbeat.watch(self._shown, study, factory.goal.metric.better)
        self._recorded: set[int] = set()  # ids of slots whose goal crossing the ledger has

    def run(self, slots: Sequence[Slot]) -> None:
        """Race the slots, which are started and leased, until none is live or `stop` is set."""
        self.heartbeat.hold({s.id: (s.fence, s.steps) for s in slots})
        if self._backfill is not None:
            self._backfill.begin(slots)
        try:
            self._run(slots)
        except Unreachable:
            # Given up on the database, but not on the work: whoever is next goes on from here.
            self.checkpoints.save(self.heat.live)
            raise
        finally:
            for _, run in self.heat.live:
                run.close()
            self.checkpoints.close()
        self._record_checkpoints()

    def _run(self, slots: Sequence[Slot]) -> None:
        began = monotonic()
        self.enter(slots)
        entered = shared = monotonic()
        self.checkpoints.begin()
        stretch = max(self._pace.kept_whole, (entered - began) / self._pace.set_up_share)
        answered = 0
        self.poll()
        self._fill()
        while self.heat.live:
            self.turn()
            if self.stop.is_set():
                self.release_all()
                return
            state, now = self.latest(), monotonic()
            if now - entered > stretch and self._ahead(state):
                self._hand_over(self.heat.live)
                entered = monotonic()  # what couldn't be saved goes on
            if state.share and state.at > answered and now - shared > self._pace.kept_whole:
                self._share()
                shared, answered = monotonic(), state.at
            if self._fill():
                entered = monotonic()
            self._record_checkpoints()
            self.checkpoints.write_due(self.heat.live)

    def turn(self) -> list[tuple[Slot, TrialResult]]:
        """Do a round of the heat, and write what ended in it. Returns the results that stand: those
        of slots that were still this worker's, and that nobody tries again."""
        self._hold()
        before = sum(run.step for _, run in self.heat.live)
        with timed_as("training"):  # in which evaluations and data are parts of their own
            ended = self.heat.round(self.stop)
        if self._budget is not None:
            at = [run.step for _, run in self.heat.live] + [result.steps for _, result in ended]
            self._budget.spend(sum(at) - before)
        written = self._record(ended)
        # Before anything is released: at each evaluation a trial is compared once.
        written += self._record(self.heat.compare(self._known))
        if self._after_round is not None:
            self._after_round()
        if self._record_crossings() or any(
            result.outcome == Outcome.REACHED for _, result in ended
        ):
            self.poll()
        if self._winner is not None:
            self._winner.settle()
        return written

    def _fill(self) -> bool:
        """Take on further trials of the study where there is room. Returns whether any came."""
        if self._backfill is None or not self.heat.live or self.stop.is_set():
            return False
        self._backfill.follow(self.heartbeat.race_state)
        found = self._backfill.claim(self._held(), self.factory.room)
        self.enter(found)
        return bool(found)

    @timed_as("set-up")
    def enter(self, slots: Sequence[Slot]) -> None:
        """Make the slots' runs, from their checkpoints where there are any."""
        broken: list[tuple[Slot, TrialResult]] = []
        for index, slot in enumerate(slots):
            if self.stop.is_set():
                self._leave_out(slots[index:])
                break
            full = None
            try:
                seed = self.study.trial_seed(slot.number)
                values = slot.params or {}
                run = self.factory.run(self.study.batch_size, values, seed, number=slot.number)
                self.checkpoints.restore(slot, run)
                if slot.steps_to_target is not None or run.goal_crossing is not None:
                    self.heat.let_go_on(slot)
                self.heat.live.append((slot, run))
            except Exception as error:
                if is_lost_device(error):
                    raise
                if is_out_of_memory(error) and self.heat.live:
                    full = failure(error).splitlines()[0]
                else:
                    broken.append((slot, TrialResult(Outcome.FAILED, failure(error), slot.steps)))
            if full is not None:  # not before: the error keeps hold of what was being made
                release()
                self.factory.room = room = len(self.heat.live)
                log.warning("%s: room for %d trials at once (%s)", self.study.name, room, full)
                self._leave_out(slots[index:])
                break
        self._record(broken)

    def _leave_out(self, slots: Sequence[Slot]) -> None:
        """Trials that have not begun here wait for another claim."""
        self._hold()
        self.ledger.release([(slot, slot.steps) for slot in slots])

    def _held(self) -> Held:
        return {slot.id: (slot.fence, run.step) for slot, run in self.heat.live}

    def _hold(self) -> None:
        self.heartbeat.hold(self._held())

    def _record(self, ended: Sequence[tuple[Slot, TrialResult]]) -> list[tuple[Slot, TrialResult]]:
        """Write results. A failed trial is released instead while it has attempts left. Returns
        those that have been written."""
        if not ended:
            return []
        self._hold()  # without the ended ones, which are about to be no longer ours
        self.checkpoints.give_up([slot for slot, _ in ended])
        again = [s for s, r in ended if r.outcome == Outcome.FAILED and s.attempts < ATTEMPTS]
        final = [(s, r) for s, r in ended if s not in again]
        for slot, result in ended:
            if result.outcome == Outcome.FAILED:
                log.warning(
                    "%s trial %d failed (attempt %d of %d): %s",
                    self.study.name,
                    slot.number,
                    slot.attempts,
                    ATTEMPTS,
                    result.reason.splitlines()[0],
                    extra={"trial": slot.number},
                )
        lost = self.ledger.finish(self.study, final) if final else []
        self._say_lost(lost)
        # First: once a slot is free, its next worker may have written a file of its own.
        mine = [slot for slot, _ in ended if slot not in lost]
        self.checkpoints.drop([slot for slot in mine if self.checkpoints.may_exist(slot)])
        self.ledger.release([(slot, 0) for slot in again], failed=True)
        return [(slot, result) for slot, result in final if slot not in lost]

    def _shown(self) -> list[tuple[Slot, Sequence[Evaluation]]]:
        """What the trials in hand have shown so far, for any thread."""
        return [(slot, run.evaluations) for slot, run in self.heat.live]

    def _known(self, step: int, evaluated: Sequence[tuple[Slot, R]]) -> Mapping[int, LearningCurve]:
        shown = [(slot, run.evaluations) for slot, run in evaluated]
        return self.ledger.record_evaluations(self.study, step, shown)

    def _record_crossings(self) -> bool:
        """Write where trials that go on have crossed the goal. Returns whether any had."""
        crossings = [
            (slot, run.goal_crossing)
            for slot, run in self.heat.live
            if run.goal_crossing is not None and slot.id not in self._recorded
        ]
        self.ledger.record_crossings(crossings)
        self._recorded |= {slot.id for slot, _ in crossings}
        return bool(crossings)

    def poll(self) -> None:
        """Learn at once how the race stands, which the next heartbeat may tell seconds later."""
        state = self.ledger.tries(lambda: self.ledger.poll(self.study.id, {}))
        self._apply(state)
        if self._backfill is not None:
            self._backfill.note(state)

    def _apply(self, state: RaceState) -> None:
        self.heat.lower_cap(state.cap)
        self.heat.count_passed(state.passed)

    def latest(self) -> RaceState:
        """What the heartbeat has learned last."""
        state = self.heartbeat.race_state
        self._apply(state)
        if state.lost:
            lost = [slot for slot, _ in self.heat.live if slot.id in state.lost]
            self._say_lost(lost)
            self.checkpoints.give_up(lost)
            self._close(lost)
        return state

    def _say_lost(self, slots: Sequence[Slot]) -> None:
        if slots:
            trials = first_few([f"trial {slot.number}" for slot in slots])
            lost = "given up here, as another worker has it, it was deleted or its start lost"
            log.warning("%s: %s: %s", self.study.name, lost, trials)

    def _ahead(self, state: RaceState) -> bool:
        """Whether trials that nobody holds are so far behind that it is their turn."""
        one_by_one = self.study.schedule == Schedule.ONE_BY_ONE
        if state.behind is None or not self.checkpoints or one_by_one:
            return False
        return all(run.step >= STRETCH * state.behind for _, run in self.heat.live)

    def _share(self) -> None:
        """Hand every second trial of the heat over to whoever is idle."""
        self._hand_over(self.heat.live[1::2])

    def _hand_over(self, runs: Sequence[tuple[Slot, R]]) -> None:
        """Release trials to whoever claims them, but for those that can't be saved: they would lose
        what they have got done, again and again where no checkpoint can be written."""
        if self._backfill is not None:
            self._backfill.end()
        saved = self.checkpoints.save(runs)
        self._close(saved)
        self._release(saved)

    def _close(self, slots: Sequence[Slot]) -> None:
        """Trials that go on elsewhere, if at all."""
        for slot, run in self.heat.live:
            if slot in slots:
                run.close()
        self.heat.live = [(slot, run) for slot, run in self.heat.live if slot not in slots]

    def release_all(self) -> None:
        """Save what can be saved, and release it all: this worker has been told to stop."""
        self.ledger.enter_phase(Phase.SAVING)
        self.checkpoints.save(self.heat.live)
        released = [slot for slot, _ in self.heat.live]
        self._close(released)
        self._release(released)

    def _release(self, slots: Sequence[Slot]) -> None:
        self._hold()
        self.ledger.release([(slot, self.checkpoints.step(slot)) for slot in slots])
        self.checkpoints.drop(self.ledger.ended(slots))

    def _record_checkpoints(self) -> None:
        """Write of which trials checkpoints have been written meanwhile."""
        written = self.checkpoints.take_written()
        if written:
            self.ledger.record_checkpoints(written)
            self.checkpoints.drop(self.ledger.ended([slot for slot, _ in written]))


def race_rules(study: Study, factory: RunFactory[Run]) -> RaceRules:
    """What a study's trials race to, and what ends those that don't get there."""
    options = {"halving": study.halving, "extrapolate": study.extrapolate}
    return RaceRules(
        factory.goal,
        factory.stopping,
        finishers=study.finishers,
        continuing=study.continuing,
        dropping=rules(factory.goal, study.finishers, **options),
        lockstep=study.schedule == Schedule.RACE,
        sparse=study.sparse,
    )
