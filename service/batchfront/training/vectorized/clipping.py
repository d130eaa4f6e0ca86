"""The gradients of K trials, each clipped to a norm of its own."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Clipping:
    """Clips each trial's gradient as `torch.nn.utils.clip_grad_norm_` does: by what its norm over
    all weights is above the trial's own, if it is (Pascanu et al. 2013).

    norms -- each trial's; None: it isn't clipped
    like  -- a weight, whose dtype and device the gradients have
    """

    def __init__(self, norms: Sequence[float | None], like: Tensor) -> None:
        given = [torch.inf if norm is None else norm for norm in norms]
        self._norms = torch.tensor(given, dtype=like.dtype, device=like.device)
        clipped = [norm is not None for norm in norms]
        # As infinity over infinity is none.
        self._free = None if all(clipped) else ~torch.tensor(clipped, device=like.device)

    @torch.no_grad()
    def __call__(self, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Gradients [K, ...], or None of weights that have none, to the clipped ones."""
        used = [gradient for gradient in gradients if gradient is not None]
        if not used:
            return list(gradients)
        # Along rows: a trial's norm is the same, to the bit, in any company.
        parts = [torch.linalg.vector_norm(_in_rows(gradient), dim=1) for gradient in used]
        whole = torch.linalg.vector_norm(torch.stack(parts, dim=1), dim=1)
        factors = (self._norms / (whole + 1e-6)).clamp(max=1.0)
        if self._free is not None:
            factors = factors.masked_fill(self._free, 1.0)
        shaped = [factors.view(-1, *[1] * (gradient.ndim - 1)) for gradient in used]
        clipped = iter(torch._foreach_mul(used, shaped))
        return [None if gradient is None else next(clipped) for gradient in gradients]


def _in_rows(gradient: Tensor) -> Tensor:
    """[K, ...] -> [K, numbers], also of weights that are one number."""
    return gradient.flatten(1) if gradient.ndim > 1 else gradient[:, None]
