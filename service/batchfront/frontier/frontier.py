"""The best trial of every batch size, and how all the others ended, in a few queries."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, make_url

from batchfront.displayed import Displayed
from batchfront.errors import UsageError
from batchfront.frontier.code_versions import by_version
from batchfront.frontier.queries import (
    ShownTrial,
    Trial,
    require,
    select_at_goal,
    select_finishers,
    select_outcomes,
    select_rerun_versions,
    select_shown,
    select_winners,
)
from batchfront.median import median
from batchfront.outcomes import in_words
from batchfront.store.commands import command
from batchfront.store.database import DEFAULT_URL
from batchfront.store.snapshot import Source, snapshot
from batchfront.study.infeasible import Ended, nothing_trains
from batchfront.study.shown import as_raced
from batchfront.study.study import Filter, Study, find_studies, goal_text, readable
from batchfront.table import Table
from batchfront.vocabulary import SEARCHES, Outcome, Purpose
from batchfront.workload.search_space import SearchSpace, Value
from batchfront.workload.space_edges import edges

if TYPE_CHECKING:
    from pandas import DataFrame

    from batchfront.frontier.expected import ExpectedFrontier

_NAMED = 10_000  # slots that one statement asks for


@dataclass(frozen=True)
class Finisher:
    """A trial that reached the goal: its number, its steps to target, and the evaluation
    before."""

    number: int
    steps: float
    steps_lower: float | None


@dataclass(frozen=True)
class Point:
    """The frontier at one batch size.

    best        -- the trial with the fewest steps to target, of equals the one with the lowest
                   number; None while none has reached the goal. Of steps measured elsewhere, whose
                   trials are seeds and no search, the one in the middle, of two the faster; None
                   where the median seed has not reached the goal
    finishers   -- the trials that reached the goal, best first
    versions    -- what its trials ran on: kind of version to the different ones found
    sources     -- checksum of the code that made trials to their number
    rerun_by    -- those of the code that ran some of them again, to confirm or by a rule
    steps       -- steps to target of the best trial; of steps measured elsewhere, their median, in
                   which a seed that has not reached the goal counts as infinitely many
    steps_lower -- the last evaluated step at which that trial's goal stood open, or the median of
                   these: the goal was passed somewhere in (steps_lower, steps]
    examples    -- steps * batch_size, to a whole number
    trial       -- the best trial's number in its Optuna study; None where the median lies between
                   two
    params      -- its metaparameters, the fixed ones included
    measures    -- what else was measured of the validation split where it passed the goal, by
                   name; None where that wasn't finite
    shown       -- what the trials of a search have shown, by number: as one worker alone would have
                   raced them (`batchfront.study.shown.as_raced`), so that it doesn't depend on how
                   many shared the race
    outcomes    -- outcome to number of trials; those not done yet are `open`
    edges       -- searched metaparameters in which the winner lies at an end of the search space
    """

    study: Study
    best: Trial | None
    outcomes: Mapping[str, int]
    finishers: tuple[Finisher, ...]
    versions: Mapping[str, Sequence[str]]
    sources: Mapping[str, int] = field(default_factory=dict)
    rerun_by: frozenset[str] = frozenset()
    measures: Mapping[str, float | None] = field(default_factory=dict)
    shown: tuple[ShownTrial, ...] = field(default=(), repr=False, compare=False)

    def __repr__(self) -> str:
        steps = "not reached" if self.steps is None else f"{self.steps:,} steps"
        ended = in_words(self.outcomes)
        return (
            f"<Point of {self.study.workload} at batch size {self.batch_size:,}: {steps}, {ended}>"
        )

    @property
    def batch_size(self) -> int:
        return self.study.batch_size

    @property
    def batch_tokens(self) -> int | None:
        """Tokens of a batch, on average, to a whole number; None where examples aren't counted in
        them."""
        each = self.study.tokens_per_example
        return None if each is None else round(each * self.batch_size)

    @property
    def measured_elsewhere(self) -> bool:
        """Whether its trials are seeds, measured elsewhere, and no search."""
        return self.study.purpose == Purpose.POINTS

    @property
    def in_time(self) -> int:
        """How many trials of a search reached the goal before its race capped them."""
        return sum(one.steps_to_target is not None for one in self.shown)

    @property
    def seeds(self) -> tuple[float, ...]:
        """The steps of every seed measured elsewhere, infinite where it has not reached the goal;
        none of a search."""
        return self._with_unreached([one.steps for one in self.finishers])

    @property
    def steps(self) -> float | None:
        if self.best is None:
            return None
        return median(self.seeds) if self.measured_elsewhere else self.best.steps_to_target

    @property
    def steps_lower(self) -> float | None:
        if self.best is None or not self.measured_elsewhere:
            return self.best.steps_lower if self.best else None
        lower = [one.steps_lower for one in self.finishers if one.steps_lower is not None]
        return median(self._with_unreached(lower)) if len(lower) == len(self.finishers) else None

    @property
    def examples(self) -> int | None:
        return None if self.steps is None else round(self.steps * self.batch_size)

    def _with_unreached(self, reached: Sequence[float]) -> tuple[float, ...]:
        """With infinity for each seed that has not reached the goal; nothing of a search."""
        unreached = self.trials - len(self.finishers)
        return (*reached, *[inf] * unreached) if self.measured_elsewhere else ()

    @property
    def trial(self) -> int | None:
        if self.best is None or self.best.steps_to_target != self.steps:
            return None
        return self.best.number

    @property
    def params(self) -> Mapping[str, Value]:
        return self.best.params if self.best else {}

    @property
    def trials(self) -> int:
        """The number of its trials, done or not."""
        return sum(self.outcomes.values())

    @property
    def space(self) -> SearchSpace:
        return self.study.space

    @property
    def inexact(self) -> bool:
        """Whether trials were dropped by an option, one of which might have won."""
        return bool(self.outcomes.get(Outcome.DROPPED))

    @property
    def edges(self) -> dict[str, str]:
        return edges(self.space, self.params) if self.best else {}

    def to_dict(self) -> dict[str, Any]:
        """The point as plain data."""
        return {
            "batch_size": self.batch_size,
            "steps": self.steps,
            "steps_lower": self.steps_lower,
            "examples": self.examples,
            "trial": self.trial,
            "params": dict(self.params),
            "measures": dict(self.measures),
            "outcomes": dict(self.outcomes),
            "edges": self.edges,
            **({} if self.batch_tokens is None else {"batch_tokens": self.batch_tokens}),
        }


@dataclass(frozen=True)
class Frontier(Displayed):
    """A workload's points, by batch size; and the database that they are from."""

    workload: str
    points: tuple[Point, ...]
    url: URL = field(default=make_url(DEFAULT_URL), repr=False, compare=False)

    def __repr__(self) -> str:
        reached = f"{len(self.reached)} of {len(self.points)} batch sizes"
        return f"<Frontier of {self.workload}: {self.goal_text} reached at {reached}>"

    def as_tables(self) -> Sequence[Table]:
        from batchfront.frontier.overview import frontier_tables

        return frontier_tables(self)

    @property
    def goal(self) -> dict[str, Any]:
        """`metric`, `better` ("lower" or "higher") and `value`."""
        return dict(self.points[0].study.identity["goal"])

    @property
    def goal_text(self) -> str:
        """The goal in words: "validation error rate < 0.03"."""
        return goal_text(self.goal)

    @property
    def metric_text(self) -> str:
        """The goal metric in words: "validation error rate"."""
        return self.points[0].study.metric_text

    @property
    def tokens_per_example(self) -> float | None:
        """How many tokens an example has on average; None where they aren't counted."""
        return self.points[0].study.tokens_per_example if self.points else None

    @property
    def metaparameters(self) -> list[str]:
        """The names of what the winners were tuned in, in order."""
        return sorted({name for point in self.points for name in point.params})

    @property
    def measured_elsewhere(self) -> bool:
        """Whether its points are steps that were measured elsewhere: medians, and no winners."""
        return any(point.measured_elsewhere for point in self.points)

    @property
    def reached(self) -> tuple[Point, ...]:
        """The points where some trial has reached the goal, or the median of the seeds."""
        return tuple(point for point in self.points if point.steps is not None)

    @property
    def unreached(self) -> tuple[Point, ...]:
        """The points whose trials are all done, and have not reached the goal, but for those where
        all trials failed with an error, which says nothing of the goal."""
        done = (point for point in self.points if not point.outcomes.get("open"))
        return tuple(p for p in done if p.steps is None and {*p.outcomes} - {Outcome.FAILED})

    @property
    def failed(self) -> tuple[Point, ...]:
        """The points where all trials failed with an error."""
        return tuple(point for point in self.points if {*point.outcomes} == {Outcome.FAILED})

    @property
    def unreached_beyond(self) -> tuple[Point, ...]:
        """Of these, the ones larger than every batch size that has reached the goal."""
        largest = max((point.batch_size for point in self.reached), default=0)
        return tuple(point for point in self.unreached if point.batch_size > largest)

    @property
    def nothing_trains(self) -> list[str]:
        """Where all trials so far have diverged or stalled, and what to change there."""
        return nothing_trains(
            Ended(p.study, {o: n for o, n in p.outcomes.items() if o != "open"}, p.trials)
            for p in self.points
        )

    @property
    def outcomes(self) -> Mapping[str, int]:
        """Outcome to number of trials at all batch sizes; those not done yet are `open`."""
        return sum((Counter(point.outcomes) for point in self.points), Counter())

    @property
    def versions(self) -> dict[str, list[str]]:
        """What the trials ran on: kind of version to the different ones found."""
        found: dict[str, set[str]] = {}
        for point in self.points:
            for kind, versions in point.versions.items():
                found.setdefault(kind, set()).update(versions)
        return {kind: sorted(versions) for kind, versions in sorted(found.items())}

    @cached_property
    def expected(self) -> "ExpectedFrontier":
        """What a run at the tuned metaparameters takes, by what all trials have shown."""
        from batchfront.frontier.expected import expected_frontier

        return expected_frontier(self.points)

    def to_dict(self) -> dict[str, Any]:
        """The frontier as plain data: `workload`, `goal`, `code`, `points`."""
        points = [point.to_dict() for point in self.points]
        code = by_version(self)
        return {"workload": self.workload, "goal": self.goal, "code": code, "points": points}

    def to_frame(self) -> "DataFrame":
        """The frontier as a pandas DataFrame; see
        `batchfront.frontier.dataframes.frontier_frame`."""
        from batchfront.frontier.dataframes import frontier_frame

        return frontier_frame(self)


