"""What one would do first: refit noisy copies of the best fit and take percentiles."""

import numpy as np

from batchfront.frontier.curve.curve import Curve
from batchfront.frontier.curve.fit import EVERYWHERE, grid, logs
from batchfront.frontier.curve.forms import ALPHAS, Array, Form, Places, Shapes

REPLICATES = 300


def percentile_intervals(curve: Curve, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """The 5th and 95th percentiles of each answer's log over refits, by least squares on a fine
    grid, of the fit that AICc prefers, with normal noise of unbiased variance."""
    log_batch, log_steps = logs(curve.observations)
    fit = curve.fits[0]
    fitted = fit.log_steps(log_batch)
    free = len(log_steps) - fit.form.parameters + 1
    deviation = np.sqrt(np.sum((log_steps - fitted) ** 2) / free)
    copies = fitted + deviation * rng.standard_normal((REPLICATES, len(log_steps)))
    two = fit.form is Form.TWO_PARAMETERS
    box = EVERYWHERE, (1.0, 1.0) if two else ALPHAS
    place, alpha = grid(box, (400, 1) if two else (100, 39))
    nodes = Shapes(Places(log_batch[0], log_batch[-1]).log_half(place, alpha), alpha)
    bends = nodes.log_steps(log_batch)
    best = _least_squares(copies, bends)
    shapes = Shapes(nodes.log_half[best], nodes.alpha[best])
    log_s_min = (copies - bends[best]).mean(axis=1)
    answers = {
        "half_efficiency": shapes.log_half,
        "s_min": log_s_min,
        "e_min": log_s_min + shapes.log_half,
        "perfect_until": shapes.log_perfect_until(0.2, log_batch[0]),
        "useful_until": shapes.log_useful_until(0.1),
    }
    ends = {name: np.quantile(values, (0.05, 0.95)) for name, values in answers.items()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def _least_squares(copies: Array, bends: Array) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """For each copy the node of least squares, whatever its height."""
    centred = copies - copies.mean(axis=1, keepdims=True)
    shapes = bends - bends.mean(axis=1, keepdims=True)
    best = np.argmin((shapes**2).sum(axis=1) - 2 * centred @ shapes.T, axis=1)
    return np.asarray(best, dtype=np.intp)
