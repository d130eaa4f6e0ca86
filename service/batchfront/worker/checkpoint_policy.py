"""When the trials of a heat are copied and written, so that little is lost and little is spent."""

from collections.abc import Callable, Sequence
from time import monotonic, perf_counter

from batchfront.study.slots import Slot
from batchfront.training.checkpoint_writer import Background
from batchfront.training.trial import TrialRun

_FIRST_SECONDS = 10.0


_SECONDS = 60.0


_COPYING_SHARE = 0.02  # of the time, at most, goes into copies, which the training waits for


_WRITING_SHARE = 0.1  # and into writing them meanwhile


class Keeping:
    """Asked between the rounds of a heat, has all of its trials kept every once in a while."""

    def __init__(self, background: Background[Slot], tag: Callable[[Slot], str]) -> None:
        self.background, self._tag = background, tag
        self._due: list[tuple[Slot, TrialRun]] = []
        self._began, self._pause = monotonic(), _FIRST_SECONDS
        self._copying = self._written_before = 0.0

    def go_on(self, live: Sequence[tuple[Slot, TrialRun]]) -> None:
        """Copy what is due, and there is room for; when all has been written, begin the next."""
        if not self._due and not self.background.busy:
            if self._copying:
                writing = self.background.seconds - self._written_before
                shares = (self._copying / _COPYING_SHARE, writing / _WRITING_SHARE)
                self._pause = max(_SECONDS, *shares)
                self._copying = 0.0
            if monotonic() - self._began <= self._pause:
                return
            self._began, self._written_before = monotonic(), self.background.seconds
            self._due = [(slot, run) for slot, run in live if run.step]
        here = {slot.id for slot, _ in live}
        began = perf_counter()
        while self._due:
            slot, run = self._due[0]
            if slot.id in here and not self.background.take(slot, run, self._tag(slot)):
                break
            del self._due[0]
        self._copying += perf_counter() - began
