"""What a worker's trials have shown so far, for whoever looks while they run."""

from collections.abc import Callable, Sequence
from math import isfinite

from batchfront.ledger.ledger import Ledger
from batchfront.outcomes import Evaluation
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.workload.metric_fields import Better

Shown = Sequence[tuple[Slot, Sequence[Evaluation]]]
"""Slots in hand, each with what full evaluations of its trial have shown so far, in order."""


class Progress:
    """The evaluations of the trials in hand, each written once.

    shown  -- gives them as they are now
    better -- which values of the metric are
    """

    def __init__(
        self, ledger: Ledger, study: Study, shown: Callable[[], Shown], better: Better
    ) -> None:
        self._ledger, self._study, self._shown = ledger, study, shown
        self._best = min if better == "lower" else max
        self._written: dict[tuple[int, int], int] = {}  # the last step, by slot and fence

    def best(self) -> float | None:
        """The best value of the goal metric that a trial has shown at its last evaluation; None
        before the first."""
        last = [evaluations[-1].metric for _, evaluations in self._shown() if evaluations]
        return self._best((value for value in last if isfinite(value)), default=None)

    def write(self) -> None:
        """Write what has come since the last time. Where trials are compared with each other on
        their way, that is done then."""
        if self._study.halving or self._study.extrapolate:
            return
        new = [(slot, self._since(slot, evaluations)) for slot, evaluations in self._shown()]
        new = [(slot, evaluations) for slot, evaluations in new if evaluations]
        if new:
            self._ledger.record_progress(self._study, new)
            self._written |= {(s.id, s.fence): found[-1].step for s, found in new}

    def _since(self, slot: Slot, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
        last = self._written.get((slot.id, slot.fence), 0)
        return [one for one in tuple(evaluations) if one.step > last]
