"""When the trials of a heat are copied and written, so that little is lost and little is spent."""

from collections.abc import Callable, Sequence
from time import monotonic, perf_counter

from batchfront.study.slots import Slot
from batchfront.training.checkpoint_writer import Background
from batchfront.training.trial import TrialRun
from batchfront.worker.pace import Pace


class Keeping:
    """Asked between the rounds of a heat, has all of its trials kept every once in a while."""

    def __init__(
        self, background: Background[Slot], tag: Callable[[Slot], str], pace: Pace
    ) -> None:
        self.background, self._tag, self._pace = background, tag, pace
        self._due: list[tuple[Slot, TrialRun]] = []
        self._began, self._pause = monotonic(), pace.first_checkpoint
        self._copying = self._written_before = 0.0

    def go_on(self, live: Sequence[tuple[Slot, TrialRun]]) -> None:
        """Copy what is due, and there is room for; when all has been written, begin the next."""
        if not self._due and not self.background.busy:
            if self._copying:
                writing = self.background.seconds - self._written_before
                pace = self._pace
                shares = self._copying / pace.copying_share, writing / pace.writing_share
                self._pause = max(pace.checkpoints, *shares)
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
