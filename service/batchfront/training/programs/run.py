"""A trial whose training loop is a program: a run that goes on as its program tells evaluations."""

import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from threading import Condition, Event, RLock, Thread, Timer

from batchfront.errors import BatchfrontError, CheckpointError
from batchfront.outcomes import Evaluation, GoalCrossing, TrialCost
from batchfront.training.engines import Failed
from batchfront.training.programs.command_line import TrialStart
from batchfront.training.programs.folder import TrialFolder, TrialFolders
from batchfront.training.programs.listening import Listener, Printed, Reported, Written
from batchfront.training.programs.output import OutputReader
from batchfront.training.programs.output_files import output_file
from batchfront.training.programs.process import ProgramProcess
from batchfront.training.run import GoalCheck, State, Weights
from batchfront.workload.program import Program
from batchfront.workload.search_space import Metaparameters

log = logging.getLogger(__name__)

ENGINE = "program"

_TOLD_OF_MUTE = 3  # last lines, among which one may be nearly what was waited for

_SHOWN = 50  # last lines of a program that has failed, which are kept with its reason


@dataclass(frozen=True)
class ProgramTrial:
    """A trial of a program's study, and where it runs.

    study   -- the study's name, under which the trial's folder lies
    number  -- the trial's
    folders -- where all trials' folders lie
    device  -- the worker's, by name
    """

    program: Program
    batch_size: int
    values: Metaparameters
    seed: int
    study: str
    number: int
    folders: TrialFolders
    device: str

    @property
    def budget(self) -> int:
        """The steps after which it is given up."""
        return self.program.steps_allowed(self.batch_size)

    @property
    def start(self) -> TrialStart:
        """How its program is started."""
        folder = self.folders.path(self.study, self.number)
        return TrialStart(
            self.program, self.batch_size, self.values, self.seed, folder, self.device
        )


class OwnSteps:
    """The steps at which a program evaluates itself, which it alone knows before."""

    def __init__(self, run: "ProgramRun") -> None:
        self._run = run

    def __contains__(self, step: int) -> bool:
        return step == self._run.step > 0 or any(one.step == step for one in self._run.evaluations)

    def after(self, step: int) -> int | None:
        return None if self._run.is_over or step >= self._run.trial.budget else step + 1

    def before(self, step: int) -> int:
        return max((one.step for one in self._run.evaluations if one.step < step), default=0)

    def is_full(self, step: int) -> bool:
        return True

    def spent(self, step: int) -> str:
        return self._run.why_over


