"""Does a loop hold together? Tried before any slot is made: its first steps, twice."""

import logging
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from batchfront.errors import UsageError, WorkloadError
from batchfront.training.checkpoint_format import dump, load
from batchfront.training.loops.child import as_program
from batchfront.training.loops.child_run import ChildRun
from batchfront.training.loops.packing import unlike
from batchfront.training.loops.resumption import Resumption
from batchfront.training.loops.run import LoopRun, Shown, differing
from batchfront.training.loops.watch import Watch
from batchfront.training.programs.command_line import TrialStart
from batchfront.training.programs.folder import TrialFolder
from batchfront.training.run import State
from batchfront.workload.code.loop import loop_code
from batchfront.workload.code.versions import Code, digest
from batchfront.workload.evaluation_grid import EvaluationGrid
from batchfront.workload.loop import Loop
from batchfront.workload.program import Program
from batchfront.workload.search_space import Choice, Metaparameters, dimensions, point_at

log = logging.getLogger(__name__)

STEPS = 3
"""That a loop is tried for."""

_EACH_STEP = EvaluationGrid(spacing=1e-9)
_SEED, _OTHER_SEED = 1, 2

_CLOSE = 1e-4  # of the larger number: what isn't rounding is more

_SILENCE = 30.0  # seconds without a yield after which it is said where it is


@dataclass(frozen=True)
class ExaminedLoop:
    """What trying a loop has found: see `batchfront.training.examine.Examined`.

    resumption     -- how an interrupted trial goes on
    why            -- why not from what it keeps, where it does keep something
    torch          -- whether it uses torch
    train_examples -- those of an epoch, as the loop says, or as it has asked for batches of; 0: not
                      known
    ignores_seed   -- whether it shows the same with another seed
    """

    loop: Loop
    code: Code
    resumption: Resumption
    why: str | None
    torch: bool
    train_examples: int
    ignores_seed: bool = False
    identity_parts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tries(self) -> dict[str, Any]:
        at_once = self.loop.at_once or (1 if self.loop.calls_back else None)
        return {"resumption": self.resumption.value, "torch": self.torch, "at_once": at_once}

    @property
    def notes(self) -> list[str]:
        said = {
            Resumption.KEPT: None,
            Resumption.REPLAYED: "an interrupted trial is run again up to where it stood; "
            "trial.keep(model, optimizer) has it go on from there",
            Resumption.ANEW: "an interrupted trial starts again from step 0",
        }[self.resumption]
        if self.loop.trained_elsewhere:
            said = "its trials are asked for, by batchfront.open(URL).trial(NAME)"
        seed = (
            "its first steps show the same with another seed, so that `confirm` would only repeat "
            "itself; if it seeds its generators (torch.manual_seed), let it be with trial.seed"
            if self.ignores_seed
            else None
        )
        lines = [line for line in (self.why, said, seed) if line is not None]
        return [f"{self.loop.name}: {line}" for line in lines]

    def refuse_devices(self, count: int) -> None:
        if count > 1:
            raise WorkloadError(
                f"{self.loop.name}: --devices-per-trial {count} shares every batch, and a loop "
                "computes its batches by itself"
            )


def examine(loop: Loop, batch_sizes: Sequence[int], spec: str) -> ExaminedLoop:
    """Try a loop at the middle of its search space: three steps, twice, the second time with
    another trial in between.

    spec -- where it was found, from any folder: one that calls back is loaded again from there

    Raises UsageError (WorkloadError, SearchSpaceError) in one line for whatever would make every
    trial fail, or a trial's result depend on other trials, or on nothing of what is searched.
    """
    code = loop_code(loop)  # before it has run, and changed what it may hold
    for batch_size in batch_sizes:
        loop.steps_allowed(batch_size)
        loop.space(batch_size)
    _refuse_larger(loop, batch_sizes, loop.train_examples)
    if loop.trained_elsewhere:
        return ExaminedLoop(loop, code, Resumption.ANEW, None, False, loop.train_examples)
    program = None
    if loop.calls_back:
        program = as_program(replace(loop, grid=_EACH_STEP), spec, digest(code))
        for batch_size in batch_sizes:
            program.space(batch_size)
    log.info("%s: trying its first %d steps, twice", loop.name, STEPS)
    # What it prints is no part of what this command does.
    printed = redirect_stdout(sys.stderr)
    with _Tries.of(loop, batch_sizes, program) as tries, _one_thread(), printed:
        resumption, why = _examined(tries)
        _refuse_unasked(loop, tries)
    examples = loop.train_examples or tries.train_examples
    _refuse_larger(loop, batch_sizes, examples)
    uses_torch = "torch" in sys.modules
    return ExaminedLoop(loop, code, resumption, why, uses_torch, examples, tries.ignores_seed)


def _refuse_larger(loop: Loop, batch_sizes: Sequence[int], examples: int) -> None:
    if examples and max(batch_sizes) > examples:
        raise UsageError(
            f"{loop.name}: batch size {max(batch_sizes)} is larger than the training set of "
            f"{examples:,} examples"
        )


