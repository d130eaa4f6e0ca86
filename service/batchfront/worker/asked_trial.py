"""A trial that somebody asked for, and trains where and when they like.

It is held as a worker's are, by a lease with a heartbeat, and judged as a worker judges it: as a
race of one, whose turns its loop takes by reporting.
"""

import logging
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from math import isfinite
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self
from uuid import uuid4

from batchfront import __version__
from batchfront.errors import StorageError, Unreachable, UsageError, WorkloadError
from batchfront.ledger.ledger import Ledger
from batchfront.outcomes import Evaluation
from batchfront.store.database import Storage
from batchfront.store.retry import Patience
from batchfront.study.slots import Slot
from batchfront.study.study import Filter, Study
from batchfront.study.warm_start import sample_late
from batchfront.training.reported_run import ReportedRun, ReportedRuns
from batchfront.vocabulary import Outcome
from batchfront.worker.heartbeat import Heartbeat
from batchfront.worker.options import WorkerOptions
from batchfront.worker.race import Race
from batchfront.workload.evaluation_grid import EvaluationGrid, EveryStep, GridSteps
from batchfront.workload.goal import Goal
from batchfront.workload.loop import Measured, Trial, examples_taken
from batchfront.workload.measures import refuse_names
from batchfront.workload.stopping_rules import StoppingRules

log = logging.getLogger(__name__)

_VERSIONS = {"batchfront": __version__}  # of the code that trains, nothing is known here

_LOST = "lost to another worker, or deleted"


Claimed = tuple[Study, Slot, Heartbeat]


class Holder:
    """A worker of the ledger's that holds one trial at a time, for whoever asks for it."""

    def __init__(self, storage: Storage) -> None:
        self.stop = Event()
        """Set once there is no time left to wait for a database that is away."""
        self._storage = storage
        self._heartbeat: Heartbeat | None = None
        patience = Patience(WorkerOptions().max_outage, self.stop)
        self.ledger = Ledger(storage, uuid4().hex, patience)
        self.ledger.register(socket.gethostname(), os.getpid(), "ask and tell")

    def claim(self, wanted: Filter) -> Claimed | None:
        """Claim a trial and start it. Its lease is renewed from then on, until `let_go`.

        Returns None if none is free. Raises LeaseLost if it was lost before it could start.
        """
        self._end_heartbeat()
        claimed = self.ledger.claim(wanted, lambda _: 1)
        if claimed is None:
            return None
        study, (slot,) = claimed
        heartbeat = self._heartbeat = Heartbeat(self.ledger, study.id).__enter__()
        heartbeat.hold({slot.id: (slot.fence, 0)})
        if slot.params is None:
            sample = partial(sample_late, self._storage, study, [slot.number])
            (sampled,) = self.ledger.tries(sample)
            slot = replace(slot, params=sampled.params, origin=sampled.origin)
        (slot,) = self.ledger.start(study, [slot], study.space, _VERSIONS)
        return study, slot, heartbeat

    def let_go(self, *, in_order: bool = True) -> None:
        """Release what is still held; `in_order` as `Ledger.leave` has it."""
        self._end_heartbeat()
        try:
            self.ledger.leave(in_order=in_order)
        except Unreachable as error:
            log.warning("%s; what is held here is free when its lease runs out", error)

    def _end_heartbeat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.__exit__()
            self._heartbeat = None


