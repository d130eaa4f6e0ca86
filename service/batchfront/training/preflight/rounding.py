"""Is it the same up to rounding?"""

from collections.abc import Mapping

import torch
from torch import Tensor

_DOUBLE, _SINGLE = 1e-5, 1e-3
"""Of a tensor's norm: what rounding doesn't come to, in double precision and in others."""

_FLOOR = 1e-3  # of all norms together: a tensor of less may be rounding alone


def close(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
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
