"""The engine of programs: those that are due go on at once, and those that are ahead are paused."""

from collections.abc import Sequence
from functools import partial
from threading import Condition, Event

from batchfront.errors import ProgramError, WorkloadError
from batchfront.training.engines import Failed, Steps, attempt
from batchfront.training.programs.run import ProgramRun
from batchfront.training.run import GoalCheck

_POLL_SECONDS = 0.2  # after which it is looked again whether to stop, and who is silent


class Together:
    """Advances programs side by side, each to the next evaluation that it tells.

    news      -- notified when any of them has told something, or has ended
    any_heard -- whether any of the study's has ever told an evaluation

    That the first program of a study ends well without having told one, or tells what makes no
    sense, is no failure of its trial but of what is said of the workload's output: WorkloadError is
    raised, as every other would do the same.
    """

    def __init__(self, news: Condition, *, any_heard: bool = False) -> None:
        self._news, self._any_heard = news, any_heard

    def advance(
        self, runs: Sequence[ProgramRun], to_step: Steps, stop: Event
    ) -> list[bool | Failed]:
        found: list[bool | Failed | None] = [_started(run, hold=len(runs) > 1) for run in runs]
        with self._news:
            while not stop.is_set():
                found = [
                    self._taken(run) if there is None else there
                    for run, there in zip(runs, found, strict=True)
                ]
                if None not in found:
                    break
                self._news.wait(_POLL_SECONDS)
        return [there if there is not None else False for there in found]

    def _taken(self, run: ProgramRun) -> bool | Failed | None:
        taken = attempt(run.take)
        self._any_heard = self._any_heard or taken is True
        if isinstance(taken, Failed) and run.is_mute and not self._any_heard:
            raise WorkloadError(f"{run.trial.program.name}: {taken.reason.splitlines()[0]}")
        return taken

    def finite(self, runs: Sequence[ProgramRun]) -> list[bool]:
        return [run.is_finite() for run in runs]

    def evaluate(self, runs: Sequence[ProgramRun], *, full: bool) -> list[GoalCheck | Failed]:
        return [attempt(partial(run.evaluate, full=full)) for run in runs]


def _started(run: ProgramRun, *, hold: bool) -> Failed | None:
    try:
        run.go_on(hold=hold)
    except ProgramError as error:
        return Failed(str(error))
    return None
