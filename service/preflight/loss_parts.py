"""Is a loss the mean over its examples, or over what the workload's weights count?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from service.batch_pass import BatchPass
from service.errors import WorkloadError
from service.metrics import token_count
from service.preflight.wording import spread, unlike
from service.workload import Workload

_ROWS = 32  # of outputs: those of a few examples, and what lies between them
_CUTS = ((1,) * _ROWS, (19, 13), (5,) * 6 + (2,))
"""Examples of the parts that they are cut into."""

_ROUNDED = {torch.float64: 1e-5}
"""Of a gradient's norm: what rounding doesn't come to."""

_SINGLE = 1e-3  # the same in single precision, and below
_FLOOR = 1e-3  # of all gradients together: below, one of them may be rounding alone

Drawing = Callable[[BatchPass], AbstractContextManager[Any]]
Weigh = Callable[[Tensor], Tensor]


def why_whole_loss(
    workload: Workload,
    outputs: Tensor,
    targets: Tensor,
    values: Mapping[str, Any],
    drawing: Drawing,
) -> str | None:
    """Why the loss of a batch can't be put together from those of its parts, in a clause that ends
    with what to write instead; None if it can, as far as a try has shown.

    outputs -- of a few examples, the first of those whose targets there are
    drawing -- entered with where in a batch a part stands

    Raises WorkloadError where outputs and targets of unlike shapes are what mixes examples.
    """
    rows = torch.arange(_ROWS)
    first, second = rows % len(outputs), (rows // len(outputs) + rows) % len(outputs)
    made = outputs.detach()[first]
    if made.is_floating_point():  # and between them, where whatever holds of both holds too
        made = made.lerp(outputs.detach()[second], 0.3)

    def loss(wanted: Tensor, part: Tensor, here: BatchPass) -> tuple[Tensor, Tensor]:
        """Of some of the rows, and its gradient."""
        given = made[part].requires_grad_()
        with torch.enable_grad(), drawing(here):
            found = workload.loss(given, wanted[part], **values)
        (gradient,) = torch.autograd.grad(found, given)
        return found.detach(), gradient

    for wanted in _targets(made, outputs, targets):
        try:
            whole = loss(wanted, rows, BatchPass(0, _ROWS, _ROWS, 0))
        except Exception:
            continue  # which takes no such targets, or makes no use of outputs
        if not whole[1].isfinite().all():
            continue
        parts = [
            [(part, *loss(wanted, part, _here(part))) for part in rows.split(list(cut))]
            for cut in _CUTS
        ]
        if _add_up(whole[1], parts, lambda part: _weight(workload.weight, wanted[part])):
            continue
        if spread(outputs, targets[: len(outputs)]):
            raise WorkloadError(
                f"{workload.name}: the loss broadcasts {unlike(outputs, targets[: len(outputs)])}"
            )
        if _add_up(whole[1], parts, lambda _: 1.0, mean=False):
            return _NO_MEAN.format("divide the sum by len(outputs)")
        if (
            wanted.ndim == 2
            and not wanted.is_floating_point()
            and _add_up(whole[1], parts, lambda part: _weight(token_count, wanted[part]))
        ):
            return _NO_MEAN.format("give the workload weight=token_count")
        return _NO_MEAN.format(
            "if it is a weighed mean, give the workload weight=..., what each example counts in it "
            "by its targets"
        )
    return None


_NO_MEAN = "a loss that is no mean over the examples of its batch can't be split; {}"


def _targets(made: Tensor, outputs: Tensor, targets: Tensor) -> Iterator[Tensor]:
    """As many as there are rows: as they come, those of a kind together, and of every class."""
    count = min(_ROWS, len(targets))
    wanted = targets[torch.arange(_ROWS) % count]
    yield wanted
    yield wanted[wanted.reshape(_ROWS, -1)[:, 0].argsort(stable=True)]
    if wanted.dtype == torch.int64 and wanted.ndim == 1 and outputs.ndim > 1:
        yield torch.arange(_ROWS) % outputs.shape[1]


def _here(part: Tensor) -> BatchPass:
    start = int(part[0])
    return BatchPass(start, start + len(part), _ROWS, 0)


def _weight(weigh: Weigh | None, targets: Tensor) -> float:
    return float(len(targets)) if weigh is None else float(weigh(targets).sum())


def _add_up(
    whole: Tensor,
    parts: Sequence[Sequence[tuple[Tensor, Tensor, Tensor]]],
    weight: Callable[[Tensor], float],
    *,
    mean: bool = True,
) -> bool:
    """Whether the weighed gradients of the parts of each cut are that of the whole."""
    for cut in parts:
        weights = [weight(part) for part, _, _ in cut]
        total = sum(weights) if mean else 1.0
        if not total:
            return False
        pieces = [
            g * (w / total) if w else torch.zeros_like(g)
            for w, (_, _, g) in zip(weights, cut, strict=True)
        ]
        if not close({"": whole}, {"": torch.cat(pieces)}):
            return False
    return True


def close(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether gradients of one name each are the same up to rounding."""
    total = sum(float(one.norm()) for one in first.values() if one.is_floating_point())
    for name, one in first.items():
        other = second[name]
        if one.shape != other.shape:
            return False
        if not one.is_floating_point():
            if not torch.equal(one, other):
                return False
            continue
        allowed = _ROUNDED.get(one.dtype, _SINGLE)
        least = max(float(one.norm()), float(other.norm()), _FLOOR * total)
        if not float((one - other).norm()) <= allowed * least:
            return False
    return True
