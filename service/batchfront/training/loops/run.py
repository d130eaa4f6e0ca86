"""A run of a user's generator, which trains by itself and yields where it is evaluated."""

import logging
import math
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import fmean
from threading import Event
from time import perf_counter
from typing import Any, NamedTuple

from batchfront.errors import CheckpointError, WorkloadError
from batchfront.outcomes import Evaluation, GoalCrossing, TrialCost
from batchfront.training.loops.packing import packed, unpacked
from batchfront.training.loops.resumption import Resumption
from batchfront.training.loops.turns import Turns
from batchfront.training.loops.watch import BrokenOff, Watch
from batchfront.training.memory import is_lost_device, is_out_of_memory, release
from batchfront.training.programs.folder import TrialFolder
from batchfront.training.run import GoalCheck, State, Weights
from batchfront.vocabulary import EngineName
from batchfront.workload.evaluation_grid import GridSteps
from batchfront.workload.loop import Loop, Measured, Stateful, Trial
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.user_error import error_in

log = logging.getLogger(__name__)

_ENDED = object()  # what a generator gives that has returned

_WATCH = Watch()


def _is_stateful(value: Any) -> bool:
    """Whether it has both methods of a `Stateful`."""
    kind = type(value)
    return all(callable(getattr(kind, name, None)) for name in ("state_dict", "load_state_dict"))


