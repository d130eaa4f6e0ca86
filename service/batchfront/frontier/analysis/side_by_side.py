"""Workloads with one goal on the same data, whose steps can be compared as they are."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from batchfront.frontier.curve.answers import by_expected_steps
from batchfront.frontier.curve.text import SPACE, count, number
from batchfront.frontier.frontier import Frontier
from batchfront.phrases import listed


@dataclass(frozen=True)
class Steps:
    """What a workload takes at a batch size; with the ends of the 90 % interval, if it is expected
    and not the fastest trial's."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class SideBySide:
    """Workloads that can be compared.

    goal        -- of all of them, in words
    steps       -- by workload and batch size, where the goal was reached
    expected    -- whether all steps are expected ones; otherwise all are the fastest trials'
    data_known  -- whether their data have checksums that are the same; otherwise none has any
    trials      -- by workload, of how many trials its fastest ones are: the fewest and the most at
                   a batch size
    """

    goal: str
    steps: Mapping[str, Mapping[int, Steps]]
    expected: bool
    data_known: bool
    trials: Mapping[str, tuple[int, int]]

    @property
    def beginning(self) -> str:
        """What all names begin with, up to a slash."""
        first, last = min(self.steps).split("/"), max(self.steps).split("/")
        pairs = zip(first[:-1], last[:-1], strict=False)
        return "".join(f"{part}/" for part, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    def brief(self, workload: str) -> str:
        """A workload's name without what all begin with."""
        return workload.removeprefix(self.beginning)

    @property
    def batch_sizes(self) -> list[int]:
        """Those at which some of them have reached the goal."""
        return sorted({size for steps in self.steps.values() for size in steps})

    def best(self, batch_size: int) -> tuple[str, ...]:
        """The workloads that take the fewest steps there; none where there is but one to choose."""
        there = {
            name: known[batch_size] for name, known in self.steps.items() if batch_size in known
        }
        fewest = min((one.value for one in there.values()), default=0.0)
        found = tuple(name for name, one in there.items() if one.value == fewest)
        return found if len(there) > 1 else ()

    def is_clear(self, batch_size: int) -> bool:
        """Whether no other's interval reaches as low as the best one's reaches high."""
        best = self.best(batch_size)
        others = [
            known[batch_size].low
            for name, known in self.steps.items()
            if name not in best and batch_size in known
        ]
        highest = self.steps[best[0]][batch_size].high if best else None
        return (
            len(best) == 1
            and highest is not None
            and all(low is not None and low > highest for low in others)
        )

    @property
    def sentence(self) -> str:
        """Which takes the fewest steps where, in one sentence; empty where they share no batch
        size."""
        shared = [size for size in self.batch_sizes if self.best(size)]
        if not shared:
            return ""
        best = f"{self._who_is_best(shared)}; the" if len(shared) > 1 else "The"
        name, size = min(
            ((name, size) for name, known in self.steps.items() for size in known),
            key=lambda one: (self.steps[one[0]][one[1]].value, one[1]),
        )
        fewest = self.steps[name][size].value
        least = f"{'about ' * self.expected}{self.shown(fewest)}"
        where = f"of {self.brief(name)} at batch size {count(size)}"
        return f"{best} fewest of all are {least}, {where}."

    def _who_is_best(self, shared: Sequence[int]) -> str:
        """Which workload takes the fewest steps at how many of these batch sizes, and which others
        do; where some take as few, nobody does."""
        alone = Counter(self.best(size)[0] for size in shared if len(self.best(size)) == 1)
        tied = [count(size) for size in shared if len(self.best(size)) > 1]
        equal = f"several are equal at {listed(tied)}" if tied else ""
        if not alone:
            return equal
        (first, most), *others = alone.most_common()
        of = f"all {most}" if most == len(shared) else f"{most} of {len(shared)}"
        beside = [f"{self.brief(name)} at {times}" for name, times in others]
        said = [f"{self.brief(first)} takes the fewest steps at {of} batch sizes", *beside]
        return ", ".join(filter(None, [said[0], listed(said[1:]), equal]))

    @property
    def notes(self) -> Iterator[str]:
        """What to know before trusting that, a sentence each."""
        shared = [size for size in self.batch_sizes if self.best(size)]
        if self.expected:
            close = [count(size) for size in shared if not self.is_clear(size)]
            if close:
                where = "every batch size" if len(close) == len(shared) else f"{listed(close)}"
                yield (
                    f"At {where} the 90{SPACE}% interval of another overlaps the best one’s: there "
                    "the search does not tell which is faster."
                )
        elif len({*self.trials.values()}) > 1:
            each = [f"{self.brief(name)} {_span(*found)}" for name, found in self.trials.items()]
            yield (
                "Steps are the fastest trials’, and of more trials the fastest is faster: there are"
                f", at a batch size, {listed(each)}."
            )
        else:
            yield (
                "Steps are the fastest trials’: by luck alone another search would have another "
                "order where they are close."
            )
        if not self.data_known:
            yield "Whether their data are the same is not known here: the training code is theirs."

    def shown(self, steps: float) -> str:
        """A number of steps: of expected ones, no more digits than are known."""
        return number(steps) if self.expected else count(steps)


def side_by_side(frontiers: Sequence[Frontier]) -> list[SideBySide]:
    """The groups of workloads with one goal on the same data, those of two or more that have
    reached it, in the order of the first of each."""
    alike: dict[str, list[Frontier]] = {}
    for frontier in frontiers:
        if any(point.steps for point in frontier.reached):
            alike.setdefault(_measured_by(frontier), []).append(frontier)
    return [_group(group) for group in alike.values() if len(group) > 1]


def _measured_by(frontier: Frontier) -> str:
    """What has to be the same: metric, goal and data, and whose the training loop is."""
    identity = frontier.points[0].study.identity
    told = (identity["goal"], identity.get("data"), frontier.points[0].study.kind)
    return json.dumps(told, sort_keys=True)


def _group(frontiers: Sequence[Frontier]) -> SideBySide:
    expected = all(map(by_expected_steps, frontiers))
    return SideBySide(
        frontiers[0].goal_text,
        {one.workload: _steps(one, expected=expected) for one in frontiers},
        expected,
        "data" in frontiers[0].points[0].study.identity,
        {one.workload: _trials(one) for one in frontiers},
    )


def _steps(frontier: Frontier, *, expected: bool) -> dict[int, Steps]:
    if expected:
        points = frontier.expected.points
        return {one.batch_size: Steps(one.steps, one.low, one.high) for one in points}
    return {one.batch_size: Steps(one.steps) for one in frontier.reached if one.steps}


def _trials(frontier: Frontier) -> tuple[int, int]:
    trials = [point.trials for point in frontier.reached]
    return min(trials), max(trials)


def _span(fewest: int, most: int) -> str:
    return str(fewest) if fewest == most else f"{fewest} to {most}"
