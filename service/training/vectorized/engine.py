"""The engine that computes the runs of a heat as one."""

import logging
from collections.abc import Sequence
from threading import Event
from weakref import WeakKeyDictionary, WeakSet

from service.algorithm import chosen
from service.metrics import SplitMetric
from service.search_space import Metaparameters
from service.training.engines import Failed, Sequential, Steps, of_each
from service.training.evaluation import Evaluation
from service.training.memory import is_lost_device, is_out_of_memory, release
from service.training.trial import TrialRun
from service.training.vectorized.fitness import augments, why_not_stacked
from service.training.vectorized.forward import kind_of
from service.training.vectorized.stack import Stack

log = logging.getLogger(__name__)

ROWS = 64
"""Runs of a stack, at most."""

_CACHED = 32 << 20
"""Bytes of weights of a stack on a CPU, at most. Of runs with 200,000 parameters, at batch size 32,
a step took 1.6 times as long in stacks of 64 as in those of 32, 16 or 8."""


class Vectorized:
    """The engine that computes all runs of a heat as one, or as few as their kinds and memory
    allow; a run that can't be stacked is computed as `Sequential` does.

    A run's result differs from that of `Sequential` by rounding alone. On a CPU, a model of layers
    in a row comes to the same bits however many runs it is stacked with, one among them (tested
    for linear layers and convolutions). What a stack raises is laid to none of its runs: they go
    on one by one, where each meets its own error.
    """

    def __init__(self) -> None:
        self._alone = Sequential()
        self._stacks: list[Stack] = []
        self._kinds: WeakKeyDictionary[TrialRun, str] = WeakKeyDictionary()
        self._reasons: dict[str, str | None] = {}  # why a kind can't be stacked
        self._unfit: WeakSet[TrialRun] = WeakSet()
        self._rows = ROWS
        self._augments: bool | None = None

    def advance(self, runs: Sequence[TrialRun], to_step: Steps, stop: Event) -> list[bool | Failed]:
        self._arrange(runs)
        to = dict(zip(runs, of_each(runs, to_step), strict=True))
        done: dict[TrialRun, bool | Failed] = {}
        for stack in list(self._stacks):
            targets = [to[run] for run in stack.runs]
            try:
                done |= dict.fromkeys(stack.runs, stack.advance(targets, stop))
                continue
            except Exception as error:
                self._apart(stack, error)
            # Outside of the except clause, whose traceback holds what was being computed.
            release()
            one_by_one = self._alone.advance(stack.runs, targets, stop)
            done |= dict(zip(stack.runs, one_by_one, strict=True))
            if not any(isinstance(one, Failed) for one in one_by_one):
                self._unfit.update(stack.runs)  # it was no run's own error
        left = [run for run in runs if run not in done]
        others = self._alone.advance(left, [to[run] for run in left], stop)
        done |= dict(zip(left, others, strict=True))
        return [done[run] for run in runs]

    def look(self, runs: Sequence[TrialRun], *, full: bool) -> list[Evaluation | Failed]:
        found: dict[TrialRun, Evaluation | Failed] = {}
        wanted = set(runs)
        for stack in list(self._stacks):
            rows = [row for row, run in enumerate(stack.runs) if run in wanted]
            for part in self._parts(stack, rows):
                try:
                    seen = stack.look(part, full=full)
                    found |= {stack.runs[r]: one for r, one in zip(part, seen, strict=True)}
                except Exception as error:
                    self._apart(stack, error)
        left = [run for run in runs if run not in found]
        found |= dict(zip(left, self._alone.look(left, full=full), strict=True))
        return [found[run] for run in runs]

    def _parts(self, stack: Stack, rows: list[int]) -> list[list[int]]:
        """Rows that are looked at together, where memory and the metric allow it."""
        evaluator = stack.runs[0].evaluator
        if isinstance(evaluator.goal.metric, SplitMetric):
            return []
        limit = evaluator.passes.size(max(len(rows), 1) * evaluator.chunk)
        size = limit // evaluator.chunk
        return [rows[i : i + size] for i in range(0, len(rows), size)] if size else []

    def _apart(self, stack: Stack, error: Exception) -> None:
        """Take a stack apart that can't be computed: an error of one of its runs, or no memory."""
        if is_lost_device(error):
            raise error
        if stack in self._stacks:
            self._stacks.remove(stack)
        if is_out_of_memory(error):
            self._rows = max(len(stack.runs) // 2, 1)
            log.warning("out of memory with %d trials as one", len(stack.runs))
        else:
            log.debug("%d trials go on one by one: %s", len(stack.runs), error)

    def _arrange(self, runs: Sequence[TrialRun]) -> None:
        """Stacks of just these runs: those that there are, without the runs that are not to
        advance, and with those that come in."""
        wanted = {run for run in runs if run not in self._unfit}
        kept: dict[str, list[tuple[Stack, list[TrialRun]]]] = {}
        for stack in self._stacks:
            if group := [run for run in stack.runs if run in wanted]:
                kept.setdefault(self._kinds[group[0]], []).append((stack, group))
        stacked = {run for pairs in kept.values() for _, group in pairs for run in group}
        new: dict[str, list[TrialRun]] = {}
        for run in runs:
            if run in wanted and run not in stacked and self._fits(run):
                new.setdefault(self._kinds[run], []).append(run)
        self._stacks = [
            stack
            for kind in {**new, **kept}
            for stack in self._stacked(kept.get(kind, []), new.get(kind, []))
        ]

    def _stacked(
        self, kept: Sequence[tuple[Stack, list[TrialRun]]], new: Sequence[TrialRun]
    ) -> list[Stack]:
        """Stacks of runs of one kind: as few as may be, of which those that nothing changes in
        stay as they are."""
        everyone = [run for _, group in kept for run in group] + list(new)
        size = self._size(everyone[0])
        if not size:
            return []
        count = -(-len(everyone) // size)
        if not new and len(kept) == count and all(len(g) <= size for _, g in kept):
            return [s if len(g) == len(s.runs) else self._stack(g) for s, g in kept]
        share = -(-len(everyone) // count)
        groups = [everyone[i : i + share] for i in range(0, len(everyone), share)]
        return [self._stack(group) for group in groups]

    def _stack(self, runs: Sequence[TrialRun]) -> Stack:
        return Stack(runs, bool(self._augments))

    def _size(self, run: TrialRun) -> int:
        """How many of such runs a pass, and a CPU's cache, have room for."""
        limit, rows = run.passes.training.limit, self._rows
        if run.device.type == "cpu":
            weights = sum(p.nbytes for p in run.model.parameters())
            rows = min(rows, max(_CACHED // max(weights, 1), 1))
        return rows if limit is None else min(rows, limit // run.batch_size)

    def _fits(self, run: TrialRun) -> bool:
        if run not in self._kinds:
            if self._augments is None:
                self._augments = augments(run.splits.train)
            self._kinds[run] = kind = _kind(run)
            if kind not in self._reasons:
                self._reasons[kind] = why = why_not_stacked(run.model, run.splits.train)
                if why is not None:
                    log.info("%s: one trial after another, as %s", run.workload.name, why)
        return self._reasons[self._kinds[run]] is None


def _kind(run: TrialRun) -> str:
    values: Metaparameters = chosen(run.workload.model, run.values)
    return kind_of(run.model, values)
