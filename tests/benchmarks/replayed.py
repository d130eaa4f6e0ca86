"""What rules that drop trials would have made of a recorded race, by the rules that a race has."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

from batchfront.outcomes import LearningCurve
from batchfront.training.early_dropping import DroppingRule, curve_of, rules
from batchfront.workload import catalog
from tests.benchmarks.recorded_races import Course, Recorded


@dataclass(frozen=True)
class Replayed:
    """A race as it would have been.

    best      -- steps of the winner; infinite: no trial that was left had passed when the
                 recording ended
    ends      -- where each trial ended, by number
    steps     -- training steps, all trials together; so far, where there is no winner
    evaluated -- examples evaluated
    """

    best: float
    ends: dict[int, int]
    evaluated: int

    @property
    def steps(self) -> int:
        return sum(self.ends.values())


def replay(recorded: Recorded, *, halving: bool = False, extrapolate: bool = False) -> Replayed:
    """The race of a recorded study, in one heat, with these options."""
    workload = catalog.load(recorded.workload).with_goal(recorded.goal)
    chosen = rules(workload.goal, 1, halving=halving, extrapolate=extrapolate)
    grid = workload.grid.steps(workload.steps_allowed(recorded.batch_size))
    live = {course.number: course for course in recorded.courses}
    ends: dict[int, int] = {}
    for step in sorted({look.step for c in recorded.courses for look in c.looks}):
        over = [number for number, course in live.items() if course.steps <= step]
        if _best(live.values()) <= step:
            break
        ends |= {number: live.pop(number).steps for number in over}
        dropped = _dropped(list(live.values()), step, chosen)
        ends |= dict.fromkeys(dropped, step)
        live = {number: course for number, course in live.items() if number not in dropped}
    best = _best(live.values())
    ends |= {number: int(min(course.steps, best)) for number, course in live.items()}
    evaluated = sum(
        course.evaluated[bisect_right(grid, ends[course.number]) - 1] for course in recorded.courses
    )
    return Replayed(best, ends, evaluated)


def _best(live: Iterable[Course]) -> float:
    return min((c.steps for c in live if c.outcome == "reached"), default=inf)


def _dropped(live: Sequence[Course], step: int, chosen: Sequence[DroppingRule]) -> set[int]:
    shown = {c.number: [look for look in c.looks if look.step <= step] for c in live}
    curves: dict[int, LearningCurve] = {
        number: curve_of(looks)
        for number, looks in shown.items()
        if looks and looks[-1].step == step
    }
    return {number for rule in chosen for number in (rule.dropped(curves, None) if curves else ())}