@dataclass
class _Tries:
    """Makes runs that are thrown away.

    loop    -- evaluated at each of its first steps
    program -- what trains a trial of it, if it calls back
    """

    loop: Loop
    program: Program | None
    batch_sizes: Sequence[int]
    device: str
    folder: Path
    watch: Watch = field(default_factory=lambda: Watch(silence=_SILENCE))
    unread: set[str] = field(default_factory=set)
    train_examples: int = 0
    has_asked_when: bool = False
    ignores_seed: bool = False

    @classmethod
    @contextmanager
    def of(
        cls, loop: Loop, batch_sizes: Sequence[int], program: Program | None
    ) -> Iterator["_Tries"]:
        folder = Path(mkdtemp(prefix="batchfront-"))
        each = replace(loop, grid=_EACH_STEP)
        tries = cls(each, program, sorted(batch_sizes), _device(), folder)
        tries.unread = {"batch_size", *loop.space(tries.batch_sizes[0])}
        try:
            yield tries
        finally:
            tries.watch.close()
            shutil.rmtree(folder, ignore_errors=True)

    def values(self, batch_size: int, position: float) -> Metaparameters:
        space = self.loop.space(batch_size)
        return point_at(space, [position] * len(dimensions(space)))

    @contextmanager
    def run(
        self, batch_size: int, values: Metaparameters, seed: int = _SEED
    ) -> Iterator[LoopRun | ChildRun]:
        run = self._run(batch_size, values, seed)
        try:
            yield run
        finally:
            run.close()

    def _run(self, batch_size: int, values: Metaparameters, seed: int) -> LoopRun | ChildRun:
        if self.program is not None:
            folder = Path(mkdtemp(dir=self.folder))
            start = TrialStart(self.program, batch_size, values, seed, folder, self.device)
            return ChildRun(start)
        return LoopRun(
            self.loop,
            batch_size,
            values,
            seed,
            device=self.device,
            folder=lambda resume: TrialFolder(self.folder / str(seed), resume=resume),
            resumption=Resumption.KEPT,
            watch=self.watch,
        )

    def advance(self, run: LoopRun | ChildRun, step: int) -> None:
        run.advance(step)
        self.unread &= run.unread
        self.train_examples = run.train_examples
        self.has_asked_when |= run.has_asked_when


def _examined(tries: _Tries) -> tuple[Resumption, str | None]:
    """How a loop's trials go on after an interruption, and why not from what it keeps."""
    loop, batch_size = tries.loop, tries.batch_sizes[0]
    steps = min(STEPS, loop.steps_allowed(batch_size))
    middle = tries.values(batch_size, 0.5)
    alone = _alone(tries, batch_size, middle, steps)
    _refuse_passed_goal(loop, alone[0])
    with tries.run(batch_size, middle) as run:
        tries.advance(run, 1)
        keeps, begun = run.keeps, _read_back(run.state())
        unkept = run.unkept if isinstance(run, LoopRun) else []
        _take_another(tries)
        if steps > 1:
            tries.advance(run, steps)
        beside, ended = list(run.shown), _read_back(run.state())
    _try_choices(tries, middle)
    _refuse_unread(tries)
    exact = _compare(loop, alone, beside)
    tries.ignores_seed = _shows_the_same(tries, batch_size, middle, alone)
    if exact is not None:
        return Resumption.ANEW, f"its numbers differ from run to run in their last digits ({exact})"
    if loop.calls_back:
        return Resumption.ANEW, None
    if not keeps or begun is None or ended is None:
        return Resumption.REPLAYED, None
    with tries.run(batch_size, middle) as run:
        assert isinstance(run, LoopRun)
        run.restore(begun)
        why = _why_not_kept(tries, run, beside, ended) if steps > 1 else None
    if why is None and unkept:  # such as a schedule whose first change comes after these steps
        why = f"trial.keep lacks {' and '.join(unkept)}, which training may change"
    return (Resumption.KEPT, None) if why is None else (Resumption.REPLAYED, why)


def _alone(tries: _Tries, batch_size: int, values: Metaparameters, steps: int) -> Sequence[Shown]:
    """What the loop shows at its first steps, by itself."""
    had_torch = "torch" in sys.modules
    with tries.run(batch_size, values) as run:
        try:
            tries.advance(run, steps)
            return list(run.shown)
        except WorkloadError:
            if had_torch or "torch" not in sys.modules:
                raise
    # It has imported torch itself, before whose random numbers could be seeded. Workers import it
    # first.
    tries.device = _device()
    return _alone(tries, batch_size, values, steps)


def _take_another(tries: _Tries) -> None:
    """A step of another trial: with other metaparameters, and of another batch size if there is
    one. Where it fails, trials there will, and others needn't."""
    batch_size = tries.batch_sizes[min(1, len(tries.batch_sizes) - 1)]
    values = tries.values(batch_size, 0.25)
    with suppress(Exception), tries.run(batch_size, values, _OTHER_SEED) as other:
        tries.advance(other, 1)