class AskedTrial(Trial):
    """A trial to train inside `with trial:`, with all that a loop's `Trial` has.

    number -- its own in its study
    study  -- the name of its study: the workload's, and `/b` with the batch size
    device -- "cuda:0" where this process sees a GPU, or "cpu": a proposal

    It ends where a report shows that it is over; `outcome` says how, and `reason` why. An exception
    in the block fails it: whoever asks next begins it again, until it has failed three times. A
    block that is left before the trial has ended, by `break`, Ctrl-C or its own end, gives it back,
    and whoever asks next begins it again; so does a process that dies, once its lease has run out.
    """

    def __init__(
        self,
        holder: Holder,
        claimed: Claimed,
        goal: Goal,
        device: str,
        after: Callable[[], None],
    ) -> None:
        study, slot, heartbeat = claimed
        grid, budget = study.identity.get("grid"), int(study.identity["step_budget"])
        super().__init__(
            slot.params or {},
            study.batch_size,
            study.trial_seed(slot.number),
            GridSteps(EvaluationGrid(**grid), budget) if grid else EveryStep(budget),
            device=device,
            directory=_no_directory,
        )
        self.number, self.study = slot.number, study.name
        self.outcome: Outcome | None = None
        """How it has ended; None while it is open, and of one that was lost or given back."""
        self.reason: str | None = None
        self.released = False
        self._goal, self._train_examples = goal, study.train_examples
        self._holder, self._heartbeat, self._after = holder, heartbeat, after
        self._process, self._held = os.getpid(), True
        self._run = ReportedRun(goal, EvaluationGrid(**grid) if grid else None, budget)
        stopping = StoppingRules(**study.identity.get("stopping", {}))
        runs = ReportedRuns(goal, stopping, _VERSIONS, self._run)
        self._race = Race(holder.ledger, study, runs, heartbeat=heartbeat, stop=holder.stop)
        self._race.enter([slot])
        self._race.poll()

    def __str__(self) -> str:
        return f"{self.study} trial {self.number}"

    def report(
        self,
        step: int,
        value: float,
        loss: float | None = None,
        examples: int | None = None,
        measures: Mapping[str, float] | None = None,
    ) -> bool:
        """Tell what an evaluation has shown, and hear whether to train on.

        step     -- the updates done so far; at 0, the loss is that of the untrained model
        value    -- the goal's metric on held-out data
        loss     -- the training loss, such as the mean since the evaluation before: with it, a
                    trial that diverges or stalls is found sooner
        examples -- that have been trained on so far, which shows that the batch size is the trial's
        measures -- what else was measured, by name, to be recorded

        Returns False once the trial is over, however often it is called. That its lease was lost,
        as the machine slept, say, is logged in a line, and nothing is written then. Raises
        WorkloadError for what is no number, or none that the metric can be, for steps that don't
        rise, and for other examples than the steps have taken.
        """
        told = Measured(step, value, loss, examples, {} if measures is None else measures)
        if told.step == self._run.step == 0:
            self._run.untrained_loss = told.loss
        elif self._is_mine():
            self._check(told)
            self._run.report(Evaluation(told.step, told.loss, told.value, told.measures))
            self._turn()
        return self._held

    @property
    def may_go_on(self) -> bool:
        """Whether to train on, asked between two reports: False once others have won, and once it
        is over."""
        if self._is_mine():
            self._turn()
        return self._held

    @property
    def over(self) -> bool:
        """Whether it has ended, or is no longer held here for another reason. Asks nobody."""
        return not self._held

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._held or os.getpid() != self._process:
            return
        if isinstance(error, Exception) and not isinstance(error, StorageError):
            self._fail(error)
        else:
            self._release(kind)

    def _is_mine(self) -> bool:
        """Whether it is still held, as far as can be known; heeds what others have done."""
        if not self._held:
            return False
        if os.getpid() != self._process:
            raise UsageError(
                f"{self} belongs to process {self._process}, which asked for it; ask for another "
                "one in this process"
            )
        self._heartbeat.catch_up()
        self._race.latest()
        if not self._race.heat.live:
            self._let_go(_LOST)
        return self._held

    def _check(self, told: Measured) -> None:
        """Raise WorkloadError for a report that contradicts the one before, the metric, or the
        batch size."""
        if told.step <= self._run.step:
            after = f"after one at step {self._run.step}"
            raise WorkloadError(f"{self}: reported step {told.step} {after}; steps have to rise")
        metric = self._goal.metric
        try:
            refuse_names(told.measures, metric.name)
        except WorkloadError as error:
            raise WorkloadError(f"{self}: {error}") from None
        if isfinite(told.value) and not metric.low <= told.value <= metric.high:
            between = f"{metric.name} lies between {metric.low:g} and {metric.high:g}"
            raise WorkloadError(f"{self}: value {told.value:g} at step {told.step}; {between}")
        wanted = examples_taken(told.step, self.batch_size, self._train_examples)
        if told.examples is not None and told.examples not in wanted:
            raise WorkloadError(
                f"{self}: {told.examples:,} examples in {told.step:,} steps; the batch size is "
                f"{self.batch_size:,}, so there should be {max(wanted):,}"
            )

    def _turn(self, unwritten: str = _LOST) -> None:
        """Have it judged where it is, and its result written if it has one.

        unwritten -- why a result that it has isn't
        """
        written = self._race.turn()
        if self._race.heat.live:
            return
        for _, result in written:
            self.outcome = result.outcome
        self._let_go(written[0][1].reason if written else unwritten)

    def _fail(self, error: Exception) -> None:
        """It ends as failed, or is left to whoever asks next."""
        self._run.fail(error)
        try:
            self._turn("failed, and is free for another try")
        except Exception as raised:  # a lost device's, or a database's that is away
            self._holder.stop.set()
            self._let_go(str(raised), in_order=False)
            if raised is not error:
                raise

    def _release(self, kind: type[BaseException] | None) -> None:
        self._holder.stop.set()
        why = "its block ended before it did" if kind is None else f"of {kind.__name__}"
        at = f"after step {self._run.step} of {self.step_budget}, because {why}"
        try:
            self._race.release_all()
            said = f"given back {at}"
        except Unreachable:
            said = f"left {at}"
        log.warning("%s: %s", self, said)
        self.released = True
        self._let_go(said)

    def _let_go(self, reason: str, *, in_order: bool = True) -> None:
        self.reason, self._held = reason, False
        self._holder.let_go(in_order=in_order)
        self._after()


def _no_directory() -> Path:
    raise UsageError(
        "trial.directory: a trial that is asked for has no folder of batchfront's; use one of yours"
    )
