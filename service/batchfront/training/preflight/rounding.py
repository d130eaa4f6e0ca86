"""Is it the same up to rounding?"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from batchfront.workload.nested import Nested, tensors_in

_DOUBLE, _SINGLE = 1e-5, 1e-3
"""Of a tensor's norm: what rounding doesn't come to, in double precision and in others."""

_FLOOR = 1e-3  # of all norms together: a tensor of less may be rounding alone


def alike(wanted: Nested, found: Nested) -> bool:
    """Whether two structures hold the same numbers up to rounding, but for what isn't finite: a
    class that is ruled out has an output of minus infinity."""
    pairs = list(zip(tensors_in(wanted), tensors_in(found), strict=True))
    if any(one.shape != other.shape for one, other in pairs):
        return False
    ones = {place: one[one.isfinite()] for place, (one, _) in enumerate(pairs)}
    others = {place: other[one.isfinite()] for place, (one, other) in enumerate(pairs)}
    return close(ones, others)


def close(first: Mapping[Any, Tensor], second: Mapping[Any, Tensor]) -> bool:
    """Whether tensors of the same names are the same, each up to rounding."""
    total = sum(float(one.norm()) for one in first.values() if one.is_floating_point())
    for name, one in first.items():
        other = second[name]
        if one.shape != other.shape:
            return False
        if not one.is_floating_point():
            if not torch.equal(one, other):
                return False
            continue
        allowed = _DOUBLE if one.dtype is torch.float64 else _SINGLE
        norm = max(float(one.norm()), float(other.norm()), _FLOOR * total)
        if not float((one - other).norm()) <= allowed * norm:
            return False
    return True