def _shows_the_same(
    tries: _Tries, batch_size: int, values: Metaparameters, shown: Sequence[Shown]
) -> bool:
    """Whether a trial with another seed shows exactly what one has shown."""
    with suppress(Exception), tries.run(batch_size, values, _OTHER_SEED) as other:
        for one in shown:
            tries.advance(other, one.step)
            if differing(tries.loop, one, other.shown[-1]):
                return False
        return True
    return False


def _try_choices(tries: _Tries, middle: Metaparameters) -> None:
    """Try what hasn't been of each choice, as long as a metaparameter has not been asked for: it
    may belong to one of them."""
    batch_size = tries.batch_sizes[0]
    for name, dimension in dimensions(tries.loop.space(batch_size)).items():
        for value in dimension.values if isinstance(dimension, Choice) else ():
            if tries.unread and value != middle[name]:
                with suppress(Exception), tries.run(batch_size, {**middle, name: value}) as run:
                    tries.advance(run, 1)


def _refuse_unread(tries: _Tries) -> None:
    unread = sorted(tries.unread - {"batch_size"})
    if "batch_size" in tries.unread:
        raise WorkloadError(
            f"{tries.loop.name}: the loop doesn't take its batch size: its first steps don't ask "
            "for trial.batch_size"
        )
    if unread:
        raise WorkloadError(
            f"{tries.loop.name}: the loop doesn't use the metaparameter {unread[0]!r}: its first "
            f"steps don't ask for trial[{unread[0]!r}]; read it before the first step, or leave it "
            "out of the search space"
        )


def _refuse_unasked(loop: Loop, tries: _Tries) -> None:
    """Raise WorkloadError if the loop evaluates without asking when, and its grid leaves out steps:
    it would fail at the first of them."""
    budget = max(map(loop.steps_allowed, tries.batch_sizes))
    if tries.has_asked_when or loop.own_steps or len(loop.grid.steps(budget)) == budget:
        return
    verb = "report" if loop.calls_back else "yield"
    raise WorkloadError(
        f"{loop.name}: the loop doesn't ask when it is evaluated: its first steps don't call "
        f"trial.evaluates(step); {verb} wherever that is true, and only there"
    )


def _refuse_passed_goal(loop: Loop, first: Shown) -> None:
    if loop.goal.passed(first.value):
        metric = loop.goal.metric
        other = "higher" if metric.better == "lower" else "lower"
        sooner = f", evaluate before step {first.step:,}" if first.step > 1 else ""
        where = "after the first step" if first.step == 1 else "at its first evaluation"
        raise UsageError(
            f"{loop.name}: the goal, {loop.goal}, is already passed {where} ({first.value:.4g}); "
            f"choose a harder one with --goal{sooner}, or is {other} better?"
        )


def _compare(loop: Loop, alone: Sequence[Shown], beside: Sequence[Shown]) -> str | None:
    """Where the same steps have differed by no more than rounding; None if they have not.

    Raises WorkloadError if by more.
    """
    for one, other in zip(alone, beside, strict=True):
        if difference := differing(loop, one, other, _CLOSE):
            raise WorkloadError(
                f"{loop.name}: your loop isn't reproducible: {difference}, the second time with "
                "another trial in between. Trials may share nothing that they change, and draw "
                "from torch's, NumPy's and Python's global random numbers, or from generators that "
                "they seed with trial.seed"
            )
    pairs = zip(alone, beside, strict=True)
    return next((found for a, b in pairs if (found := differing(loop, a, b))), None)


def _why_not_kept(
    tries: _Tries, run: LoopRun, expected: Sequence[Shown], ended: State
) -> str | None:
    """Why a run that goes on from its first step doesn't come to what one has shown, and ended at,
    that wasn't interrupted."""
    try:
        tries.advance(run, expected[-1].step)
        state = _read_back(run.state())
    except WorkloadError as error:
        return f"it can't go on from what trial.keep has kept ({error})"
    assert state is not None
    pairs = zip(expected, run.shown, strict=True)
    found = next((found for a, b in pairs if (found := differing(tries.loop, a, b))), None)
    for what, said in (("parts", "the kept"), ("generators", "random numbers")):
        found = found or unlike(ended[what], state[what], said)
    if found is None:
        return None
    return (
        f"it doesn't go on as before from what trial.keep has kept: {found}. It lacks something "
        "that training changes, or batches are not those after trial.step (trial.batches gives "
        "them)"
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread, as workers do."""
    torch = sys.modules.get("torch")
    threads = 1 if torch is None else torch.get_num_threads()
    if torch is not None:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if torch is not None:
            torch.set_num_threads(threads)


def _read_back(state: State | None) -> State | None:
    """A state as a checkpoint gives it back."""
    if state is None:
        return None
    file = BytesIO()
    dump(state, file)
    file.seek(0)
    return load(file)


def _device() -> str:
    """The first GPU, for a loop that has imported torch and where there is one; else the CPU."""
    torch = sys.modules.get("torch")
    return "cuda:0" if torch is not None and torch.cuda.is_available() else "cpu"