def _is_module(part: Any) -> bool:
    """Whether it is a module of torch's."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(part, torch.nn.Module)


def _with_modules(part: Any) -> Iterator[Any]:
    """What is kept with a part: itself, and the modules in it."""
    yield part
    modules = getattr(part, "modules", None)
    if callable(modules):
        yield from modules()


class Shown(NamedTuple):
    """What a loop has yielded."""

    step: int
    value: float
    loss: float | None
    measures: Mapping[str, float] = {}


class LoopRun:
    """A generator of the user's in this process, advanced by `next`: a `Run`.

    It yields `trial.measured` at the steps of the loop's grid, all of them and no others. A bare
    `yield` is a place where it may be stopped, to go on from its last checkpoint.

    folder     -- takes the trial's folder, once the loop asks for it: as the last one has left it
                 if told so
    resumption -- how it goes on after an interruption
    watch      -- says where it is, should it not yield
    """

    replayable = False  # it evaluates itself

    def __init__(
        self,
        loop: Loop,
        batch_size: int,
        values: Metaparameters,
        seed: int,
        *,
        device: str = "cpu",
        folder: Callable[[bool], TrialFolder] | None = None,
        resumption: Resumption = Resumption.REPLAYED,
        watch: Watch | None = None,
    ) -> None:
        self.loop, self.batch_size, self.values, self.seed = loop, batch_size, values, seed
        self.evaluation_steps = GridSteps(loop.grid, loop.steps_allowed(batch_size))
        self.evaluations: list[Evaluation] = []
        self.goal_crossing: GoalCrossing | None = None
        self.cost = TrialCost()
        self.untrained_loss: float | None = None
        self.micro_batch: int | None = None
        self.shown: list[Shown] = []
        self.closed = self.ran_out = False
        self._device, self._take_folder, self._resumption = device, folder, resumption
        self._folder: TrialFolder | None = None
        self._watch = _WATCH if watch is None else watch
        self._turns = Turns(seed, device)
        self._trial: Trial | None = None
        self._generator: Generator[Any, None, None] | None = None
        self._at = 0  # the step of this generator's last yield, or where it goes on from
        self._between = False  # whether it stands at a bare yield
        self._shown_again = 0  # of what has been shown, by this generator
        self._parts: tuple[Stateful, ...] | None = None  # that the loop has asked to keep
        self._restored: State | None = None  # from which the generator begins, or began
        self._losses: list[float] = []  # since the last full evaluation

    @property
    def step(self) -> int:
        """Where it stands: what is replayed was done before."""
        return self.shown[-1].step if self.shown else 0

    @property
    def engine(self) -> str | None:
        """What has computed its steps."""
        return EngineName.SEQUENTIAL.value if self.step else None

    @property
    def unread(self) -> set[str]:
        """What the loop hasn't asked its trial for: metaparameters, and `batch_size`."""
        return set() if self._trial is None else self._trial.unread

    @property
    def train_examples(self) -> int:
        """Those that the loop has asked its trial for batches of; 0 where it hasn't."""
        return 0 if self._trial is None else self._trial.train_examples

    @property
    def has_asked_when(self) -> bool:
        """Whether the loop has asked its trial when it is evaluated."""
        return self._trial is not None and self._trial.has_asked_when

    @property
    def keeps(self) -> bool:
        """Whether the loop has said what is to be kept of it."""
        return self._parts is not None

    @property
    def unkept(self) -> list[str]:
        """What the loop's function has, by the names of its variables, that could be kept and that
        it hasn't asked to keep: nobody knows whether training changes it."""
        frame = getattr(self._generator, "gi_frame", None)
        if frame is None or self._parts is None:
            return []
        kept = {id(one) for part in self._parts for one in _with_modules(part)}
        found = {
            name: None
            for name, value in frame.f_locals.items()
            for one in (value if isinstance(value, list | tuple) else [value])
            if _is_stateful(one) and id(one) not in kept
        }
        return list(found)

    def advance(self, to_step: int, stop: Event | None = None) -> bool:
        """Have the loop train until it yields at `to_step`, or at the first evaluated step after
        that. Returns False if `stop`, once set, has kept it from getting there.

        Raises WorkloadError, in one line, if it can't go on: it has returned, raised, or yielded
        something else.
        """
        began = perf_counter()
        try:
            while self.step < to_step or self._shown_again < len(self.shown):
                if stop is not None and stop.is_set():
                    return False
                found = self._turn(stop)
                self._between = found is None
                if found is not None:
                    self._note(found)
        except BrokenOff:
            self.close()
            return False
        except BaseException as error:
            self.ran_out = is_out_of_memory(error)
            self.close()  # or what it has left on would stay on
            raise
        finally:
            self.cost.training_seconds += perf_counter() - began
        return True

    def is_finite(self) -> bool:
        """Whether every training loss since the last full evaluation was a finite number."""
        return all(map(math.isfinite, self._losses))

    def evaluate(self, *, full: bool) -> GoalCheck:
        """What the loop has found at this step. A full evaluation is kept in `evaluations`."""
        value, measures = self.shown[-1].value, self.shown[-1].measures
        if full:
            loss = fmean(self._losses) if self._losses else None
            self.evaluations.append(Evaluation(self.step, loss, value, measures))
            self._losses = []
        return GoalCheck(self.loop.goal.passed(value), value, 0, measures)

    def test_metric(self) -> float | None:
        """A loop tells no metric of a test split."""
        return None

    def weights(self) -> Weights | None:
        """The states of what the loop keeps: of one module, under its own names; of several parts,
        under their places among those that `keep` was given. Where there are modules, these alone.

        Returns None if it keeps nothing.
        """
        if self._parts is None:
            return None
        numbered = list(enumerate(self._parts))
        modules = [(place, part) for place, part in numbered if _is_module(part)]
        if len(modules) == 1:
            return modules[0][1].state_dict()
        return {str(place): part.state_dict() for place, part in modules or numbered}

    def state(self) -> State | None:
        """What it has shown, and with it what it keeps, or else what it has to show again.

        Returns None if it starts again, or was stopped on its way to the next evaluation: what it
        keeps has gone on then.

        Raises WorkloadError for something that no checkpoint holds.
        """
        restored = self._restored
        if self._generator is None and restored is not None and restored["step"] == self.step:
            return restored
        if self._resumption == Resumption.ANEW:
            return None
        state = {
            "step": self.step,
            "shown": [tuple(one) for one in self.shown],
            "losses": list(self._losses),
            "looks": [tuple(one) for one in self.evaluations],
            "passage": None if self.goal_crossing is None else tuple(self.goal_crossing),
            "spent": asdict(self.cost),
        }
        if self._resumption == Resumption.KEPT:
            if self._generator is None or self._parts is None or self._between:
                return None
            state["parts"] = [self._packed(part) for part in self._parts]
            state["generators"] = packed(self._turns.generators, "the random generators")
        return state

    def restore(self, state: State) -> None:
        """Go on from a `state`, once it is advanced.

        Raises CheckpointError if it was written for another way to go on.
        """
        if ("parts" in state) != (self._resumption == Resumption.KEPT):
            raise CheckpointError("it is of a loop that went on in another way")
        self._restored = state
        self.shown = [Shown(*one) for one in state["shown"]]
        self._losses = list(state["losses"])
        self.evaluations = [Evaluation(*one) for one in state["looks"]]
        self.goal_crossing = None if state["passage"] is None else GoalCrossing(*state["passage"])
        self.cost = TrialCost(**state["spent"])
        self._rewind()

    def close(self) -> None:
        """End the generator, and let go of what it holds."""
        self.closed = True
        generator, self._generator = self._generator, None
        self._trial, self._parts = None, None
        self._rewind()
        if generator is not None:
            try:
                self._turns.take(generator.close)
            except (Exception, SystemExit) as error:
                log.warning("%s: ending the loop raised %s", self.loop.name, error_in(error))
            del generator
            if self._device.startswith("cuda"):
                release()
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def _rewind(self) -> None:
        """Be where the next generator begins: at the start, or at what has been kept."""
        kept = self._restored is not None and "parts" in self._restored
        self._at = self._restored["step"] if self._restored is not None and kept else 0
        self._shown_again = sum(one.step <= self._at for one in self.shown)

    def _turn(self, stop: Event | None) -> Measured | None:
        """Go on to the next yield. Returns what it says, or None of a bare one."""
        if self._generator is None:
            self._begin()
        after = f"after step {self._at}" if self._at else "before its first evaluation"
        try:
            with self._watch.over(self.loop.name, self._at, stop):
                turn = partial(next, self._generator, _ENDED)
                found = self._turns.refusing_remains(turn)
        except WorkloadError as error:
            raise self._error(f"{after}: {error}") from error
        except (Exception, SystemExit) as error:
            if is_out_of_memory(error) or is_lost_device(error):
                raise
            raise self._error(f"train() fails {after}: {_said(error)}") from error
        if found is _ENDED:
            following = self.evaluation_steps.after(self._at)
            raise self._error(
                f"train() returns {after}; it is to go on to the step budget, "
                f"{self.evaluation_steps.budget:,} steps (trial.step_budget), and to yield at step "
                f"{following} next"
            )
        if found is not None and not isinstance(found, Measured):
            kind = type(found).__name__
            raise self._error(
                f"{after}: train() yields a {kind}; write yield trial.measured(step, value)"
            )
        return found

    def _begin(self) -> None:
        """Make the generator, of which nothing runs yet."""
        self.closed = False
        self._turns = Turns(self.seed, self._device)
        self._trial = Trial(
            self.values,
            self.batch_size,
            self.seed,
            self.evaluation_steps,
            device=self._device,
            directory=self._directory,
            step=self._at,
            keep=self._keep,
        )
        found = self.loop.train(self._trial)
        if not hasattr(found, "__next__") or not hasattr(found, "close"):
            raise self._error(f"train() returned a {type(found).__name__}; write a generator")
        self._generator = found

    def _directory(self) -> Path:
        """Called by the loop, within its turn."""
        if self._take_folder is None:
            raise WorkloadError("there is no trial.directory here")
        if self._folder is None:
            self._folder = self._take_folder(self._trial is not None and self._trial.step > 0)
        return self._folder.path

    def _keep(self, parts: tuple[Stateful, ...]) -> None:
        """Called by the loop, within its turn."""
        if self._parts is not None:
            raise WorkloadError("trial.keep is called twice; give it all in one call")
        self._parts = parts
        if self._restored is None or "parts" not in self._restored:
            return
        states = self._restored["parts"]
        if len(states) != len(parts):
            raise WorkloadError(f"trial.keep has {len(parts)} parts, and kept {len(states)} before")
        for part, state in zip(parts, states, strict=True):
            part.load_state_dict(unpacked(state))
        self._turns.generators = unpacked(self._restored["generators"])
        self._turns.put_generators()

    def _packed(self, part: Stateful) -> Any:
        where = f"trial.keep: the {type(part).__name__}'s state_dict()"
        try:
            return packed(part.state_dict(), where)
        except WorkloadError as error:
            raise self._error(str(error)) from None

    def _note(self, found: Measured) -> None:
        """Take note of an evaluation, or compare it with what it was before an interruption."""
        self._check(found)
        self._at = found.step
        shown = Shown(found.step, found.value, found.loss, found.measures)
        if self._shown_again < len(self.shown):
            before = self.shown[self._shown_again]
            if difference := differing(self.loop, before, shown):
                raise self._error(
                    f"your loop isn't reproducible: {difference}, when it was run again after an "
                    "interruption"
                )
            self._shown_again += 1
            return
        self.shown.append(shown)
        self._shown_again += 1
        if found.loss is not None:
            self._losses.append(found.loss)

    def _check(self, found: Measured) -> None:
        expected, step = self.evaluation_steps.after(self._at), found.step
        if self._at and self._parts is None and self._trial is not None and self._trial.step:
            raise self._error(
                f"goes on after step {self._trial.step}, and does not call trial.keep this time"
            )
        if self._at and step <= self._at:
            goes_on = self._trial is not None and self._trial.step == self._at
            raise self._error(
                f"yields step {step}, and goes on after step {self._at}; begin at trial.step + 1"
                if goes_on
                else f"yields step {step} after step {self._at}; steps only go up"
            )
        if step != expected:
            raise self._error(
                f"yields step {step}, where step {expected} is the next that is evaluated; yield "
                "wherever trial.evaluates(step), and only there"
            )
        if (wrong := self.loop.why_wrong(found, self.batch_size)) is not None:
            raise self._error(wrong)

    def _error(self, what: str) -> WorkloadError:
        return WorkloadError(f"{self.loop.name}: {what}")


