"""The points of the next round, of all batch sizes of a workload at once."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from batchfront.surrogate.evidence import Evidence, Kind
from batchfront.surrogate.surface import Surface
from batchfront.workload.search_space import (
    Choice,
    Metaparameters,
    SearchSpace,
    dimensions,
    point_at,
)
from batchfront.workload.seeds import mix
from batchfront.workload.sobol import scrambled_sobol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

_EVERYWHERE, _KEPT = 192, 64  # candidates in the whole space, and how many of them are looked into
_NEAR, _NEARNESS = 128, (0.02, 0.05, 0.1)  # candidates around the best of them, and how near
_DRAWS = 64  # of the surface, over which an improvement is averaged

_MOST_CATEGORIES = 32

_BROKEN = 99.0  # log steps of a run that breaks


def propose(
    spaces: Mapping[int, SearchSpace],
    shown: Sequence[Evidence],
    wanted: Mapping[int, int],
    seed: int,
) -> dict[int, list[Metaparameters]]:
    """Propose metaparameters for the next round from what those before it have shown.

    spaces -- by batch size
    wanted -- how many, by batch size

    Returns them by batch size; they are a function of the arguments alone. Where the surrogate
    can't be computed, as in spaces of hundreds of e-folds, they are quasi-random.
    """
    counts = {size: count for size, count in sorted(wanted.items()) if count > 0}
    if all(evidence.kind == Kind.INFEASIBLE for evidence in shown):
        return _spread(spaces, counts, seed, len(shown))
    try:
        return _foretold(spaces, shown, counts, seed)
    except (ArithmeticError, ValueError) as error:  # LinAlgError is a ValueError
        log.warning(
            "the surrogate can't be fitted to the trials (%s): the next round is quasi-random",
            error,
        )
        return _spread(spaces, counts, seed, len(shown))


def _foretold(
    spaces: Mapping[int, SearchSpace],
    shown: Sequence[Evidence],
    counts: Mapping[int, int],
    seed: int,
) -> dict[int, list[Metaparameters]]:
    """The points by the surrogate."""
    surface = Surface.fit(spaces, shown)
    found: dict[int, list[Metaparameters]] = {}
    for size, count in counts.items():
        reached = [e.steps for e in shown if e.kind == Kind.REACHED and e.batch_size == size]
        best = math.log(max(min(reached), 1)) if reached else None
        found[size] = _next(surface, size, spaces[size], count, best, mix(seed, size))
    return found


def unmodelled(space: SearchSpace) -> str | None:
    """Say why the surrogate can't model a space; None if it can."""
    searched = dimensions(space)
    if not searched:
        return "each metaparameter has one value, so nothing is searched: give one of them a range"
    for name, dimension in searched.items():
        if isinstance(dimension, Choice) and len(dimension.values) > _MOST_CATEGORIES:
            if all(isinstance(v, int | float) for v in dimension.values):
                continue
            return (
                f"{name} has {len(dimension.values):,} categories, of which a surrogate learns one "
                f"by one: give it {_MOST_CATEGORIES} at most, or numbers"
            )
    return None


def _spread(
    spaces: Mapping[int, SearchSpace], counts: Mapping[int, int], seed: int, before: int
) -> dict[int, list[Metaparameters]]:
    """Points of one quasi-random sequence, each batch size a stretch of it: all of them together
    cover the space, as what is learnt at one is learnt for all. They are dense where the edge of
    training is thought to lie.

    before -- how many trials there have been, of which nothing could be learnt
    """
    from batchfront.surrogate.coordinates import Coordinates
    from batchfront.surrogate.shape import Shape

    rows = max(counts.values(), default=0)
    shape = Shape.of(Coordinates.of(spaces), sorted(spaces))
    found: dict[int, list[Metaparameters]] = {}
    for at, (size, count) in enumerate(counts.items()):
        space = spaces[size]
        searched = len(dimensions(space))
        if not searched:
            found[size] = [point_at(space, ())] * count
            continue
        dealt = scrambled_sobol(searched, rows * len(counts), mix(seed, 0), before)
        mine = dealt[at * rows :][:count]
        if not before:
            mine = shape.about_the_edge(size, space, mine)
        found[size] = [point_at(space, position) for position in mine.tolist()]
    return found


def _next(
    surface: Surface,
    size: int,
    space: SearchSpace,
    count: int,
    best: float | None,
    seed: int,
) -> list[Metaparameters]:
    """The points of which the best run is expected to improve most on the best so far, log steps
    `best`: one after another, each given those before it (expected improvement, of noisy runs that
    may break, by draws from the surface).

    That a run is noisy counts: at the best point known, a fresh run is often better than the best
    so far.
    """
    import numpy as np

    searched = len(dimensions(space))
    if not searched:
        return [point_at(space, ())] * count
    rng = np.random.default_rng(seed)
    positions = _candidates(surface, size, space, searched, rng)
    foretold = surface.foretold(size, space, positions)
    ridge = 1e-6 * np.eye(len(positions))
    lower = np.linalg.cholesky(foretold.covariance + ridge)
    draws = lower @ rng.normal(size=(len(positions), _DRAWS)) + foretold.mean[:, None]
    draws += surface.noise * rng.normal(size=draws.shape)
    works = rng.random(draws.shape) < np.exp(foretold.log_works)[:, None]
    steps = np.where(works, draws, _BROKEN)
    if best is None:
        best = float((foretold.mean - foretold.log_works).min()) + 3 * surface.noise
    left = np.full(_DRAWS, best)
    taken: list[int] = []
    for _ in range(count):
        gains = np.maximum(left - steps, 0.0).mean(1)
        gains[taken] = -1.0
        taken.append(int(gains.argmax()))
        left = np.minimum(left, steps[taken[-1]])
    return [point_at(space, positions[at].tolist()) for at in taken]


def _candidates(
    surface: Surface, size: int, space: SearchSpace, searched: int, rng: "np.random.Generator"
) -> "NDArray[np.float64]":
    """Positions in the unit cube: the best of many in all of it, and some around the very best."""
    import numpy as np

    everywhere = rng.random((_EVERYWHERE, searched))
    order = np.argsort(surface.cost(size, space, everywhere), kind="stable")
    spread = rng.choice(_NEARNESS, size=(_NEAR, 1)) * rng.normal(size=(_NEAR, searched))
    near = np.clip(everywhere[order[0]] + spread, 0, 1)
    return np.concatenate([everywhere[order[:_KEPT]], near])
