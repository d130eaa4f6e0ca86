"""The surrogate itself: expected steps to target over batch size and metaparameters."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from batchfront.surrogate.evidence import Evidence, Kind
from batchfront.workload.search_space import Metaparameters, SearchSpace, dimensions, point_at
from batchfront.workload.sobol import scrambled_sobol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from batchfront.surrogate.coordinates import Coordinates
    from batchfront.surrogate.feasibility import Feasibility
    from batchfront.surrogate.steps import StepsPosterior, Told

Point = tuple[float, Metaparameters]
"""A batch size, which needn't be one that was searched, and metaparameters there."""

_ESTIMATED, _CONDITIONED = 160, 400
"""The most trials from which parameters are estimated, and on which the surface is conditioned:
time grows with the cube of either."""

_FIRST, _AROUND, _NEARNESS = 256, 64, (0.15, 0.05, 0.015)
"""Positions at which the least steps are looked for: in the whole space, then ever nearer around
the best."""


class Expected(NamedTuple):
    """What is known of the logarithm of the expected steps (the median over seeds) at n points.

    mean       -- [n]
    covariance -- [n, n]
    noise      -- [n], the standard deviation of one run's log steps around that
    """

    mean: "NDArray[np.float64]"
    covariance: "NDArray[np.float64]"
    noise: "NDArray[np.float64]"


class Foretold(NamedTuple):
    """What is expected at n positions of one space: log steps, mean [n] and covariance [n, n], and
    the log probability that training works [n]."""

    mean: "NDArray[np.float64]"
    covariance: "NDArray[np.float64]"
    log_works: "NDArray[np.float64]"


class Surface:
    """The posterior of a workload's searches, a function of what they have shown alone.

    Nothing here depends on the order of what is shown, nor on chance.
    """

    def __init__(
        self,
        spaces: Mapping[int, SearchSpace],
        coordinates: "Coordinates",
        steps: "StepsPosterior",
        feasibility: "Feasibility",
    ) -> None:
        self._spaces, self._coordinates = spaces, coordinates
        self._steps, self._feasibility = steps, feasibility

    @classmethod
    def fit(cls, spaces: Mapping[int, SearchSpace], shown: Sequence[Evidence]) -> "Surface":
        """Fit the surrogate to what trials have shown, of search spaces by batch size."""
        from batchfront.surrogate.coordinates import Coordinates
        from batchfront.surrogate.feasibility import Feasibility
        from batchfront.surrogate.shape import Shape
        from batchfront.surrogate.steps import Problem, StepsPosterior

        spaces = dict(sorted(spaces.items()))
        coordinates = Coordinates.of(spaces)
        shape = Shape.of(coordinates, list(spaces))
        ordered = sorted(shown, key=_order)
        few = as_told(coordinates, telling(ordered, _ESTIMATED))
        many = as_told(coordinates, telling(ordered, _CONDITIONED))
        steps = StepsPosterior(Problem(shape, many), Problem(shape, few).estimate())
        settled = many.only(many.reached | many.infeasible)
        at = steps.place(settled.b, settled.x)
        return cls(spaces, coordinates, steps, Feasibility(at, settled.infeasible))

    @property
    def noise(self) -> float:
        """The standard deviation of one run's log steps around the expected ones."""
        return self._steps.noise

    def expected(self, points: Sequence[Point]) -> Expected:
        """Foretell the expected steps at some points."""
        import numpy as np

        at = self._steps.place(*self._placed(points))
        noise = np.full(len(points), self.noise)
        return Expected(self._steps.mean(at), self._steps.covariance(at), noise)

    def feasible(self, points: Sequence[Point]) -> "NDArray[np.float64]":
        """Foretell the probability that training works, [n]."""
        import numpy as np

        at = self._steps.place(*self._placed(points))
        found: NDArray[np.float64] = np.exp(self._feasibility.log_probability(at))
        return found

    def recommended(self, batch_size: float) -> Metaparameters:
        """Where the expected steps are least, of what works.

        Between batch sizes that were searched, in the space of the nearest.
        """
        import numpy as np

        space = self._spaces[min(self._spaces, key=lambda b: abs(math.log(b / batch_size)))]
        count = len(dimensions(space))
        if not count:
            return point_at(space, ())
        positions = scrambled_sobol(count, _FIRST, 0)
        for nearness in _NEARNESS:
            best = positions[int(self.cost(batch_size, space, positions).argmin())]
            around = best + nearness * (2 * scrambled_sobol(count, _AROUND, 1) - 1)
            positions = np.clip(np.concatenate([best[None], around]), 0, 1)
        best = positions[int(self.cost(batch_size, space, positions).argmin())]
        return point_at(space, best.tolist())

    def cost(
        self, batch_size: float, space: SearchSpace, positions: "NDArray[np.float64]"
    ) -> "NDArray[np.float64]":
        """The log of the steps that are to be expected until one run has reached the goal, at
        positions in the unit cube of a space [n, dimensions]: of those that break, another is
        begun."""
        import numpy as np

        b = np.full(len(positions), math.log(batch_size))
        at = self._steps.place(b, self._coordinates.at(space, positions))
        return self._steps.mean(at) - self._feasibility.log_probability(at)

    def foretold(
        self, batch_size: float, space: SearchSpace, positions: "NDArray[np.float64]"
    ) -> Foretold:
        """Foretell all that is known at positions in the unit cube of a space [n, dimensions]."""
        import numpy as np

        b = np.full(len(positions), math.log(batch_size))
        at = self._steps.place(b, self._coordinates.at(space, positions))
        mean, covariance = self._steps.mean(at), self._steps.covariance(at)
        return Foretold(mean, covariance, self._feasibility.log_probability(at))

    def _placed(self, points: Sequence[Point]) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
        import numpy as np

        sizes = np.log([float(size) for size, _ in points])
        return sizes, self._coordinates([params for _, params in points])


def telling(ordered: Sequence[Evidence], most: int) -> list[Evidence]:
    """Choose what is most telling where there is more than enough: of each batch size as many, half
    of them those that reached the goal soonest, the others spread over the rest."""
    if len(ordered) <= most:
        return list(ordered)
    sizes = sorted({evidence.batch_size for evidence in ordered})
    share = max(most // len(sizes), 2)
    found: list[Evidence] = []
    for size in sizes:
        mine = [evidence for evidence in ordered if evidence.batch_size == size]
        mine.sort(key=lambda e: (e.kind != Kind.REACHED, e.steps))  # stable
        soonest, rest = mine[: share // 2], mine[share // 2 :]
        every = max(len(rest) / (share - len(soonest)), 1.0)
        chosen = {int(every * at) for at in range(share - len(soonest))}
        found += soonest + [rest[at] for at in sorted(chosen) if at < len(rest)]
    return found


def as_told(coordinates: "Coordinates", shown: Sequence[Evidence]) -> "Told":
    """Evidence as the surrogate computes with it."""
    import numpy as np

    from batchfront.surrogate.steps import Told

    return Told(
        np.log([float(e.batch_size) for e in shown]),
        coordinates([e.params for e in shown]),
        np.log([max(float(e.steps), 1.0) for e in shown]),
        np.array([e.kind == Kind.REACHED for e in shown], bool),
        np.array([e.kind == Kind.INFEASIBLE for e in shown], bool),
    )


def _order(evidence: Evidence) -> tuple[object, ...]:
    params = sorted((name, repr(value)) for name, value in evidence.params.items())
    return evidence.batch_size, params, evidence.kind, evidence.steps
