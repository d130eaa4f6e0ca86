"""Listens to one start of a program, and tells the evaluations that it prints or reports."""

from collections.abc import Callable
from typing import Protocol

from batchfront.errors import WorkloadError
from batchfront.outcomes import Evaluation
from batchfront.training.programs.output import OutputReader
from batchfront.training.programs.output_files import Follower, OutputFile, Told
from batchfront.training.programs.report_channel import Report, ReportChannel
from batchfront.workload.measures import refuse_names
from batchfront.workload.program import Program

Tell = Callable[[Evaluation], None]
"""Told each evaluation; one at step 0 is the one before training."""


class Listener(Protocol):
    """Makes evaluations of what one start of a program lets be known, and tells them.

    blocks -- whether the program waits at each evaluation until `go_on`
    """

    blocks: bool

    @property
    def environment(self) -> dict[str, str]:
        """What the program has to find in its environment."""

    def hear(self, line: str, *, error: bool) -> None:
        """Take a line that was printed, on standard error or not. Raises ProgramError for one that
        can't be trusted."""

    def go_on(self) -> None:
        """Let a program go on that waits for the word."""

    def finish(self, *, whole: bool) -> None:
        """Tell what is left to be told, as the program has ended.

        whole -- whether it has ended well: otherwise its last line may be cut off in a number
        """

    def close(self, reason: str) -> None:
        """Listen no more; a program that waits is told why its trial is over."""


class Printed:
    """Listens to what is printed."""

    blocks = False

    def __init__(self, reader: OutputReader, tell: Tell) -> None:
        self._reader, self._tell = reader, tell
        self.environment: dict[str, str] = {}

    def hear(self, line: str, *, error: bool) -> None:
        for evaluation in self._reader.line(line, error=error):
            self._tell(evaluation)

    def go_on(self) -> None:
        """It doesn't wait."""

    def finish(self, *, whole: bool) -> None:
        """All that was printed has been heard."""

    def close(self, reason: str) -> None:
        """Nothing is held."""


class Written:
    """Listens to what is written to a file.

    broken -- told, in a line, what of it can't be
    """

    blocks = False

    def __init__(
        self, reader: OutputReader, file: OutputFile, tell: Tell, broken: Callable[[str], None]
    ) -> None:
        self._reader, self._tell = reader, tell
        self.environment: dict[str, str] = {}
        self._follower = Follower(file, self._take, broken)

    def _take(self, told: Told) -> None:
        for evaluation in self._reader.take(told):
            self._tell(evaluation)

    def hear(self, line: str, *, error: bool) -> None:
        """What is printed is for people."""

    def go_on(self) -> None:
        """It doesn't wait."""

    def finish(self, *, whole: bool) -> None:
        self._follower.end(whole=whole)

    def close(self, reason: str) -> None:
        """What a program writes as it ends is heard too."""


class Reported:
    """Listens to what is reported.

    broken -- told, in a line, what of it can't be
    after  -- the step of the last evaluation that an earlier start has told: what is reported up to
              there is passed over
    """

    blocks = True

    def __init__(
        self,
        program: Program,
        batch_size: int,
        tell: Tell,
        broken: Callable[[str], None],
        after: int,
    ) -> None:
        self._program, self._batch_size, self._after = program, batch_size, after
        self._tell, self._broken = tell, broken
        self._channel = ReportChannel(self._take)

    @property
    def environment(self) -> dict[str, str]:
        return self._channel.environment

    def _take(self, report: Report) -> None:
        if (wrong := self._wrong(report)) is not None:
            self._broken(wrong)
        elif 0 < report.step <= self._after:
            self._channel.go()
        else:
            self._tell(Evaluation(report.step, report.loss, report.value, report.measures))
            if report.step == 0:
                self._channel.go()

    def _wrong(self, report: Report) -> str | None:
        """How it is said that a report can't be one of this trial's, if it can't be."""
        try:
            refuse_names(report.measures, self._program.goal.metric.name)
        except WorkloadError as error:
            return f"step {report.step:,} is reported with measures that can't be: {error}"
        return self._wrong_examples(report)

    def _wrong_examples(self, report: Report) -> str | None:
        """How it is said that the batches aren't of the trial's size, if they can't be."""
        most = report.step * self._batch_size
        if report.examples is None or most / 2 < report.examples <= most or not report.step:
            return None  # an epoch's last batch may be smaller
        return (
            f"{report.examples:,} examples in {report.step:,} steps are reported, and with the "
            f"trial's batch size, {self._batch_size}, they are {most:,}"
        )

    def hear(self, line: str, *, error: bool) -> None:
        """What is printed is for people."""

    def go_on(self) -> None:
        self._channel.go()

    def finish(self, *, whole: bool) -> None:
        """All that was reported has been told."""

    def close(self, reason: str) -> None:
        self._channel.end(reason)
        self._channel.close()