class ProgramRun:
    """One trial of a program: a `Run`.

    What the program tells is queued as it comes, and `take` takes one evaluation after another: so
    how far the program itself has got meanwhile makes no difference to the race. Pausing it only
    saves what it would have done in vain.

    news -- notified whenever the program has told something, or has ended
    """

    replayable = False  # it evaluates itself

    def __init__(self, trial: ProgramTrial, news: Condition) -> None:
        self.trial, self._news = trial, news
        self.goal_crossing: GoalCrossing | None = None
        self.evaluations: list[Evaluation] = []
        self.untrained_loss: float | None = None
        self.micro_batch: int | None = None
        self.engine: str | None = None
        self.step = 0
        self.is_over = False
        self.is_mute = False  # it has told nothing that could be made sense of, and won't
        self.why_over = f"step budget of {trial.budget} spent"
        self.evaluation_steps = OwnSteps(self)
        self._current: Evaluation | None = None
        self._told: deque[Evaluation] = deque()
        self._spent = TrialCost()  # by earlier starts
        self._resuming = False
        self._all_told = False
        self._broken: str | None = None  # what of its output can't be, in a line
        self._lock = RLock()
        self._holding = False  # whether it stands still where it evaluates itself next
        self._free = trial.program.resources.max_pause <= 0  # never paused, or no longer
        self._timer: Timer | None = None
        self._folder: TrialFolder | None = None
        self._listener: Listener | None = None
        self._process: ProgramProcess | None = None
        self._ending: Thread | None = None

    @property
    def cost(self) -> TrialCost:
        running = 0.0 if self._process is None else self._process.running_seconds
        return replace(self._spent, training_seconds=self._spent.training_seconds + running)

    # -- the program

    def go_on(self, *, hold: bool) -> None:
        """Start the program, or let it go on if all that it has told was taken.

        hold -- whether it stands still where it evaluates itself next

        Raises ProgramError if it can't be started.
        """
        self._holding = hold
        if self.engine is None:
            self.engine = ENGINE
            self._start()
        with self._lock:
            if not self._told:
                self._release()

    def _start(self) -> None:
        start, resources = self.trial.start, self.trial.program.resources
        resume = self._resuming
        self._folder = folder = self.trial.folders.take(
            self.trial.study, self.trial.number, resume=resume, grace=resources.grace
        )
        start.write_metaparameters()
        with self._lock:  # what it tells before it is known here waits
            self._listener = listener = self._listening()
            self._process = ProgramProcess(
                start.arguments(resuming=resume),
                env={**start.environment(), **listener.environment},
                cwd=self.trial.program.folder,
                folder=folder.path,
                tty=resources.tty,
                on_line=partial(self._hear, error=False),
                on_error=partial(self._hear, error=True),
                on_exit=self._exited,
                lock=folder.lock,
            )

    def _listening(self) -> Listener:
        program, batch_size = self.trial.program, self.trial.batch_size
        before = [*self.evaluations, *self._told]
        if program.output.kind == "report":
            after = before[-1].step if before else 0
            return Reported(program, batch_size, self._tell, self._break, after)
        reader = OutputReader(program, batch_size, before)
        if (path := self.trial.start.output_file) is not None:
            file = output_file(program.output, path)
            return Written(reader, file, self._tell, self._break)
        return Printed(reader, self._tell)

    def _hear(self, line: str, *, error: bool) -> None:
        self._have(lambda listener: listener.hear(line, error=error))

    def _exited(self) -> None:
        self._finish()
        with self._news:
            self._all_told = True  # by its file too, which is read after its last line
            self._news.notify_all()

    def _finish(self) -> None:
        with self._lock:
            whole = self._process is not None and self._process.ended_well
        self._have(lambda listener: listener.finish(whole=whole))

    def _have(self, work: Callable[[Listener], None]) -> None:
        """Have the listener do something; what it can't make sense of ends the trial."""
        if self._listener is not None and self._broken is None:
            try:
                work(self._listener)
            except BatchfrontError as error:
                self._break(str(error))

    def _break(self, why: str) -> None:
        with self._news:
            self._broken = why
            self._news.notify_all()

    def _tell(self, evaluation: Evaluation) -> None:
        """Take note of an evaluation; the program stands still there if it is to."""
        if evaluation.step == 0:
            self.untrained_loss = evaluation.loss
            return
        with self._lock:
            if self._process is not None:
                self._process.hear()
            self._told.append(evaluation)
            if self._free:
                self._release()
            elif self._holding:
                self._stand_still()
        with self._news:
            self._news.notify_all()

    def _stand_still(self) -> None:
        if self._timer is not None or self._listener is None:
            return
        if self._process is not None:
            self._process.pause(waits=self._listener.blocks)
        self._timer = Timer(self.trial.program.resources.max_pause, self._overdue)
        self._timer.daemon = True
        self._timer.start()

    def _overdue(self) -> None:
        """It has stood still for as long as it may: from now on it goes its own way."""
        with self._lock:
            self._free = True
            self._release()

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._process is not None:
            self._process.resume()
        if self._listener is not None:
            self._listener.go_on()

    # -- as the race sees it

    def take(self) -> bool | Failed | None:
        """Take the next evaluation that the program has told.

        Returns True if there was one, False if no more will come, what has gone wrong, or None
        while there is nothing yet.
        """
        # The exit code first: when all has been told, all of it has been queued.
        code = self._process.exit_code if self._process is not None and self._all_told else None
        with self._lock:
            told = self._told.popleft() if self._told else None
        if told is not None:
            self.is_over = told.step > self.trial.budget
            if not self.is_over:
                self._current, self.step = told, told.step
            elif not self.step:
                budget = f"the step budget of {self.trial.budget:,}"
                self.why_over = f"the first evaluation is at step {told.step:,}, beyond {budget}"
                log.warning(
                    "%s trial %d: %s",
                    self.trial.study,
                    self.trial.number,
                    self.why_over,
                    extra={"trial": self.trial.number},
                )
            return not self.is_over
        if self._broken is not None:
            self.is_mute = not self.step
            return self._failed(self._broken, tell=0)  # it names the line that it is about
        if code is None:
            return self._hung()
        if code:
            ended = f"signal {-code}" if code < 0 else f"exit code {code}"
            return self._failed(f"the program ended with {ended}")
        self.is_over = True
        if not self.step:
            return self._mute(f"the program ended without {self.trial.program.output.expected}")
        self.why_over = f"the program ended by itself after step {self.step}"
        return False

    def _hung(self) -> Failed | None:
        limit = self.trial.program.resources.timeout_without_output
        if limit is None or self._process is None or self._process.silent_seconds < limit:
            return None
        silent = f"the program has printed nothing for {limit:g} s"
        if self.step:
            return self._failed(silent)
        return self._mute(f"{silent}, and before not {self.trial.program.output.expected}")

    def _mute(self, why: str) -> Failed:
        self.is_mute = True
        return self._failed(why, tell=_TOLD_OF_MUTE)

    def _failed(self, why: str, *, tell: int = 1) -> Failed:
        """What has gone wrong, and so many of the last lines that it printed, in one; and then all
        that are kept."""
        lines = [] if self._process is None else self._process.last_lines(_SHOWN)
        said = [line.strip() for line in lines if line.strip()][-tell:] if tell else []
        if said:
            why += f"; its last line{'s' * (len(said) > 1)}: {' | '.join(said)}"
        return Failed("\n".join([why, *lines]))

    def advance(self, to_step: int, stop: Event | None = None) -> bool:
        raise NotImplementedError("programs are advanced together, by their engine")

    def is_finite(self) -> bool:
        loss = None if self._current is None else self._current.loss
        return loss is None or math.isfinite(loss)

    def evaluate(self, *, full: bool) -> GoalCheck:
        assert self._current is not None
        self.evaluations.append(self._current)
        _, _, value, measures = self._current
        return GoalCheck(self.trial.program.goal.passed(value), value, 0, measures)

    def test_metric(self) -> float | None:
        return None

    def weights(self) -> Weights | None:
        return None

    # -- its end

    def state(self) -> State | None:
        """End the program, which keeps its checkpoint then. Returns None if it can't resume."""
        if not self.trial.program.resume or self._process is None:
            return None
        self.close()
        self.join()
        if not self.trial.start.checkpoint.exists():
            self._break(
                f"the program wrote no checkpoint, {self.trial.start.checkpoint}, when it was sent "
                "SIGTERM, by which `resume` in [workload] has it do so"
            )
            return None
        return {
            "step": self.step,
            "evaluations": [list(one) for one in self.evaluations],
            "told": [list(one) for one in self._told],
            "untrained_loss": self.untrained_loss,
            "cost": asdict(self.cost),
        }

    def restore(self, state: State) -> None:
        try:
            evaluations = [Evaluation(*one) for one in state["evaluations"]]
            told = [Evaluation(*one) for one in state["told"]]
            step, cost = int(state["step"]), TrialCost(**state["cost"])
            untrained = state["untrained_loss"]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"it is no state of a program's trial: {error}") from None
        self.step, self.evaluations, self._spent = step, evaluations, cost
        self.untrained_loss, self._resuming = untrained, True
        self.goal_crossing = self._crossed()
        self._told.extend(told)

    def _crossed(self) -> GoalCrossing | None:
        """Where it has passed the goal, if it goes on past it."""
        before = 0
        for step, _, metric, measures in self.evaluations:
            if self.trial.program.goal.passed(metric):
                return GoalCrossing(step, before, metric, None, measures)
            before = step
        return None

    def close(self) -> None:
        """Begin to end the program; `join` waits until nothing of it is left."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._ending is None and self._folder is not None:
                self._ending = Thread(target=self._end, name=f"ending-trial-{self.trial.number}")
                self._ending.start()

    def _end(self) -> None:
        grace = self.trial.program.resources.grace
        try:
            if self._listener is not None:
                self._listener.close("its trial is over")
            if self._process is not None:
                if self._listener is not None and self._listener.blocks:
                    self._process.wait(grace)  # it has been told, and may end by itself
                self._process.end(grace)
            self._finish()  # also where it couldn't be started
        finally:
            assert self._folder is not None
            self._folder.close()

    def join(self) -> None:
        """Wait until nothing is left of a program that has been closed."""
        if self._ending is not None:
            self._ending.join()