def load_frontier(source: Source, workload: str, *, first: int | None = None) -> Frontier:
    """The frontier of one workload. Raises UsageError, naming those there are, if it has none.

    first -- see load_frontiers
    """
    with snapshot(source) as moment:
        require(moment, (workload,))
        return load_frontiers(moment, (workload,), first=first)[0]


def load_frontiers(
    source: Source, workloads: Sequence[str] = (), *, first: int | None = None
) -> list[Frontier]:
    """The frontiers of these workloads, or of all that the database holds, by name.

    first -- of every search, only so many complete trials, those with the lowest numbers: the
             selection of Shallue et al. 2018. Complete is what neither diverged nor failed nor is
             open. Raises UsageError, naming them, for studies that have fewer.

    A handful of queries, however many studies and trials there are.
    """
    wanted = Filter(tuple(workloads), purposes=SEARCHES)
    points: dict[str, list[Point]] = {}
    with snapshot(source) as moment:
        for point in _points(moment, wanted, first):
            points.setdefault(point.study.workload, []).append(point)
        url = moment.engine.url
    return [Frontier(name, tuple(mine), url) for name, mine in points.items()]


def _points(moment: Connection, wanted: Filter, first: int | None) -> list[Point]:
    # What ran their trials again is asked about too.
    left_out = readable(moment, replace(wanted, purposes=())).left_out
    wanted = replace(wanted, left_out=left_out)
    found = find_studies(moment, wanted)
    outcomes: dict[int, Counter[str]] = {}
    ran_on: dict[int, dict[str, set[str]]] = {}
    sources: dict[int, Counter[str]] = {}
    for study_id, outcome, text, number in moment.execute(select_outcomes(wanted, first)):
        outcomes.setdefault(study_id, Counter())[outcome or "open"] += number
        for kind, version in json.loads(text or "{}").items():
            ran_on.setdefault(study_id, {}).setdefault(kind, set()).add(version)
            if kind == "source":
                sources.setdefault(study_id, Counter())[version] += number
    _refuse_fewer(moment.engine.url, found, outcomes, first)
    winners = moment.execute(select_winners(wanted, first)).fetchall()
    best = {row.study_id: Trial.from_row(row) for row in winners}
    at_goal: dict[int, dict[str, float | None]] = {}
    for some in _parts([row.id for row in winners]):
        for study_id, metric, value in moment.execute(select_at_goal(some)):
            at_goal.setdefault(study_id, {})[metric] = value
    finishers: dict[int, list[Finisher]] = {}
    for study_id, *finisher in moment.execute(select_finishers(wanted, first)):
        finishers.setdefault(study_id, []).append(Finisher(*finisher))
    shown: dict[int, list[ShownTrial]] = {}
    for study_id, *told in moment.execute(select_shown(wanted, first)):
        shown.setdefault(study_id, []).append(ShownTrial(*told))
    rerun_by: dict[tuple[str, int], set[str]] = {}
    for workload, batch_size, text in moment.execute(select_rerun_versions(wanted)):
        source = json.loads(text).get("source")
        rerun_by.setdefault((workload, batch_size), set()).update([source] if source else [])
    points = []
    for study in found:
        point = Point(
            study,
            best.get(study.id),
            dict(sorted(outcomes.get(study.id, {}).items())),
            tuple(finishers.get(study.id, ())),
            {kind: sorted(known) for kind, known in ran_on.get(study.id, {}).items()},
            sources.get(study.id, {}),
            frozenset(rerun_by.get((study.workload, study.batch_size), ())),
            {
                name: value
                for name, value in at_goal.get(study.id, {}).items()
                if name != study.metric
            },
            tuple(as_raced(study, shown.get(study.id, ()))),
        )
        unreached = point.steps is not None and not isfinite(point.steps)
        points.append(replace(point, best=None, measures={}) if unreached else point)
    return points


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """No more of them at once than a statement may name."""
    return (ids[start : start + _NAMED] for start in range(0, len(ids), _NAMED))


