"""One heat raced to its end: leases, news, hand-outs and checkpoints around the training."""

import json
import logging
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from threading import Event
from time import monotonic

from batchfront.errors import Unreachable
from batchfront.ledger.claims import ATTEMPTS
from batchfront.ledger.ledger import Ledger
from batchfront.ledger.race_state import Held, RaceState
from batchfront.outcomes import LearningCurve, TrialResult
from batchfront.phase_timer import timed_as
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.training.checkpoint_writer import Background
from batchfront.training.checkpoints import Checkpoints
from batchfront.training.early_dropping import rules
from batchfront.training.engines import Engine, failure
from batchfront.training.heat import Heat
from batchfront.training.memory import is_lost_device, is_out_of_memory, release
from batchfront.training.trial import TrialRun
from batchfront.vocabulary import Outcome, Schedule
from batchfront.worker.backfill import Refill
from batchfront.worker.checkpoint_policy import Keeping
from batchfront.worker.heartbeat import LeaseKeeper
from batchfront.worker.microbatch_sizes import PassSizes
from batchfront.worker.pace import Pace
from batchfront.worker.setup import Bench

log = logging.getLogger(__name__)


STRETCH = 1.5
"""A heat is handed back when it is this many times as far as trials that nobody could take yet.
What is trained past the winner's step is then, at worst, half as much again."""


_SAVING_SECONDS = 6.0  # when told to stop: what isn't saved by then has its last checkpoint


