"""Whether steps rise again beyond the best batch size, whatever the curve: monotone regression.

Steps that fall to the end are fitted no worse by falling steps than by steps that fall and then
rise, but for noise. Both are fitted by pooling adjacent violators (Barlow et al. 1972).
"""

from math import log

import numpy as np

from service.scaling.forms import Array
from service.scaling.noise import FINEST

_SIGNIFICANT = 16.0  # how much better rising steps fit, in units of the noise's variance
_LEAST_RISE = log(1.1)  # what less would hardly matter
_MATTERS = _LEAST_RISE / 2  # of a batch size that is to count as worse than the best


def rises_from(log_steps: Array, noise: float) -> int | None:
    """The index of the first batch size that is worse than the best; None where none is.

    log_steps -- at rising batch sizes, (m,)
    noise     -- the standard deviation of each
    """
    fits = [
        np.concatenate([_falling(log_steps[:split]), -_falling(-log_steps[split:])])
        for split in range(1, len(log_steps) + 1)
    ]
    squares = [float(np.sum((log_steps - fit) ** 2)) for fit in fits]
    best = fits[int(np.argmin(squares))]
    better = squares[-1] - min(squares)
    if better < _SIGNIFICANT * noise**2 or best[-1] - best.min() < _LEAST_RISE:
        return None
    higher = best > best.min() + max(noise / 2, _MATTERS)
    return int(np.flatnonzero(~higher)[-1]) + 1


def own_noise(log_batch: Array, log_steps: Array) -> float:
    """The standard deviation of log steps, at four batch sizes or more, by how far each point lies
    from the straight line through its neighbours (Gasser, Sroka and Jennen-Steinmetz 1986). Their
    median, so that a step in one place is none; a little more where there are few."""
    width = log_batch[2:] - log_batch[:-2]
    before, after = np.diff(log_batch)[1:] / width, np.diff(log_batch)[:-1] / width
    line = before * log_steps[:-2] + after * log_steps[2:]
    found = np.abs(log_steps[1:-1] - line) / np.sqrt(1 + before**2 + after**2)
    return max(float(np.median(found)) / 0.6745 * (1 + 2 / len(found)), FINEST)


def _falling(values: Array) -> Array:
    """The falling values nearest to these, by least squares."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        blocks.append((float(value), 1))
        while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
            (low, few), (high, many) = blocks[-2:]
            blocks[-2:] = [((low * few + high * many) / (few + many), few + many)]
    return np.repeat([mean for mean, _ in blocks], [count for _, count in blocks])