def _refuse_fewer(
    url: URL,
    found: Sequence[Study],
    outcomes: Mapping[int, Mapping[str, int]],
    first: int | None,
) -> None:
    """Raise UsageError, naming them, for searches with fewer than the `first` complete trials."""
    there = {study.id: sum(outcomes.get(study.id, {}).values()) for study in found}
    fewer = [s for s in found if s.purpose != "points" and there[s.id] < (first or 0)]
    if not fewer:
        return
    all_have = min(there[study.id] for study in fewer)
    some = command(url, "frontier", fewer[0].workload, "--first", str(all_have))
    raise UsageError(
        f"{', '.join(f'study {s.name} has {there[s.id]}' for s in fewer)} complete trials, not the "
        f"{first} asked for; trials that diverged, failed or are open don't count"
        + (f". As many as all have: {some}" if all_have else "")
    )


def require_batch_sizes(frontier: Frontier, batch_sizes: Sequence[int]) -> None:
    """Raise UsageError, naming those there are, unless all of these batch sizes have points."""
    there = [point.batch_size for point in frontier.points]
    for batch_size in batch_sizes:
        if batch_size not in there:
            raise UsageError(
                f"--batch-sizes {batch_size}: {frontier.workload} has no study of it; there are: "
                f"{', '.join(map(str, there)) or 'none'}"
            )


def searched_points(frontier: Frontier, batch_sizes: Sequence[int] | None) -> list[Point]:
    """The searched points at these batch sizes, or at all. Raises UsageError if one is missing."""
    points = [point for point in frontier.points if point.study.purpose == Purpose.SEARCH]
    require_batch_sizes(replace(frontier, points=tuple(points)), batch_sizes or ())
    return [point for point in points if batch_sizes is None or point.batch_size in batch_sizes]
