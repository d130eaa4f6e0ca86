"""The points of a study's quasi-random sequences, which slots get as their metaparameters."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count as counting
from itertools import islice, pairwise
from math import inf

from batchfront.study.study import Study
from batchfront.workload.search_space import SearchSpace, Value, quasi_random_points, restore_space
from batchfront.workload.seeds import mix
from batchfront.workload.space_edges import holds

FEASIBLE_LIMIT = 3
"""With `--count feasible`, a study has at most this many times its budget of slots in all."""

_CHUNK = 64  # points of a sequence sampled at once, where not all of them are wanted


@dataclass(frozen=True)
class _Stretch:
    """The slots from `first` on, whose points are those of one sequence; but for those in `inner`,
    the space that was there before this one."""

    first: int
    space: SearchSpace
    seed: int
    inner: SearchSpace | None = None

    def sample(self, start: int, count: int) -> list[dict[str, Value]]:
        """The points of slots `start .. start + count - 1`."""
        skipped = start - self.first
        if self.inner is None:
            return quasi_random_points(self.space, count, self.seed, skipped)
        return list(islice(self._outside(self.inner), skipped, skipped + count))

    def _outside(self, inner: SearchSpace) -> Iterator[dict[str, Value]]:
        for first in counting(0, _CHUNK):
            sampled = quasi_random_points(self.space, _CHUNK, self.seed, first)
            yield from (point for point in sampled if not holds(inner, point))


def sample_points(study: Study, first: int, count: int) -> list[dict[str, Value] | None]:
    """Points `first .. first + count - 1` of a study; None where they are sampled later: by an
    adaptive sampler, or with warm start from what the neighbours have found."""
    if study.adaptive:
        return [None] * count
    later = min(max(study.warm_slots - first, 0), count)
    return [*[None] * later, *quasi_random(study, first + later, count - later)]


def quasi_random(study: Study, first: int, count: int) -> list[dict[str, Value]]:
    """Points `first .. first + count - 1` of the study's own sequences.

    Those that come with a wider search space lie in what it has gained, and those after them
    anywhere in it. Each is a function of the study and of its own number.
    """
    found: list[dict[str, Value]] = []
    for stretch, end in _stretches(study):
        start, stop = max(first, stretch.first), min(first + count, end)
        if start < stop:
            found += stretch.sample(start, int(stop) - start)
    return found


def _stretches(study: Study) -> list[tuple[_Stretch, float]]:
    """A study's stretches, each with the slot before which it ends."""
    seed, space = study.points_seed, restore_space(study.identity["search_space"])
    found = [_Stretch(0, space, seed)]
    for number, extension in enumerate(study.extensions, 1):
        wide, first = restore_space(extension["space"]), extension["first"]
        found.append(_Stretch(first, wide, mix(seed, number, 0), space))
        found.append(_Stretch(first + extension["outside"], wide, mix(seed, number, 1)))
        space = wide
    ends = [later.first for _, later in pairwise(found)]
    return list(zip(found, [*ends, inf], strict=True))
