"""Curves whose truth is known, measured as ours are: the best of 32 trials, looked at 1 % apart."""

from bisect import bisect_left
from dataclasses import dataclass
from math import exp, inf, log

import numpy as np

from batchfront.frontier.curve.fit import Observation
from batchfront.frontier.curve.forms import Array, Form, Shapes
from batchfront.workload.evaluation_grid import EvaluationGrid

TRIALS = 32
FAILING = 0.35
"""The share of trials that never reach the goal; of the others log steps are normal."""

SPREAD = 0.2
"""The standard deviation of the log of the minimum: nine in ten lie between 1/1.45 and 1.32 times
its median, as the best of 32 trials on digits does between seeds."""

SIZES = {
    6: tuple(2 * 4**k for k in range(6)),
    8: (2, 4, 16, 32, 128, 256, 1024, 2048),
    12: tuple(2**k for k in range(12)),
}
"""Batch sizes, over a range of about a thousand each."""


@dataclass(frozen=True)
class Truth:
    """A true curve, and what its answers are, as natural logs."""

    log_s_min: float
    log_half: float
    alpha: float

    @property
    def shapes(self) -> Shapes:
        return Shapes(np.array([self.log_half]), np.array([self.alpha]))

    def log_steps(self, log_batch: Array) -> Array:
        return self.log_s_min + self.shapes.log_steps(log_batch)[0]

    def answers(self, smallest: int) -> dict[str, float]:
        return {
            "s_min": self.log_s_min,
            "e_min": self.log_s_min + self.log_half,
            "half_efficiency": self.log_half,
            "perfect_until": float(self.shapes.log_perfect_until(0.2, log(smallest))[0]),
            "useful_until": float(self.shapes.log_useful_until(0.1)[0]),
        }


ALPHAS = (0.7, 1.1)
SLOW = (0.16, 0.3)
"""Exponents of three parameters; slow ones, of which a doubling saves 10.5 to 18.8 %."""


def draw_truth(
    rng: np.random.Generator,
    form: Form,
    sizes: tuple[int, ...],
    times: float = 1.0,
    alphas: tuple[float, float] = ALPHAS,
) -> Truth:
    """B_c in the middle of the range, at least 8 times from either end, or `times` as large; S_min
    from 20 to 2,000, or with infinite `times`, a power law, the steps at the largest size."""
    alpha = 1.0 if form is Form.TWO_PARAMETERS else rng.uniform(*alphas)
    log_half = rng.uniform(log(sizes[0] * 8), log(sizes[-1] / 8))
    log_s_min = rng.uniform(log(20), log(2000))
    if times == inf:
        log_half = log(sizes[-1]) + 30 / alpha
        return Truth(log_s_min - 30, log_half, alpha)
    return Truth(log_s_min, log_half + log(times), alpha)


class Luck:
    """The log of the best of TRIALS trials, less its median."""

    def __init__(self) -> None:
        many = self._best(np.random.default_rng(0), 100_000)
        self._middle = float(np.median(many))
        self._scale = SPREAD / float(np.std(many))

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        """For so many batch sizes."""
        return (self._best(rng, count) - self._middle) * self._scale

    @staticmethod
    def _best(rng: np.random.Generator, count: int) -> Array:
        trials = rng.standard_normal((count, TRIALS))
        trials[rng.random((count, TRIALS)) < FAILING] = np.inf
        best: Array = trials.min(axis=1)
        return best


def measure(batch_size: int, log_steps: float) -> Observation:
    """What is seen of a goal that is passed at these steps: it is open at one look of the default
    grid, every step up to 100 and 1 % apart from there, and passed at the next."""
    looks = EvaluationGrid().steps(100_000_000)
    at = bisect_left(looks, exp(log_steps))
    return Observation(batch_size, looks[at], looks[at - 1] if at else 0)
