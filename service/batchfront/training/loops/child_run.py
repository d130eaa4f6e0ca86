"""The first evaluations of a loop that calls `trial.report`, to try it before it is planned."""

import json
import logging
from queue import Empty, SimpleQueue
from typing import Any

from batchfront.errors import WorkloadError
from batchfront.training.loops.child import ASKED_FOR
from batchfront.training.loops.run import Shown
from batchfront.training.programs.command_line import TrialStart
from batchfront.training.programs.process import ProgramProcess
from batchfront.training.programs.report_channel import Report, ReportChannel

log = logging.getLogger(__name__)

_GRACE = 2.0  # seconds
_SILENCE = 30.0  # seconds without a report after which it is said


class ChildRun:
    """A trial in a process of its own, as far as it is tried.

    shown -- what it has reported
    keeps -- whether it says what is to be kept of it: it can't
    """

    keeps = False

    def __init__(self, start: TrialStart) -> None:
        self._start = start
        self.shown: list[Shown] = []
        self._heard: SimpleQueue[Report | None] = SimpleQueue()
        self._channel = ReportChannel(self._heard.put)
        self._process: ProgramProcess | None = None

    @property
    def unread(self) -> set[str]:
        """What the loop hadn't asked its trial for when it last reported."""
        return set(self._asked["not"])

    @property
    def train_examples(self) -> int:
        """Those that the loop has asked its trial for batches of; 0 where it hasn't."""
        return int(self._asked["batches_of"])

    @property
    def has_asked_when(self) -> bool:
        """Whether the loop has asked its trial when it is evaluated."""
        return bool(self._asked["when"])

    @property
    def _asked(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self._start.folder / ASKED_FOR).read_text())
        return found

    def advance(self, to_step: int) -> None:
        """Have it train until it reports `to_step`.

        Raises WorkloadError, in one line, if it ends before.
        """
        while not self.shown or self.shown[-1].step < to_step:
            if self._process is None:
                self._process = self._started()
            self._channel.go()
            heard = self._next(self._process)
            if heard is None:
                raise WorkloadError(self._why_ended(self._process))
            self.shown.append(Shown(heard.step, heard.value, heard.loss, heard.measures))

    def state(self) -> None:
        """It begins again."""

    def close(self) -> None:
        """End it."""
        self._channel.end("it was tried")
        if self._process is not None:
            self._process.end(_GRACE)
        self._channel.close()

    def _next(self, process: ProgramProcess) -> Report | None:
        """What it reports next, or None at its end."""
        try:
            return self._heard.get(timeout=_SILENCE)
        except Empty:
            log.warning(
                "%s: no report for %.0f s; its last line: %s",
                self._start.program.name,
                _SILENCE,
                _last(process) or "none",
            )
        return self._heard.get()

    def _started(self) -> ProgramProcess:
        start = self._start
        start.write_metaparameters()
        return ProgramProcess(
            start.arguments(),
            env={**start.environment(), **self._channel.environment},
            cwd=start.program.folder,
            folder=start.folder,
            on_line=lambda _: None,
            on_exit=lambda: self._heard.put(None),
        )

    def _why_ended(self, process: ProgramProcess) -> str:
        last = _last(process)
        if last.startswith("Error: "):  # one of ours, which names the loop
            return last.removeprefix("Error: ")
        after = f"after step {self.shown[-1].step}" if self.shown else "before its first report"
        ended = f": {last}" if last else f", with exit code {process.exit_code}"
        return f"{self._start.program.name}: train() fails {after}{ended}"


def _last(process: ProgramProcess) -> str:
    """The last line that it has printed; empty if there is none."""
    return next((line for line in reversed(process.last_lines()) if line.strip()), "")
