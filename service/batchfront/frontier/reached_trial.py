"""A trial that reached the goal, found by what a user types: its batch size, and perhaps its
number."""

from dataclasses import dataclass

from batchfront.errors import UsageError
from batchfront.frontier.frontier import Frontier, Point, load_frontier
from batchfront.frontier.queries import Trial, load_trials
from batchfront.phrases import first_few
from batchfront.store.commands import command
from batchfront.store.snapshot import Source, snapshot
from batchfront.study.study import Study
from batchfront.training.loops.resumption import Resumption


@dataclass(frozen=True)
class ReachedTrial:
    """A trial of a search that reached the goal.

    wins -- whether it is the best of its study
    """

    frontier: Frontier
    study: Study
    trial: Trial
    wins: bool

    @property
    def steps(self) -> int:
        """In which it reached the goal."""
        assert self.trial.steps_to_target is not None
        return int(self.trial.steps_to_target)

    def replayed(self, path: str = "weights.safetensors") -> str:
        """The command, in backticks, that runs it again and writes its weights to a file."""
        told = ("--batch-size", str(self.study.batch_size), "--trial", str(self.trial.number))
        saved = ("--save", path, *self.study.allowed)
        return command(self.frontier.url, "replay", self.study.workload, *told, *saved)

    def require_weights(self, *, kept: bool = False) -> None:
        """Raise UsageError, with what there is instead, of a trial of which nobody has weights.

        kept -- whether its loop is known to give some
        """
        why = why_no_weights(self.study, kept=kept)
        if why is not None:
            told = ("--batch-size", str(self.study.batch_size))
            recipe = command(self.frontier.url, "recipe", self.study.workload, *told)
            raise UsageError(
                f"{self.study.workload}: {why}; {recipe} prints how the winner was trained"
            )


def find_reached(
    source: Source, workload: str, batch_size: int, number: int | None = None
) -> ReachedTrial:
    """Find the winner at a batch size, or the trial of this number.

    Raises UsageError, naming those there are, if there is no such study, winner or trial.
    """
    with snapshot(source) as moment:
        frontier = load_frontier(moment, workload)
        point = next((p for p in frontier.points if p.batch_size == batch_size), None)
        if point is None:
            there = first_few([str(point.batch_size) for point in frontier.points])
            raise UsageError(
                f"--batch-size {batch_size}: {workload} has no study of it; there are: {there}"
            )
        if number is None:
            if point.best is None or point.measured_elsewhere:
                raise UsageError(f"--batch-size {batch_size}: {_why_no_winner(point)}")
            return ReachedTrial(frontier, point.study, point.best, wins=True)
        trials = load_trials(moment, point.study.id)
    found = next((trial for trial in trials if trial.number == number), None)
    if found is None:
        last = max(trial.number for trial in trials)
        raise UsageError(f"--trial {number}: study {point.study.name} has trials 0 to {last}")
    if found.steps_to_target is None:
        reached = first_few([str(one.number) for one in point.finishers]) or "none"
        ended = found.outcome or "open"
        raise UsageError(
            f"--trial {number}: it has not reached the goal ({ended}), and weights are taken where "
            f"that is reached; of study {point.study.name} these have: {reached}"
        )
    wins = point.best is not None and point.best.number == number
    return ReachedTrial(frontier, point.study, found, wins)


def _why_no_winner(point: Point) -> str:
    workload = point.study.workload
    if point.measured_elsewhere:
        return f"{workload} was measured elsewhere there, and has no winner here"
    still = " yet" if point.outcomes.get("open") else ""
    return f"no trial of {workload} has reached the goal there{still}"


def why_no_weights(study: Study, *, kept: bool = False) -> str | None:
    """Why nobody but its own code has a trial's weights, if that is so, as far as the study says.

    kept -- whether its loop is known to give some: also one may that doesn't go on from them
    """
    if not study.spec:
        return "it was imported, without its code and without weights"
    if study.kind == "program":
        return "it is a program, which keeps its model itself, if at all"
    if study.kind == "loop" and not kept:
        tries = study.identity.get("preflight", {})
        if tries.get("resumption") != Resumption.KEPT:
            return "none are kept of its loop, which doesn't go on from what trial.keep has"
    return None
