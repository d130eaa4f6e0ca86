"""The area under the curve of precision against recall, of as many scores as memory holds."""

import math

import torch
from torch import Tensor

_CHUNK = 1 << 24  # scores that are compared at once


def average_precision(outputs: Tensor, targets: Tensor) -> float:
    """Average precision of `outputs` (scores) for `targets` of the same shape (true or false).

    All numbers of all examples are ranked together: of [n, classes], a class counts as much as it
    has examples (scikit-learn's `average="micro"`). The sum, over distinct scores, of the
    precision among all that are at least as high times the recall gained there, exactly. 0 where
    nothing is true; NaN where a score is.
    """
    if outputs.shape != targets.shape:
        raise ValueError("outputs and targets must have the same shape")
    scores, shown = outputs.flatten(), targets.flatten().to(torch.bool)
    if scores.isnan().any():
        return math.nan
    wanted = _exact(scores[shown])
    if not len(wanted):
        return 0.0
    # Only at the score of something true does recall grow, so that the others need no sorting.
    levels, found = torch.unique(wanted, return_counts=True)  # ascending
    places = torch.zeros(len(levels) + 1, dtype=torch.int64, device=scores.device)
    for part in scores.split(_CHUNK):  # type: ignore[no-untyped-call]
        below = torch.searchsorted(levels, _exact(part), right=True)  # levels that it reaches
        places += below.bincount(minlength=len(places))
    reaching = places.flip(0).cumsum(0).flip(0)[1:]  # scores that reach each level
    correct = found.flip(0).cumsum(0).flip(0)
    precision = correct.to(torch.float64) / reaching
    return float((precision * found).sum() / len(wanted))


def _exact(scores: Tensor) -> Tensor:
    """Scores of 16 bits as 32, in which they keep their values."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))
