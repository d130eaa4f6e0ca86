"""The engine that computes the runs of a heat as one."""

import logging
import math
from collections.abc import Sequence
from threading import Event
from weakref import WeakKeyDictionary, WeakSet

import torch

from batchfront.training.engines import Failed, Sequential, Steps, of_each
from batchfront.training.memory import is_lost_device, is_out_of_memory, release
from batchfront.training.model_run import ModelRun
from batchfront.training.run import GoalCheck
from batchfront.training.vectorized.eligibility import NO_ROOM, why_not_alike, why_unlike
from batchfront.training.vectorized.forward import is_layered
from batchfront.training.vectorized.stack import Stack, kind_of_run
from batchfront.workload.metrics import SplitMetric

log = logging.getLogger(__name__)

ROWS = 64
"""Runs of a stack, at most."""

_LONE = "lone"  # stands for the kinds that there is but one run of

_CACHED = 32 << 20
"""Bytes of weights of a stack on a CPU, at most. Of runs with 200,000 parameters, at batch size 32,
a step took 1.6 times as long in stacks of 64 as in those of 32, 16 or 8."""


class Vectorized:
    """The engine that computes all runs of a heat as one, or as few as their kinds and memory
    allow; a run that can't be stacked is computed as `Sequential` does.

    A run's result differs from that of `Sequential` by rounding alone: no kind of runs is stacked
    before that has been proven of it (`why_not_alike`). On a CPU, a model of layers in a row comes
    to the same bits however many runs it is stacked with, one among them (tested for linear layers
    and convolutions). What a stack raises before an update is laid to none of its runs: they go on
    one by one, where each meets its own error.

    reasons -- what has been found so far of kinds of runs of this workload: why they can't be
               stacked, or None; kept up to date
    """

    def __init__(self, reasons: dict[str, str | None] | None = None) -> None:
        self._alone = Sequential()
        self._stacks: list[Stack] = []
        self._kinds: WeakKeyDictionary[ModelRun, str] = WeakKeyDictionary()
        self._reasons = {} if reasons is None else reasons
        self._unfit: WeakSet[ModelRun] = WeakSet()
        self._rows = ROWS
        self._arranged: tuple[list[ModelRun], int | None] | None = None  # what stacks were made for

    @property
    def stacks(self) -> bool:
        """Whether some of the runs that were advanced last were stacked."""
        return bool(self._stacks)

    def advance(self, runs: Sequence[ModelRun], to_step: Steps, stop: Event) -> list[bool | Failed]:
        self._arrange(runs)
        to = dict(zip(runs, of_each(runs, to_step), strict=True))
        done: dict[ModelRun, bool | Failed] = {}
        ahead = list(self._stacks)
        while ahead:
            stack = ahead.pop()
            targets = [to[run] for run in stack.runs]
            try:
                found = dict(zip(stack.runs, stack.advance(targets, stop), strict=True))
            except Exception as error:
                reason = self._apart(stack, error)
            else:
                done |= found
                if any(isinstance(one, Failed) for one in found.values()):
                    self._remove(stack)
                    going = [run for run, one in found.items() if not isinstance(one, Failed)]
                    if going:  # they may have a part of the way to go
                        self._stacks.append(Stack(going))
                        ahead.append(self._stacks[-1])
                continue
            # Outside of the except clause, whose traceback holds what was being computed.
            release()
            one_by_one = self._alone.advance(stack.runs, targets, stop)
            done |= dict(zip(stack.runs, one_by_one, strict=True))
            if not any(isinstance(one, Failed) for one in one_by_one):
                self._give_up(stack, reason)  # it was no run's own error
        left = [run for run in runs if run not in done]
        others = self._alone.advance(left, [to[run] for run in left], stop)
        done |= dict(zip(left, others, strict=True))
        return [done[run] for run in runs]

    def finite(self, runs: Sequence[ModelRun]) -> list[bool]:
        # Their device is waited for once, not for each.
        sums = torch.stack([run.loss_sum for run in runs]).tolist() if runs else []
        return list(map(math.isfinite, sums))

    def evaluate(self, runs: Sequence[ModelRun], *, full: bool) -> list[GoalCheck | Failed]:
        found: dict[ModelRun, GoalCheck | Failed] = {}
        wanted = set(runs)
        for stack in list(self._stacks):
            rows = [row for row, run in enumerate(stack.runs) if run in wanted]
            for part in self._parts(stack, rows):
                try:
                    seen = stack.evaluate(part, full=full)
                    found |= {stack.runs[r]: one for r, one in zip(part, seen, strict=True)}
                except Exception as error:
                    reason = self._apart(stack, error)
                else:
                    continue
                release()
                mine = [stack.runs[row] for row in rows if stack.runs[row] not in found]
                own = self._alone.evaluate(mine, full=full)
                found |= dict(zip(mine, own, strict=True))
                if not any(isinstance(one, Failed) for one in own):
                    self._give_up(stack, reason)
                break
        left = [run for run in runs if run not in found]
        found |= dict(zip(left, self._alone.evaluate(left, full=full), strict=True))
        return [found[run] for run in runs]

    def _parts(self, stack: Stack, rows: list[int]) -> list[list[int]]:
        """Rows that are evaluated together, where memory and the metric allow it."""
        evaluator = stack.runs[0].evaluator
        if isinstance(evaluator.goal.metric, SplitMetric):
            return []
        limit = evaluator.micro_batch_size.size(max(len(rows), 1) * evaluator.chunk)
        size = limit // evaluator.chunk
        return [rows[i : i + size] for i in range(0, len(rows), size)] if size else []

    def _apart(self, stack: Stack, error: Exception) -> str | None:
        """Take a stack apart that can't be computed: an error of one of its runs, whose first line
        is returned, or no memory."""
        if is_lost_device(error):
            raise error
        self._remove(stack)
        if is_out_of_memory(error):
            self._rows = max(len(stack.runs) // 2, 1)
            log.warning("out of memory with %d trials as one", len(stack.runs))
            return None
        return (str(error).strip().splitlines() or [type(error).__name__])[0]

    def _remove(self, stack: Stack) -> None:
        """Forget a stack, and what there was to hold on to its runs."""
        self._stacks.remove(stack)
        self._arranged = None

    def _give_up(self, stack: Stack, reason: str | None) -> None:
        """Leave the runs of a stack apart that failed, though none of them fails by itself."""
        if reason is not None:
            self._unfit.update(stack.runs)
            name, trials = stack.runs[0].workload.name, len(stack.runs)
            log.warning("%s: %d trials go on one by one: %s", name, trials, reason)

    def _arrange(self, runs: Sequence[ModelRun]) -> None:
        """Stacks of just these runs: those that there are, without the runs that are not to
        advance, and with those that come in."""
        asked = (list(runs), runs[0].micro_batches.training.limit if runs else None)
        if asked == self._arranged:  # as in most rounds
            return
        wanted = {run for run in runs if run not in self._unfit}
        kept: dict[str, list[tuple[Stack, list[ModelRun]]]] = {}
        for stack in self._stacks:
            if group := [run for run in stack.runs if run in wanted]:
                kept.setdefault(self._kinds[group[0]], []).append((stack, group))
        stacked = {run for pairs in kept.values() for _, group in pairs for run in group}
        fresh = [run for run in runs if run in wanted and run not in stacked]
        self._judge(fresh)
        new: dict[str, list[ModelRun]] = {}
        for run in fresh:
            if self._reasons.get(self._kinds[run], "") is None:
                new.setdefault(self._kinds[run], []).append(run)
        self._stacks = [
            stack
            for kind in {**new, **kept}
            for stack in self._stacked(kept.get(kind, []), new.get(kind, []))
        ]
        self._arranged = asked

    def _stacked(
        self, kept: Sequence[tuple[Stack, list[ModelRun]]], new: Sequence[ModelRun]
    ) -> list[Stack]:
        """Stacks of runs of one kind: as few as may be, of which those that nothing changes in
        stay as they are."""
        everyone = [run for _, group in kept for run in group] + list(new)
        size = self._size(everyone[0])
        if not size:
            return []
        count = -(-len(everyone) // size)
        if not new and len(kept) == count and all(len(g) <= size for _, g in kept):
            return [s if len(g) == len(s.runs) else Stack(g) for s, g in kept]
        share = -(-len(everyone) // count)
        return [Stack(everyone[i : i + share]) for i in range(0, len(everyone), share)]

    def _size(self, run: ModelRun) -> int:
        """How many of such runs a micro-batch, and a CPU's cache, have room for."""
        limit, rows = run.micro_batches.training.limit, self._rows
        if run.device.type == "cpu":
            weights = sum(p.nbytes for p in run.model.parameters())
            rows = min(rows, max(_CACHED // max(weights, 1), 1))
        return rows if limit is None else min(rows, limit // run.batch_size)

    def _judge(self, runs: Sequence[ModelRun]) -> None:
        """Find out of each kind whether its runs can be stacked, where that isn't known yet."""
        kinds: dict[str, list[ModelRun]] = {}
        for run in runs:
            if run not in self._kinds:
                self._kinds[run] = _kind(run)
            kinds.setdefault(self._kinds[run], []).append(run)
        for kind, alike in kinds.items():
            # Of a kind that there is one of, a proof is worth while only if another comes.
            worth = len(alike) > 1 or is_layered(alike[0].model)
            if worth and kind not in self._reasons:
                self._note(kind, why_not_alike(alike), alike)
        if len(runs) > 1 and not any(kind in self._reasons for kind in kinds):
            self._note(_LONE, why_unlike(runs[0], runs[1]), runs)

    def _note(self, kind: str, why: str | None, runs: Sequence[ModelRun]) -> None:
        if why is not None and why not in self._reasons.values():
            log.info("%s: trials are computed one by one, as %s", runs[0].workload.name, why)
        if why == NO_ROOM:  # those that come later, when others have ended, may have some
            release()
            self._unfit.update(runs)
            return
        self._reasons[kind] = why


def _kind(run: ModelRun) -> str:
    return f"{run.batch_size} {run.device} {kind_of_run(run)}"
