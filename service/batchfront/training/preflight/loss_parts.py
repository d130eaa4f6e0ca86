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
    rows = _rows_of(outputs.detach())
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
        if spread(outputs, targets[: len(outputs)]):
            shapes = unlike(outputs, targets[: len(outputs)])
            raise WorkloadError(f"{workload.name}: the loss broadcasts {shapes}")
        if tried.adds_up(None, mean=False):
            return _SUM
        tokens = wanted.ndim == 2 and not wanted.is_floating_point()
        return _TOKENS if tokens and tried.adds_up(token_count) else _WEIGHED
    return None


def _rows_of(outputs: Tensor) -> Tensor:
    """Outputs, and of numbers the places between them, where whatever bounds both holds too."""
    places = torch.arange(_ROWS)
    first = outputs[places % len(outputs)]
    if not first.is_floating_point():
        return first
    return first.lerp(outputs[(places + places // len(outputs)) % len(outputs)], 0.3)


def _targets(outputs: Tensor, targets: Tensor) -> Iterator[Tensor]:
    """As many as there are rows: as they come, those of a kind together, and of every class."""
    wanted = targets[torch.arange(_ROWS) % len(targets)]
    yield wanted
    yield wanted[wanted.reshape(_ROWS, -1)[:, 0].argsort(stable=True)]
    if wanted.dtype == torch.int64 and wanted.ndim == 1 and outputs.ndim > 1:
        yield torch.arange(_ROWS) % outputs.shape[1]


class _Cut:
    """The gradient of a loss by its outputs, of all rows and of the parts of every cut."""

    def __init__(
        self,
        workload: Workload,
        rows: Tensor,
        targets: Tensor,
        values: Mapping[str, Any],
        drawing: Drawing,
    ) -> None:
        self._workload, self._rows, self._targets = workload, rows, targets
        self._values, self._drawing = values, drawing
        self._whole = self._gradient(torch.arange(_ROWS))
        self._parts: list[list[tuple[Tensor, Tensor]]] = []

    @property
    def finite(self) -> bool:
        """Whether that of all rows is."""
        return bool(self._whole.isfinite().all())

    def cut(self) -> None:
        """Compute those of the parts."""
        for sizes in _CUTS:
            parts = torch.arange(_ROWS).split(list(sizes))  # type: ignore[no-untyped-call]
            self._parts.append([(self._targets[part], self._gradient(part)) for part in parts])

    def _gradient(self, part: Tensor) -> Tensor:
        start = int(part[0])
        here = MicroBatch(start, start + len(part), _ROWS, 0)
        outputs = self._rows[part].requires_grad_()
        with torch.enable_grad(), self._drawing(here):
            loss = self._workload.loss(outputs, self._targets[part], **self._values)
        (found,) = torch.autograd.grad(loss, outputs)
        return found

    def adds_up(self, weigh: Weigh | None, *, mean: bool = True) -> bool:
        """Whether the parts' gradients, weighed, are that of the whole; if not `mean`, as they
        are."""
        for parts in self._parts:
            counts = [_weight(weigh, targets) if mean else 1.0 for targets, _ in parts]
            total = sum(counts) if mean else 1.0
            pieces = [
                gradient * (count / total) if count else torch.zeros_like(gradient)
                for count, (_, gradient) in zip(counts, parts, strict=True)
            ]
            if not close({"": self._whole}, {"": torch.cat(pieces)}):
                return False
        return True


def _weight(weigh: Weigh | None, targets: Tensor) -> float:
    return float(len(targets)) if weigh is None else float(weigh(targets).sum())
