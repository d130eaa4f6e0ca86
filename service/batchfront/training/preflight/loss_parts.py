"""Is a loss the mean over its examples, or over what the workload's weights count?"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from batchfront.errors import WorkloadError
from batchfront.training.preflight.rounding import close
from batchfront.training.preflight.wording import in_one_line, spread, unlike
from batchfront.workload.metrics import token_count
from batchfront.workload.microbatch import MicroBatch
from batchfront.workload.nested import Nested, differentiable, map_tensors, rows_at, tensors_in
from batchfront.workload.workload import Workload

_ROWS = 32  # of outputs: those of a few examples, and what lies between them

_CUTS = ((1,) * _ROWS, (19, 13), (5,) * 6 + (2,))
"""Examples of the parts that they are cut into."""

_NO_MEAN = "a loss that is no mean over the examples of its batch can't be split; {}"

_SUM = _NO_MEAN.format("divide the sum by len(outputs)")

_TOKENS = _NO_MEAN.format("give the workload weight=token_count")

_WEIGHED = _NO_MEAN.format(
    "if it is a weighed mean, give the workload weight=..., what each example counts in it (for "
    "class weights: lambda targets: class_weights[targets])"
)

Drawing = Callable[[MicroBatch], AbstractContextManager[Any]]

Weigh = Callable[[Nested], Tensor]


def why_whole_loss(
    workload: Workload,
    outputs: Nested,
    targets: Nested,
    values: Mapping[str, Any],
    drawing: Drawing,
) -> str | None:
    """Why the loss of a batch can't be put together from those of its parts, in a clause that ends
    with what to write instead; None if it can, as far as a try has shown.

    outputs -- of a few examples, the first of those whose targets there are
    drawing -- entered with where in a batch a part stands

    Raises WorkloadError where outputs and targets of unlike shapes are what mixes examples.
    """
    rows = map_tensors(lambda tensor: _rows_of(tensor.detach()), outputs)
    for wanted in _targets(outputs, targets):
        try:
            tried = _Cut(workload, rows, wanted, values, drawing)
        except Exception:
            continue  # it takes no such targets, or makes no use of outputs
        if not tried.finite:
            continue
        try:
            tried.cut()
        except Exception as error:
            return _NO_MEAN.format(f"of parts it fails ({in_one_line(error)})")
        if tried.adds_up(workload.weight):
            continue
        few = map_tensors(lambda tensor: tensor[: _count(outputs)], targets)
        if spread(outputs, few):
            shapes = unlike(outputs, few)
            raise WorkloadError(f"{workload.name}: the loss broadcasts {shapes}")
        if tried.adds_up(None, mean=False):
            return _SUM
        tokens = isinstance(wanted, Tensor) and wanted.ndim == 2
        tokens = tokens and not wanted.is_floating_point()
        return _TOKENS if tokens and tried.adds_up(token_count) else _WEIGHED
    return None


def _rows_of(outputs: Tensor) -> Tensor:
    """Outputs, and of numbers the places between them, where whatever bounds both holds too."""
    places = torch.arange(_ROWS)
    first = outputs[places % len(outputs)]
    if not first.is_floating_point():
        return first
    return first.lerp(outputs[(places + places // len(outputs)) % len(outputs)], 0.3)


def _count(nested: Nested) -> int:
    return len(tensors_in(nested)[0])


def _targets(outputs: Nested, targets: Nested) -> Iterator[Nested]:
    """As many as there are rows: as they come, those of a kind together, and of every class."""
    wanted = rows_at(targets, torch.arange(_ROWS) % _count(targets))
    yield wanted
    first = tensors_in(wanted)[0]
    yield rows_at(wanted, first.reshape(_ROWS, -1)[:, 0].argsort(stable=True))
    if not (isinstance(wanted, Tensor) and isinstance(outputs, Tensor)):
        return
    if wanted.dtype == torch.int64 and wanted.ndim == 1 and outputs.ndim > 1:
        yield torch.arange(_ROWS) % outputs.shape[1]


class _Cut:
    """The gradient of a loss by its outputs, of all rows and of the parts of every cut."""

    def __init__(
        self,
        workload: Workload,
        rows: Nested,
        targets: Nested,
        values: Mapping[str, Any],
        drawing: Drawing,
    ) -> None:
        self._workload, self._rows, self._targets = workload, rows, targets
        self._values, self._drawing = values, drawing
        self._whole = self._gradient(torch.arange(_ROWS))
        self._parts: list[list[tuple[Nested, list[Tensor]]]] = []

    @property
    def finite(self) -> bool:
        """Whether that of all rows is."""
        return all(bool(gradient.isfinite().all()) for gradient in self._whole)

    def cut(self) -> None:
        """Compute those of the parts."""
        for sizes in _CUTS:
            parts = torch.arange(_ROWS).split(list(sizes))  # type: ignore[no-untyped-call]
            own = [(rows_at(self._targets, part), self._gradient(part)) for part in parts]
            self._parts.append(own)

    def _gradient(self, part: Tensor) -> list[Tensor]:
        """By each of the outputs that has one."""
        start, loss_of = int(part[0]), self._workload.loss
        assert loss_of is not None
        here = MicroBatch(start, start + len(part), _ROWS, 0)
        outputs = rows_at(self._rows, part)
        leaves = [tensor.requires_grad_() for tensor in differentiable(outputs)]
        with torch.enable_grad(), self._drawing(here):
            loss = loss_of(outputs, rows_at(self._targets, part), **self._values)
        unused = len(leaves) > 1  # of several, the loss need not take all
        return list(
            torch.autograd.grad(loss, leaves, allow_unused=unused, materialize_grads=unused)
        )

    def adds_up(self, weigh: Weigh | None, *, mean: bool = True) -> bool:
        """Whether the parts' gradients, weighed, are that of the whole; if not `mean`, as they
        are."""
        for parts in self._parts:
            counts = [_weight(weigh, targets) if mean else 1.0 for targets, _ in parts]
            total = sum(counts) if mean else 1.0
            pieces = [
                [_share(gradient, count, total) for gradient in own]
                for count, (_, own) in zip(counts, parts, strict=True)
            ]
            joined = map(torch.cat, zip(*pieces, strict=True))
            if not close(dict(enumerate(self._whole)), dict(enumerate(joined))):
                return False
        return True


def _share(gradient: Tensor, count: float, total: float) -> Tensor:
    return gradient * (count / total) if count else torch.zeros_like(gradient)


def _weight(weigh: Weigh | None, targets: Nested) -> float:
    return float(_count(targets)) if weigh is None else float(weigh(targets).sum())