def differing(loop: Loop, one: Shown, other: Shown, close: float = 0.0) -> str | None:
    """How two evaluations of one trial differ: "step 2, loss 0.51 and 0.49".

    close -- the share of the larger by which numbers may differ all the same

    Returns None if they don't.
    """
    if one.step != other.step:
        return f"it yields step {one.step} and step {other.step}"
    common = [name for name in one.measures if name in other.measures]
    for name, a, b in (
        (loop.goal.metric.name, one.value, other.value),
        ("loss", one.loss, other.loss),
        *((name, one.measures[name], other.measures[name]) for name in common),
    ):
        if not _same(a, b, close):
            shown = [f"{a:.{digits}g} and {b:.{digits}g}" for digits in (4, 17) if a and b]
            apart = next((text for text in shown if len(set(text.split(" and "))) > 1), None)
            return f"step {one.step}, {name} {apart or f'{a} and {b}'}"
    return None


def _same(one: float | None, other: float | None, close: float) -> bool:
    if one is None or other is None:
        return one is other
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return one == other or math.isclose(one, other, rel_tol=close)


def _said(error: BaseException) -> str:
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, StopIteration):
        where = error_in(error.__cause__).partition(": StopIteration")[0]
        return f"{where}: next() finds nothing more; begin the iterator again for each epoch"
    return error_in(error)
