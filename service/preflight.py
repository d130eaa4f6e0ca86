"""Does a workload hold together? Asked on real data before any slot is made."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from service.algorithm import chosen
from service.data import Split, Splits
from service.errors import BatchfrontError, UsageError, WorkloadError
from service.identity import describe_data, describe_model
from service.search_space import Metaparameters, point_at
from service.training.evaluation import full_metric
from service.workload import Workload


@dataclass(frozen=True)
class Checked:
    """A workload that has passed its checks: its splits, and the identity parts they gave."""

    splits: Splits
    identity_parts: dict[str, Any]


def check(workload: Workload, batch_sizes: Iterable[int]) -> Checked:
    """Load the data and try the workload once at its middle metaparameters.

    Raises UsageError (WorkloadError, SearchSpaceError) in one line for whatever would make every
    trial fail: sizes, shapes, a loss that is no scalar, a goal that is passed before training.
    """
    batch_sizes = list(batch_sizes)
    for batch_size in batch_sizes:
        workload.space(batch_size)
        workload.steps_allowed(batch_size)
    splits = _load(workload)
    for batch_size in batch_sizes:
        if batch_size > len(splits.train):
            raise UsageError(
                f"{workload.name}: batch size {batch_size} is larger than the training set "
                f"of {len(splits.train):,} examples"
            )
    space = workload.space(batch_sizes[0])
    values = point_at(space, [0.5] * len(workload.searched(batch_sizes[0])))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _model(workload, values)
        _train_once(workload, model, splits.train, values)
        torch.manual_seed(0)
        _refuse_passed_goal(workload, _model(workload, values), splits.validation)
    return Checked(splits, {"data": describe_data(splits), "model": describe_model(model)})


def _load(workload: Workload) -> Splits:
    try:
        splits = workload.data()
    except BatchfrontError:
        raise
    except Exception as error:
        raise WorkloadError(
            f"{workload.name}: its data can't be loaded: {_named(error)}"
        ) from error
    if not isinstance(splits, Splits):
        raise WorkloadError(
            f"{workload.name}: data() must return Splits, returned {type(splits).__name__}"
        )
    return splits


def _model(workload: Workload, values: Metaparameters) -> nn.Module:
    try:
        model = workload.model(**chosen(workload.model, values))
    except Exception as error:
        raise WorkloadError(f"{workload.name}: its model can't be made: {_named(error)}") from error
    if not isinstance(model, nn.Module):
        raise WorkloadError(
            f"{workload.name}: model() must return a torch.nn.Module, "
            f"returned {type(model).__name__}"
        )
    return model


def _train_once(workload: Workload, model: nn.Module, train: Split, values: Metaparameters) -> None:
    try:
        optimizer = workload.algorithm.start(model, values)
    except BatchfrontError:
        raise
    except Exception as error:
        raise WorkloadError(
            f"{workload.name}: its algorithm can't be started: {_named(error)}"
        ) from error
    inputs, targets = train.batch(torch.arange(min(2, len(train))))
    try:
        outputs: Tensor = model(inputs)
    except Exception as error:
        raise WorkloadError(
            f"{workload.name}: the model does not accept inputs of shape "
            f"{_shape(inputs)} ({inputs.dtype}): {_named(error)}"
        ) from error
    if not isinstance(outputs, Tensor):
        raise WorkloadError(
            f"{workload.name}: the model must return a Tensor, returned {type(outputs).__name__}"
        )
    shapes = f"outputs of shape {_shape(outputs)} and targets of shape {_shape(targets)}"
    try:
        loss = workload.loss(outputs, targets, **chosen(workload.loss, values))
    except Exception as error:
        raise WorkloadError(
            f"{workload.name}: the loss does not accept {shapes}: {_named(error)}"
        ) from error
    if not isinstance(loss, Tensor) or loss.ndim:
        found = f"shape {_shape(loss)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise WorkloadError(
            f"{workload.name}: the loss must be a scalar, the mean over the batch; found {found}"
        )
    try:
        costs = workload.goal.metric.per_example(outputs.detach(), targets)
    except Exception as error:
        raise WorkloadError(
            f"{workload.name}: the goal's {workload.goal.metric.name} does not accept {shapes}: "
            f"{_named(error)}"
        ) from error
    if not isinstance(costs, Tensor) or costs.shape != (len(targets),):
        found = _shape(costs) if isinstance(costs, Tensor) else type(costs).__name__
        raise WorkloadError(
            f"{workload.name}: the goal's {workload.goal.metric.name} must give one number per "
            f"example, shape ({len(targets)},); found {found}"
        )
    try:
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step(float(values["learning_rate"]))
    except Exception as error:
        raise WorkloadError(f"{workload.name}: a training step fails: {_named(error)}") from error


def _refuse_passed_goal(workload: Workload, model: nn.Module, validation: Split) -> None:
    try:
        value = full_metric(model, validation, workload.goal.metric)
    except Exception as error:
        raise WorkloadError(
            f"{workload.name}: the untrained model can't be evaluated on validation inputs of "
            f"shape {_shape(validation.inputs)}: {_named(error)}"
        ) from error
    if workload.goal.passed(value):
        raise UsageError(
            f"{workload.name}: the goal, {workload.goal}, is already passed before training "
            f"(the untrained model has {value:.4g}); choose a harder one with --goal"
        )


def _named(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"
