"""The tables of `whole_search`: what the contenders found, by trials and by CPU seconds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, median, stdev

from tests.benchmarks.markdown import spread, table
from tests.benchmarks.whole_tasks import Reference, Result, Spent, Task

CUTS = (8, 16, 24, 32)
"""Numbers of trials at a batch size, after which it is asked whether a contender has enough."""


@dataclass(frozen=True)
class Compared:
    """One task: its reference, and each contender's results by seed.

    best -- by batch size: the best of every race that the reference is the median of
    told -- the contenders that are told something that nobody knows beforehand
    """

    task: Task
    best: dict[int, list[int]]
    results: dict[str, dict[int, Result]]
    told: frozenset[str]

    @property
    def reference(self) -> Reference:
        """The medians."""
        return Reference({b: median(steps) for b, steps in self.best.items()})

    def enough_after(self, spent: Spent) -> float:
        """Returns the trials until a contender had enough at a batch size; infinite if never."""
        enough = self.reference.enough(spent.batch_size)
        return spent.trials if spent.steps is not None and spent.steps <= enough else float("inf")

    def shares(self, name: str, trials: int) -> list[float]:
        """Returns by seed the share of batch sizes with enough after so many trials."""
        return self._means(name, lambda s: self.enough_after(s) <= trials)

    def trials_needed(self, name: str) -> list[float]:
        """Returns by seed the mean trials until a batch size had enough, counted to the limit."""
        return self._means(name, lambda s: min(self.enough_after(s), self.task.limit))

    def _means(self, name: str, of: Callable[[Spent], float]) -> list[float]:
        return [fmean(map(of, r.spent)) for r in self.results[name].values()]

    def share(self, name: str) -> float:
        """Returns the share of all seeds' batch sizes with enough in the end."""
        return fmean(self.shares(name, self.task.limit))

    def timed(self, name: str) -> list[Result]:
        """Returns the results whose CPU seconds count: the calm ones, or all if none was."""
        results = list(self.results[name].values())
        return [r for r in results if r.calm] or results

    def seconds(self, name: str) -> float:
        """Returns the median CPU seconds."""
        return median(r.cpu_seconds for r in self.timed(name))

    @property
    def ours(self) -> str:
        """The contender that the others are measured by: the first."""
        return next(iter(self.results))

    @staticmethod
    def is_peer(name: str) -> bool:
        """Whether a contender isn't ours."""
        return not name.startswith("ours")

    def best_peer(self, told: bool) -> str | None:
        """Returns, of the peers that are told something or of those that aren't, the one with the
        fewest CPU seconds of all that had enough as often as ours, or else the most often."""
        peers = [p for p in self.results if self.is_peer(p) and (p in self.told) == told]
        least = min(self.share(self.ours), max(map(self.share, peers), default=0.0))
        return min((p for p in peers if self.share(p) >= least), key=self.seconds, default=None)


def cost_table(compared: Compared) -> str:
    """Returns one row a contender: means and standard errors over the seeds of shares and trials,
    medians of examples, median and range of CPU seconds."""
    cuts = [cut for cut in CUTS if cut <= compared.task.limit]
    columns = [f"{compared.task.make}: contender", "seeds", *(f"within, {cut}" for cut in cuts)]
    columns += ["trials", "trained", "examples", "CPU s", "timed", "CPU s / the first"]
    rows = []
    for name, results in compared.results.items():
        timed = compared.timed(name)
        trained = [_sum(r, lambda s: s.trained) for r in results.values()]
        both = [_sum(r, lambda s: s.trained + s.evaluated) for r in results.values()]
        rows.append(
            [
                name,
                len(results),
                *(_with_error(compared.shares(name, cut), ".2f") for cut in cuts),
                _with_error(compared.trials_needed(name), ".1f"),
                *(f"{median(counts) / 1e6:.2f} M" for counts in (trained, both)),
                spread([r.cpu_seconds for r in timed], ".1f"),
                str(len(timed)) if timed[0].calm else f"{len(timed)}, none calm",
                f"{compared.seconds(name) / compared.seconds(compared.ours):.2f}",
            ]
        )
    return table(columns, rows)


def _sum(result: Result, count: Callable[[Spent], int]) -> int:
    return sum(map(count, result.spent))


def _with_error(values: Sequence[float], form: str) -> str:
    """A mean and its standard error: `0.89 ± 0.03`."""
    mean = format(fmean(values), form)
    if len(values) < 2:
        return mean
    return f"{mean} ± {format(stdev(values) / sqrt(len(values)), form)}"


def steps_table(compared: Compared) -> str:
    """Returns one row a contender: at each batch size in how many of its searches it had enough,
    and the median of what it found over the reference. First the reference, and its range."""
    sizes = compared.task.batch_sizes
    columns = [f"{compared.task.make}: batch size", *map(str, sizes)]
    rows = [["the reference, and its races", *(spread(compared.best[b], ".4g") for b in sizes)]]
    rows.append(["enough", *(str(compared.reference.enough(b)) for b in sizes)])
    for name, results in compared.results.items():
        by_size = zip(*(result.spent for result in results.values()), strict=True)
        rows.append([name, *(_found(compared, spent) for spent in by_size)])
    return table(columns, rows)


def _found(compared: Compared, spent: Sequence[Spent]) -> str:
    enough = sum(compared.enough_after(s) <= compared.task.limit for s in spent)
    reference = compared.reference.steps[spent[0].batch_size]
    ratio = median(s.steps / reference if s.steps else float("inf") for s in spent)
    return f"{enough} of {len(spent)}, {ratio:.2f}×"


def verdicts(compared: Compared) -> list[tuple[str, bool]]:
    """Returns the promises of a search that learns across batch sizes, each as a sentence of what
    it came to, and whether it is kept."""
    ours, share = compared.ours, compared.share(compared.ours)
    trials = fmean(compared.trials_needed(ours))
    found = [
        (f"{ours} had enough at {share:.3f} of the batch sizes; promised: 0.95", share >= 0.95),
        (f"it took {trials:.1f} trials a batch size; promised: 12", trials <= 12),
    ]
    for told, factor in ((False, 10), (True, 2)):
        peer = compared.best_peer(told)
        if peer is not None:
            ratio = compared.seconds(peer) / compared.seconds(ours)
            which = "is told a budget" if told else "is told nothing"
            line = f"the best peer that {which}, {peer}, took {ratio:.2f} times its CPU seconds"
            found.append((f"{line}; promised: {factor}", ratio >= factor))
    for name in filter(compared.is_peer, compared.results):
        if compared.share(name) > share:
            line = f"{name} had enough more often, at {compared.share(name):.3f}"
            found.append((f"{line}; promised: never worse", False))
    return found
