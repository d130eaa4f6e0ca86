"""Does an evaluation depend on what is evaluated together?

A split is evaluated in chunks whose order changes from one evaluation to the next, and which are
cut where memory is small: what an example counts may depend on nothing but the example.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from batchfront.errors import WorkloadError
from batchfront.training.generators import drawn_since, states
from batchfront.training.preflight.draws import DrawnByExample
from batchfront.training.preflight.rounding import alike
from batchfront.training.preflight.varied import is_large, varied
from batchfront.training.preflight.wording import named_metrics, naming, spread, unlike
from batchfront.workload.calling import called
from batchfront.workload.data import Batch, Examples
from batchfront.workload.metrics import Metric, numbers_of
from batchfront.workload.microbatch import MicroBatch
from batchfront.workload.nested import Nested, is_of_rows, join_rows, rows_at, tensors_in
from batchfront.workload.workload import Workload

_CPU = torch.device("cpu")

_EXAMPLES, _FEW = 24, 6  # of a small model, and of a large one

_ROUNDS = ((5, 1.0), (1, 3.0))
"""Examples of a part, and what the weights are multiplied by: the outputs of an untrained model are
all alike."""


def refuse_mixed_evaluation(workload: Workload, model: nn.Module, validation: Examples) -> None:
    """Raise WorkloadError if an example's outputs or metric depend on others in evaluation, or if
    evaluation changes the model, which is of no use afterwards."""
    large = is_large(model)
    examples = varied(validation)
    count = min(_FEW if large else _EXAMPLES, len(examples))
    indices = torch.arange(count, device=examples.indexed_on)
    model.eval()
    for part, scale in _ROUNDS[:1] if large else _ROUNDS:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(scale)
        with naming(workload, f"the untrained model can't be evaluated on {count} examples"):
            _compare(workload, model, examples, indices, part)


@torch.inference_mode()
def _compare(
    workload: Workload, model: nn.Module, examples: Examples, indices: Tensor, size: int
) -> None:
    before = {name: b.clone() for name, b in model.named_buffers()}
    undrawn = states(_CPU)
    whole, batch = _outputs(model, examples, indices)
    for name, buffer in model.named_buffers():
        if buffer.shape != before[name].shape or not torch.equal(buffer, before[name]):
            raise WorkloadError(
                f"{workload.name}: evaluation changes the model's buffer {name}; change it in "
                "training only (if self.training)"
            )
    axes: dict[int, int | None] = {}
    drawn = drawn_since(undrawn, _CPU)
    if {"NumPy", "Python"} & set(drawn):
        return  # of what they draw, nobody knows which example it is for
    drawing = bool(drawn)  # then in order, as it is by place that it is drawn
    if drawing:
        here = MicroBatch(0, len(indices), len(indices), 0)
        whole, _ = _outputs(model, examples, indices, DrawnByExample(here, axes))
    elif not alike(whole, _outputs(model, examples, indices)[0]):
        raise WorkloadError(
            f"{workload.name}: in evaluation the model gives the same examples other outputs when "
            "it is asked again; it must not count, nor remember anything, but in training (if "
            "self.training)"
        )
    order = indices if drawing else indices.flip(0)
    parts, start = [], 0
    for part in order.split(size):  # type: ignore[no-untyped-call]
        here = MicroBatch(start, start + len(part), len(indices), 0)
        by_example = DrawnByExample(here, axes) if drawing else nullcontext()
        parts.append(_outputs(model, examples, part, by_example))
        start += len(part)
    metric = workload.goal.computed
    costs = partial(_costs, metric) if isinstance(metric, Metric) else None
    rows = is_of_rows(whole, len(indices))
    found: Nested
    wanted: Nested
    if rows and all(_shapes(outputs) == _shapes(whole) for outputs, _ in parts):
        found, wanted = join_rows([outputs for outputs, _ in parts]), rows_at(whole, order)
    elif costs is not None:  # padded to other lengths, or with numbers that are of no example
        found = torch.cat([costs(*part) for part in parts]).double()
        wanted = costs(whole, batch)[order.to(found.device)].double()
    else:
        return
    if not alike(wanted, found):
        raise WorkloadError(
            f"{workload.name}: in evaluation the model's outputs for one example depend on those "
            "evaluated with it, in chunks whose order changes; make them each example's own, as "
            "running means do for a normalization"
        )
    for whose, one in named_metrics(workload) if rows else ():
        if isinstance(one, Metric):
            _refuse_mixed_costs(workload, f"{whose} {one.name}", one, whole, batch, size)


def _outputs(
    model: nn.Module,
    examples: Examples,
    indices: Tensor,
    drawing: AbstractContextManager[Any] | None = None,
) -> tuple[Nested, Batch]:
    batch = examples.batch(indices)
    with drawing or nullcontext():
        return called(model, batch.inputs), batch


def _costs(metric: Metric, outputs: Nested, batch: Batch) -> Tensor:
    return numbers_of(metric, outputs, batch.targets, batch.examples)


def _shapes(outputs: Nested) -> list[torch.Size]:
    return [tensor.shape[1:] for tensor in tensors_in(outputs)]


def _refuse_mixed_costs(
    workload: Workload, name: str, metric: Metric, outputs: Nested, batch: Batch, size: int
) -> None:
    costs = partial(_costs, metric)
    count, targets = batch.examples, batch.targets
    backwards = torch.arange(count).flip(0)
    whole = costs(outputs, batch).double().flip(0)
    found = [
        costs(rows_at(outputs, part), batch.at(part)).double()
        for part in backwards.split(size)  # type: ignore[no-untyped-call]
    ]
    parts = torch.cat(found)
    if len(parts) == count and alike(whole, parts):
        return
    if spread(outputs, targets):
        raise WorkloadError(f"{workload.name}: {name} broadcasts {unlike(outputs, targets)}")
    raise WorkloadError(
        f"{workload.name}: {name} gives an example another number beside other "
        "examples; per_example must be of each by itself, and a SplitMetric is of all together"
    )