class Race:
    """One heat from its start to the end of its last trial, to the stop, or to a hand-back."""

    def __init__(
        self,
        ledger: Ledger,
        study: Study,
        bench: Bench,
        keeper: LeaseKeeper,
        checkpoints: Checkpoints | None,
        stop: Event,
        sizes: PassSizes | None = None,
        engine: Engine | None = None,
        refill: Refill | None = None,
        pace: Pace = Pace(),  # noqa: B008 -- it is frozen
    ) -> None:
        self._sizes, self._refill, self._pace = sizes, refill, pace
        self.ledger, self.study, self.bench = ledger, study, bench
        self.keeper, self.checkpoints, self.stop = keeper, checkpoints, stop
        options = {"halving": study.halving, "extrapolate": study.extrapolate}
        dropping = rules(bench.workload.goal, study.finishers, **options)
        race = (study.finishers, study.continuing, engine, dropping)
        lockstep = study.schedule == Schedule.RACE
        self.heat: Heat[Slot] = Heat(bench.workload, study.batch_size, [], *race, lockstep=lockstep)
        self.background: Background[Slot] | None = None
        if checkpoints is not None:
            self.background = Background(checkpoints)
        self._kept: dict[int, int] = {}  # slot id to the step of its checkpoint
        self._whole: list[tuple[Slot, int]] = []  # of which that is to be told to the ledger
        self._marked: set[int] = set()  # ids of slots of which it is written that they go on

    def run(self, slots: Sequence[Slot]) -> None:
        """Race the slots, which are started and leased, until none is live or `stop` is set."""
        self.keeper.hold({s.id: (s.fence, s.steps) for s in slots})
        if self._refill is not None:
            self._refill.begins(slots)
        try:
            self._run(slots)
        except Unreachable:
            # Given up on the database, but not on the work: whoever is next goes on from here.
            self._save(self.heat.live)
            raise
        finally:
            if self.background is not None:
                self.background.close()
        self._count_whole()

    def _run(self, slots: Sequence[Slot]) -> None:
        began = monotonic()
        self._enter(slots)
        entered = shared = monotonic()
        keeping = (
            None if self.background is None else Keeping(self.background, self._tag, self._pace)
        )
        stretch = max(self._pace.kept_whole, (entered - began) / self._pace.set_up_share)
        answered = 0
        self._ask()
        self._fill()
        while self.heat.live:
            self._hold()
            with timed_as("training"):  # in which evaluations and data are parts of their own
                ended = self.heat.round(self.stop)
            self._record(ended)
            # Before anything is handed back: at each look a trial is compared once.
            self._record(self.heat.compare(self._known))
            if self._sizes is not None:
                self._sizes.keep(self.bench.workload, self.bench.passes)
            if self._mark() or any(ending.outcome == Outcome.REACHED for _, ending in ended):
                self._ask()
            if self.stop.is_set():
                self._hand_back_all()
                return
            news, now = self._hear(), monotonic()
            if now - entered > stretch and self._ahead(news):
                self._give(self.heat.live)
                entered = monotonic()  # what couldn't be saved goes on
            if news.share and news.at > answered and now - shared > self._pace.kept_whole:
                self._share()
                shared, answered = monotonic(), news.at
            if self._fill():
                entered = monotonic()
            if keeping is not None:
                self._count_whole()
                keeping.go_on(self.heat.live)

    def _fill(self) -> bool:
        """Take on further trials of the study where there are places for them; whether any came."""
        if self._refill is None or not self.heat.live or self.stop.is_set():
            return False
        self._refill.overhear(self.keeper.news)
        found = self._refill.slots(self._held(), self.bench.room)
        self._enter(found)
        return bool(found)

    @timed_as("set-up")
    def _enter(self, slots: Sequence[Slot]) -> None:
        """Make the slots' runs, from their checkpoints where there are any."""
        broken: list[tuple[Slot, TrialResult]] = []
        for index, slot in enumerate(slots):
            if self.stop.is_set():
                self._leave_out(slots[index:])
                break
            full = None
            try:
                seed = self.study.trial_seed(slot.number)
                run = self.bench.run(self.study.batch_size, slot.params or {}, seed)
                if self._may_be_kept(slot) and self._restore(slot, run):
                    self._kept[slot.id] = run.step
                if slot.steps_to_target is not None or run.passage is not None:
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
                self.bench.room = room = len(self.heat.live)
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
        self.keeper.hold(self._held())

    def _record(self, ended: Sequence[tuple[Slot, TrialResult]]) -> None:
        """Write endings; a failed trial is handed back instead while it has attempts left."""
        if not ended:
            return
        self._hold()  # without the ended ones, which are about to be no longer ours
        self._give_up([slot for slot, _ in ended])
        self._find_whole()
        again = [s for s, e in ended if e.outcome == Outcome.FAILED and s.attempts < ATTEMPTS]
        final = [(s, e) for s, e in ended if s not in again]
        for slot, ending in ended:
            if ending.outcome == Outcome.FAILED:
                log.warning(
                    "%s trial %d failed (attempt %d of %d): %s",
                    self.study.name,
                    slot.number,
                    slot.attempts,
                    ATTEMPTS,
                    ending.reason.splitlines()[0],
                )
        lost = self.ledger.finish(self.study, final) if final else []
        # First: once a slot is free, its next worker may have written a file of its own.
        self._drop([slot for slot, _ in ended if slot not in lost and self._may_be_kept(slot)])
        self.ledger.release([(slot, 0) for slot in again], failed=True)

    def _known(
        self, step: int, looked: Sequence[tuple[Slot, TrialRun]]
    ) -> Mapping[int, LearningCurve]:
        shown = [(slot, run.looks) for slot, run in looked]
        return self.ledger.record_evaluations(self.study, step, shown)

    def _mark(self) -> bool:
        """Write of trials that go on past the goal that they have passed it; whether any had."""
        passages = [
            (slot, run.passage)
            for slot, run in self.heat.live
            if run.passage is not None and slot.id not in self._marked
        ]
        self.ledger.record_crossings(passages)
        self._marked |= {slot.id for slot, _ in passages}
        return bool(passages)

    def _ask(self) -> None:
        """Learn at once how the race stands, where the next news may come seconds later."""
        news = self.ledger.tries(lambda: self.ledger.poll(self.study.id, {}))
        self._heed(news)
        if self._refill is not None:
            self._refill.hear(news)

    def _heed(self, news: RaceState) -> None:
        self.heat.lower_cap(news.cap)
        self.heat.count_passed(news.passed)

    def _hear(self) -> RaceState:
        news = self.keeper.news
        self._heed(news)
        if news.lost:
            log.warning(
                "%s: %d trials ended here, as another worker has them or they were deleted",
                self.study.name,
                len(news.lost),
            )
            self._give_up([s for s, _ in self.heat.live if s.id in news.lost])
            self.heat.live = [(s, run) for s, run in self.heat.live if s.id not in news.lost]
        return news

    def _ahead(self, news: RaceState) -> bool:
        """Whether trials that nobody holds are so far behind that it is their turn."""
        if (
            news.behind is None
            or not self.checkpoints
            or self.study.schedule == Schedule.ONE_BY_ONE
        ):
            return False
        return all(run.step >= STRETCH * news.behind for _, run in self.heat.live)

    def _share(self) -> None:
        """Give every second trial of the heat to whoever is idle."""
        self._give(self.heat.live[1::2])

    def _give(self, runs: Sequence[tuple[Slot, TrialRun]]) -> None:
        """Give trials to whoever claims them, but for those that can't be saved: they would lose
        what they have got done, again and again where no checkpoint can be written."""
        if self._refill is not None:
            self._refill.over()
        saved = self._save(runs)
        self.heat.live = [(slot, run) for slot, run in self.heat.live if slot not in saved]
        self._free(saved)

    def _hand_back_all(self) -> None:
        """Save what can be saved, and free it all: this worker has been told to stop."""
        given, self.heat.live = self.heat.live, []
        self._save(given)
        self._free([slot for slot, _ in given])

    def _free(self, slots: Sequence[Slot]) -> None:
        self._hold()
        self.ledger.release([(slot, self._kept.get(slot.id, 0)) for slot in slots])
        self._drop(self.ledger.ended(slots))

    def _count_whole(self) -> None:
        """Say of which trials checkpoints have been written meanwhile."""
        self._find_whole()
        if self._whole:
            self.ledger.record_checkpoints(self._whole)
            self._drop(self.ledger.ended([slot for slot, _ in self._whole]))
            self._whole.clear()

    def _find_whole(self) -> None:
        if self.background is not None:
            found = self.background.whole()
            self._kept |= {slot.id: step for slot, step in found}
            self._whole += found

    def _give_up(self, slots: Sequence[Slot]) -> None:
        """Whatever is being written of these must not replace what others write."""
        if self.background is not None:
            for slot in slots:
                self.background.give_up(slot)

    def _save(self, runs: Sequence[tuple[Slot, TrialRun]]) -> list[Slot]:
        """Write checkpoints; of which slots it worked."""
        if self.checkpoints is None:
            return []
        began, saved = monotonic(), []
        self._give_up([slot for slot, _ in runs])
        self._find_whole()
        for slot, run in runs:
            if self.stop.is_set() and monotonic() - began > _SAVING_SECONDS:
                log.warning("%s: no time left to save every trial", self.study.name)
                break
            if not run.step:
                continue  # nothing is lost, and nobody would look for it
            if self._kept.get(slot.id) == run.step:
                saved.append(slot)
            elif self.checkpoints.save(slot, run, self._tag(slot)):
                self._kept[slot.id] = run.step
                saved.append(slot)
        return saved

    def _may_be_kept(self, slot: Slot) -> bool:
        """Whether somebody may have written a checkpoint: asking a store takes its time."""
        return slot.id in self._kept or slot.steps > 0 or slot.attempts > 1 or slot.deaths > 0

    def _restore(self, slot: Slot, run: TrialRun) -> bool:
        return self.checkpoints is not None and self.checkpoints.restore(slot, run, self._tag(slot))

    def _drop(self, slots: Sequence[Slot]) -> None:
        self._give_up(slots)
        if self.checkpoints is not None:
            for slot in slots:
                self.checkpoints.drop(slot)

    def _tag(self, slot: Slot) -> str:
        """What a checkpoint of this slot is a state of, but for the device it was made on."""
        code = [self.bench.versions[key] for key in ("batchfront", "torch", "source")]
        # Which version of the code it is of, `code` says; what checks show follows from that.
        definition = {**self.study.identity, "code": None, "preflight": None}
        parts = [definition, code, slot.number, dict(slot.params or {})]
        return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()
