"""Filling a study with slots: its first points, more of them, and those that replace diverged."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count as counting
from itertools import islice, pairwise
from math import inf

from sqlalchemy import Connection

from service.generations import open_next
from service.optuna_tables import lock_study
from service.search_space import SearchSpace, Value, quasi_random_points, restore_space
from service.slots import ADAPTIVE, Study, add_slots, count_slots, read_study
from service.training.seeds import mix
from service.widening import holds

SAMPLERS = ("sobol", *ADAPTIVE)
"""Quasi-random points computed up front, or drawn from results."""

FEASIBLE_LIMIT = 3
"""With `--count feasible`, a study has at most this many times its budget of slots in all."""


_CHUNK = 64  # points of a sequence drawn at once, where not all of them are wanted


@dataclass(frozen=True)
class _Stretch:
    """The slots from `first` on, whose points are those of one sequence; but for those in `inner`,
    the space that was there before this one."""

    first: int
    space: SearchSpace
    seed: int
    inner: SearchSpace | None = None

    def draw(self, start: int, count: int) -> list[dict[str, Value]]:
        """The points of slots `start .. start + count - 1`."""
        skipped = start - self.first
        if self.inner is None:
            return quasi_random_points(self.space, count, self.seed, skipped)
        return list(islice(self._outside(self.inner), skipped, skipped + count))

    def _outside(self, inner: SearchSpace) -> Iterator[dict[str, Value]]:
        for first in counting(0, _CHUNK):
            drawn = quasi_random_points(self.space, _CHUNK, self.seed, first)
            yield from (point for point in drawn if not holds(inner, point))


def draw_points(study: Study, first: int, count: int) -> list[dict[str, Value] | None]:
    """Points `first .. first + count - 1` of a study; None where they are drawn later: by an
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
    drawn: list[dict[str, Value]] = []
    for stretch, end in _stretches(study):
        start, stop = max(first, stretch.first), min(first + count, end)
        if start < stop:
            drawn += stretch.draw(start, int(stop) - start)
    return drawn


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


def fill(conn: Connection, study: Study, total: int) -> int:
    """Append slots until the study has `total`; how many were added."""
    lock_study(conn, study.id)
    first = count_slots(conn, study.id)
    count = max(total - first, 0)
    if count:
        state = "later" if study.generation else "free"
        add_slots(conn, study.id, first, draw_points(study, first, count), state=state)
    open_next(conn, study)
    return count


def replace_diverged(conn: Connection, study: Study, diverged: int) -> int:
    """Append a slot for each diverged one, up to the limit; how many were added.

    The study may be as it was when its slots were claimed: it counts as it is now.
    """
    if not diverged:
        return 0
    lock_study(conn, study.id)
    now = read_study(conn, study.id)
    slots = count_slots(conn, study.id)
    return fill(conn, now, min(slots + diverged, FEASIBLE_LIMIT * now.trials))
