"""Which trials of a heat are kept, when they are, and where they have got by then."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from threading import Event
from time import monotonic, perf_counter
from typing import Any, Protocol

from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.training.checkpoint_writer import CheckpointWriter
from batchfront.training.checkpoints import Checkpoints
from batchfront.training.run import Run
from batchfront.worker.pace import Pace

log = logging.getLogger(__name__)

_SAVING_SECONDS = 6.0  # when told to stop: what isn't saved by then has its last checkpoint


class Kept(Protocol):
    """Where interrupted trials are kept: as `Checkpoints` keeps them, or in a way of their own."""

    def begin(self, runs: Sequence[Any]) -> None:
        """Take note that these are about to be saved, one after another."""

    def save(self, slot: Slot, run: Any, tag: str) -> bool:
        """Keep a run, which ends with that. Returns whether it could be kept."""

    def restore(self, slot: Slot, run: Any, tag: str) -> bool:
        """Bring a fresh run to where it was kept. Returns whether there was anything that fits."""

    def drop(self, slot: Slot) -> None:
        """Forget a trial that is over."""


class CheckpointPolicy:
    """Asked between the rounds of a heat, has all of its trials kept every once in a while, so that
    little is lost and little is spent."""

    def __init__(self, writer: CheckpointWriter[Slot], tag: Callable[[Slot], str], pace: Pace):
        self._writer, self._tag, self._pace = writer, tag, pace
        self._due: list[tuple[Slot, Run]] = []
        self._began, self._pause = monotonic(), pace.first_checkpoint
        self._copying = self._written_before = 0.0

    def go_on(self, live: Sequence[tuple[Slot, Run]]) -> None:
        """Copy what is due and there is room for. When all has been written, begin the next."""
        if not self._due and not self._writer.busy:
            if self._copying:
                writing = self._writer.seconds - self._written_before
                pace = self._pace
                shares = self._copying / pace.copying_share, writing / pace.writing_share
                self._pause = max(pace.checkpoints, *shares)
                self._copying = 0.0
            if monotonic() - self._began <= self._pause:
                return
            self._began, self._written_before = monotonic(), self._writer.seconds
            self._due = [(slot, run) for slot, run in live if run.step]
        here = {slot.id for slot, _ in live}
        began = perf_counter()
        while self._due:
            slot, run = self._due[0]
            if slot.id in here and not self._writer.take(slot, run, self._tag(slot)):
                break
            del self._due[0]
        self._copying += perf_counter() - began


class HeatCheckpoints:
    """The checkpoints of one heat's trials.

    checkpoints -- where they are; None: trials are not kept
    versions    -- what computes the trials
    stop        -- when set, there is little time left to save
    """

    def __init__(
        self,
        study: Study,
        checkpoints: Kept | None,
        versions: Mapping[str, str],
        stop: Event,
        pace: Pace,
    ) -> None:
        self._study, self._checkpoints, self._stop, self._pace = study, checkpoints, stop, pace
        self._code = [versions.get(key) for key in ("batchfront", "torch", "source")]
        self._writer: CheckpointWriter[Slot] | None = None
        if isinstance(checkpoints, Checkpoints):
            self._writer = CheckpointWriter(checkpoints)
        self._policy: CheckpointPolicy | None = None
        self._steps: dict[int, int] = {}  # slot id to the step of its checkpoint
        self._written: list[tuple[Slot, int]] = []  # in the background, and not asked for yet

    def __bool__(self) -> bool:
        """Whether trials are kept at all."""
        return self._checkpoints is not None

    def step(self, slot: Slot) -> int:
        """The step of a trial's checkpoint, or 0 if there is none."""
        return self._steps.get(slot.id, 0)

    def may_exist(self, slot: Slot) -> bool:
        """Whether somebody may have written a checkpoint: asking a store takes its time."""
        return slot.id in self._steps or slot.steps > 0 or slot.attempts > 1 or slot.deaths > 0

    def restore(self, slot: Slot, run: Run) -> None:
        """Bring a fresh run to where its checkpoint stands, if there is one that fits."""
        if self._checkpoints is None or not self.may_exist(slot):
            return
        if self._checkpoints.restore(slot, run, self._tag(slot)):
            self._steps[slot.id] = run.step

    def begin(self) -> None:
        """From now on, trials are due to be kept every once in a while."""
        if self._writer is not None:
            self._policy = CheckpointPolicy(self._writer, self._tag, self._pace)

    def write_due(self, live: Sequence[tuple[Slot, Run]]) -> None:
        """Have those written in the background that are due."""
        if self._policy is not None:
            self._policy.go_on(live)

    def take_written(self) -> list[tuple[Slot, int]]:
        """The trials, and their steps, that have been written in the background since last asked
        for."""
        self._find_written()
        found, self._written = self._written, []
        return found

    def save(self, runs: Sequence[tuple[Slot, Run]]) -> list[Slot]:
        """Write checkpoints now. Returns the slots of which it worked."""
        if self._checkpoints is None:
            return []
        began, saved = monotonic(), []
        self.give_up([slot for slot, _ in runs])
        self._find_written()
        self._checkpoints.begin([run for _, run in runs])
        for slot, run in runs:
            if self._stop.is_set() and monotonic() - began > _SAVING_SECONDS:
                log.warning("%s: no time left to save every trial", self._study.name)
                break
            if not run.step:
                continue  # nothing is lost, and nobody would look for it
            if self._steps.get(slot.id) == run.step:
                saved.append(slot)
            elif self._checkpoints.save(slot, run, self._tag(slot)):
                self._steps[slot.id] = run.step
                saved.append(slot)
        return saved

    def give_up(self, slots: Sequence[Slot]) -> None:
        """Whatever is being written of these must not replace what others write."""
        if self._writer is not None:
            for slot in slots:
                self._writer.give_up(slot)
        self._find_written()

    def drop(self, slots: Sequence[Slot]) -> None:
        """Forget trials that are over."""
        if self._checkpoints is None:
            return
        self.give_up(slots)
        for slot in slots:
            self._checkpoints.drop(slot)

    def close(self) -> None:
        """Give up on everything that isn't written yet."""
        if self._writer is not None:
            self._writer.close()

    def _find_written(self) -> None:
        if self._writer is not None:
            found = self._writer.take_written()
            self._steps |= {slot.id: step for slot, step in found}
            self._written += found

    def _tag(self, slot: Slot) -> str:
        """What a checkpoint of this slot is a state of, but for the device it was made on."""
        # Which version of the code it is of, `code` says; what checks show follows from that.
        definition = {**self._study.identity, "code": None, "preflight": None}
        parts = [definition, self._code, slot.number, dict(slot.params or {})]
        return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()
