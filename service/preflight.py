"""Does a workload hold together? Asked on real data before any slot is made."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from service.algorithm import chosen
from service.clock import timed_as
from service.data import Examples, Part, Splits
from service.errors import BatchfrontError, UsageError, WorkloadError
from service.identity import describe_data, describe_model
from service.metrics import Metric, SplitMetric
from service.search_space import Metaparameters, point_at
from service.training.evaluation import full_metric
from service.training.memory import PassSize
from service.workload import Workload

_EXAMPLES = 32
"""That a workload is tried on: its largest batches may need more memory than one machine has."""

_SAMPLE = 1024
"""Validation examples that say whether it is worth asking all of them."""


@dataclass(frozen=True)
class Checked:
    """A workload that has passed its checks: its splits, and the identity parts they gave."""

    splits: Splits
    identity_parts: dict[str, Any]


def check(workload: Workload, batch_sizes: Iterable[int], *, planned: bool = False) -> Checked:
    """Load the data and try the workload once, at the middle of its search space.

    planned -- its studies are there already, so that its goal is known not to be passed before
               training: to ask again takes large models minutes

    Raises UsageError (WorkloadError, SearchSpaceError) in one line for whatever would make every
    trial fail: sizes, shapes, a loss that is no scalar, a goal that is passed before training.
    """
    batch_sizes = sorted(batch_sizes)
    for batch_size in batch_sizes:
        _check_schedule(workload, batch_size)
    splits = _load(workload)
    for batch_size in batch_sizes:
        if batch_size > len(splits.train):
            raise UsageError(
                f"{workload.name}: batch size {batch_size} is larger than the training set "
                f"of {len(splits.train):,} examples"
            )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        values = _middle(workload, batch_sizes[0])
        _train_once(workload, _model(workload, values), splits.train, values, batch_sizes[0])
        if not planned:
            _refuse_passed_goal(workload, _model(workload, values), splits.validation)
        # Described at one and the same point whatever is planned, as a layer may depend on it.
        described = describe_model(_model(workload, _middle(workload, min(workload.batch_sizes))))
    return Checked(splits, {"data": describe_data(splits), "model": described})


def _middle(workload: Workload, batch_size: int) -> Metaparameters:
    return point_at(workload.space(batch_size), [0.5] * len(workload.searched(batch_size)))


@contextmanager
def _naming(workload: Workload, what: str) -> Iterator[None]:
    """Turn an error of the user's code into one line that says what it broke."""
    try:
        yield
    except BatchfrontError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines()
        named = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        raise WorkloadError(f"{workload.name}: {what}: {named}") from error


def _check_schedule(workload: Workload, batch_size: int) -> None:
    budget = workload.steps_allowed(batch_size)
    ends = [[position] * len(workload.searched(batch_size)) for position in (0.0, 0.5, 1.0)]
    for end in ends:
        values = point_at(workload.space(batch_size), end)
        with _naming(workload, f"its schedule fails at batch size {batch_size} with {values}"):
            for step in (0, budget - 1):
                float(workload.schedule.factor(step, values))


@timed_as("data")
def _load(workload: Workload) -> Splits:
    with _naming(workload, "its data can't be loaded"):
        splits = workload.data()
    if not isinstance(splits, Splits):
        raise WorkloadError(
            f"{workload.name}: data() must return Splits, returned {type(splits).__name__}"
        )
    return splits


def _model(workload: Workload, values: Metaparameters) -> nn.Module:
    with _naming(workload, "its model can't be made"):
        model = workload.model(**chosen(workload.model, values))
    if not isinstance(model, nn.Module):
        raise WorkloadError(
            f"{workload.name}: model() must return a torch.nn.Module, "
            f"returned {type(model).__name__}"
        )
    return model


def _train_once(
    workload: Workload, model: nn.Module, train: Examples, values: Metaparameters, batch_size: int
) -> None:
    name, metric = workload.name, workload.goal.metric
    with _naming(workload, "its algorithm can't be started"):
        optimizer = workload.algorithm.start(model, values)
    examples = torch.arange(min(batch_size, _EXAMPLES), device=train.indexed_on)
    inputs, targets = train.batch(examples, seed=0)
    given = f"inputs of shape {_shape(inputs)} ({inputs.dtype})"
    with _naming(workload, f"the model does not accept {given}"):
        outputs: Tensor = model(inputs)
    if not isinstance(outputs, Tensor):
        raise WorkloadError(
            f"{name}: the model must return a Tensor, returned {type(outputs).__name__}"
        )
    shapes = f"outputs of shape {_shape(outputs)} and targets of shape {_shape(targets)}"
    with _naming(workload, f"the loss does not accept {shapes}"):
        loss = workload.loss(outputs, targets, **chosen(workload.loss, values))
    if not isinstance(loss, Tensor) or loss.ndim:
        raise WorkloadError(
            f"{name}: the loss must be a scalar, the mean over the batch; found {_found(loss)}"
        )
    with _naming(workload, f"the goal's {metric.name} does not accept {shapes}"):
        if isinstance(metric, SplitMetric):
            metric.of(outputs.detach(), targets)
        else:
            costs = metric.per_example(outputs.detach(), targets)
    if isinstance(metric, Metric) and (
        not isinstance(costs, Tensor) or costs.shape != (len(targets),)
    ):
        raise WorkloadError(
            f"{name}: the goal's {metric.name} must give one number per example, "
            f"shape ({len(targets)},); found {_found(costs)}"
        )
    with _naming(workload, "a training step fails"):
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step(float(values["learning_rate"]))


def _refuse_passed_goal(workload: Workload, model: nn.Module, validation: Examples) -> None:
    goal = workload.goal
    few = torch.arange(min(len(validation), _SAMPLE), device=validation.indexed_on)
    given = f"validation inputs of shape {_shape(validation.batch(few[:_EXAMPLES])[0])}"
    with _naming(workload, f"the untrained model can't be evaluated on {given}"):
        value = full_metric(model, Part(validation, few), goal.metric, PassSize(_EXAMPLES))
        if goal.passed(value) and len(few) < len(validation):
            value = full_metric(model, validation, goal.metric, PassSize(_EXAMPLES))
    if workload.goal.passed(value):
        raise UsageError(
            f"{workload.name}: the goal, {workload.goal}, is already passed before training "
            f"(the untrained model has {value:.4g}); choose a harder one with --goal"
        )


def _found(value: object) -> str:
    return f"shape {_shape(value)}" if isinstance(value, Tensor) else type(value).__name__


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"
