"""Does a workload hold together? Asked on real data before any slot is made."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from random import getstate, setstate
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from batchfront.errors import UsageError, WorkloadError
from batchfront.phase_timer import timed_as
from batchfront.phrases import first_few
from batchfront.training.evaluation import full_metric, split_weights
from batchfront.training.generators import drawn_since, seed_generators, states
from batchfront.training.gradient import BatchGradient
from batchfront.training.measures import Measures
from batchfront.training.memory import MicroBatchSize
from batchfront.training.model_call import Computed
from batchfront.training.preflight.averaged import refuse_uncopied
from batchfront.training.preflight.checked import Checked
from batchfront.training.preflight.evaluation import refuse_mixed_evaluation
from batchfront.training.preflight.examples import check_examples, left_alone
from batchfront.training.preflight.lazy import refuse_lazy
from batchfront.training.preflight.lost_state import lost_state
from batchfront.training.preflight.parts import why_whole
from batchfront.training.preflight.rates import check_rates
from batchfront.training.preflight.repeatable import refuse_unrepeatable
from batchfront.training.preflight.varied import is_large, varied
from batchfront.training.preflight.wording import (
    MEASURES,
    each_of,
    found,
    in_one_line,
    named_metrics,
    naming,
    of_classes,
    of_first_parameter,
    of_structures,
    of_types,
    refusing_broadcasts,
    shape,
)
from batchfront.training.training_step import (
    SEES_WHOLE_BATCH,
    start_optimizer,
    training_step,
)
from batchfront.workload.algorithm import chosen
from batchfront.workload.calling import called
from batchfront.workload.data import (
    Batch,
    Examples,
    Part,
    Splits,
    describe_data,
    describe_model,
)
from batchfront.workload.execution import Execution
from batchfront.workload.given import shown
from batchfront.workload.layers import GhostBatchNorm2d
from batchfront.workload.metrics import Metric, SplitMetric, costs_of, value_of, weights_of
from batchfront.workload.nested import Nested, describe_nested, map_tensors, tensors_in
from batchfront.workload.optimizers import Optimizer, ScheduledOptimizer
from batchfront.workload.search_space import Metaparameters, point_at
from batchfront.workload.workload import Workload

_EXAMPLES = 32
"""That a workload is tried on: its largest batches may need more memory than one machine has."""

_NAMED = 3  # parameters, in a note

_SAMPLE = 1024
"""Validation examples that say whether it is worth asking all of them."""


def check(
    workload: Workload,
    batch_sizes: Iterable[int],
    *,
    planned: bool = False,
    tries: Mapping[str, str | None] | None = None,
) -> Checked:
    """Load the data and try the workload, at the middle of its search space.

    planned -- its studies are there already, so that its goal is known not to be passed before
               training: to ask again takes large models minutes
    tries   -- what planning it with the same code has shown (`Checked.tries`), where that is kept:
               it is believed, since a worker that tries anew holds trials meanwhile

    Raises UsageError (WorkloadError, SearchSpaceError) in one line for whatever would make every
    trial fail (sizes, shapes, a loss that is no scalar, a goal that is passed before training) or
    a trial's result depend on what it must not: on how its batches are cut, on what is loaded or
    evaluated with an example, on other trials.
    """
    batch_sizes = sorted(batch_sizes)
    splits = _load(workload)
    with naming(workload, "the number of training examples isn't known"):
        len(splits.train)
    for batch_size in batch_sizes:
        check_rates(workload, batch_size, splits.train.per_epoch)
        if batch_size > len(splits.train):
            raise UsageError(
                f"{workload.name}: batch size {batch_size} is larger than the training set "
                f"of {len(splits.train):,} examples"
            )
    with _generators_kept():
        seed_generators(torch.device("cpu"), 0)
        values = _middle(workload, batch_sizes[0])
        refuse_lazy(workload, _model(workload, values), splits.train)
        _refuse_shared_weights(workload, _model(workload, values), _model(workload, values))
        if tries is None:
            check_examples(workload, splits)
        with left_alone(workload, splits):
            model = _model(workload, values)
            left_out = _train_once(workload, model, splits, values, batch_sizes)
            if not planned:
                _refuse_passed_goal(workload, _model(workload, values), splits.validation)
                _refuse_weightless(workload, splits)
            if tries is None:
                tries = _tries(workload, splits, batch_sizes, values, planned=planned)
        # Described at one and the same point whatever is planned, as a layer may depend on it.
        described = describe_model(_model(workload, _middle(workload, min(workload.batch_sizes))))
    parts = {"data": describe_data(splits), "model": described}
    return Checked(workload.name, splits, parts, tries["whole"], tries["lost"], left_out)


def _tries(
    workload: Workload,
    splits: Splits,
    batch_sizes: Sequence[int],
    values: Metaparameters,
    *,
    planned: bool,
) -> dict[str, str | None]:
    with warnings.catch_warnings():  # of what is tried, much is as nobody would have it
        warnings.simplefilter("ignore")
        refuse_mixed_evaluation(workload, _model(workload, values), splits.validation)
        refuse_uncopied(workload, _model(workload, values), splits.validation)
        whole = _why_whole(workload, splits.train, batch_sizes[0])
        large = is_large(_model(workload, values))
        lost = lost_state(workload, splits, values, batch_sizes[0], large=large)
        if not planned:
            refuse_unrepeatable(workload, splits, batch_sizes[0], values)
    return {"whole": whole, "lost": lost}


@contextmanager
def _generators_kept() -> Iterator[None]:
    """Put the global generators back to where they were."""
    states = getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        setstate(states[0])
        np.random.set_state(states[1])


def _middle(workload: Workload, batch_size: int) -> Metaparameters:
    return _point(workload, batch_size, 0.5)


def _point(workload: Workload, batch_size: int, position: float) -> Metaparameters:
    return point_at(workload.space(batch_size), [position] * len(workload.searched(batch_size)))


def _why_whole(workload: Workload, train: Examples, batch_size: int) -> str | None:
    """As `why_whole`, asked at the middle of the search space, and at both ends where model or
    loss are others there."""
    examples = varied(train)
    asked: list[tuple[Metaparameters, Metaparameters]] = []
    for position in (0.5, 0.0, 1.0):
        values = _point(workload, batch_size, position)
        point = chosen(workload.model, values), chosen(workload.loss, values)
        if point in asked:
            continue
        asked.append(point)
        # Where an end of the space raises, trials there fail by themselves, and others needn't.
        with suppress(*([] if position == 0.5 else [WorkloadError])):
            found = why_whole(workload, _model(workload, values), examples, values)
            if found is not None:
                return found
    return None


@timed_as("data")
def _load(workload: Workload) -> Splits:
    with naming(workload, "its data can't be loaded"):
        splits = workload.load_data()
    if not isinstance(splits, Splits):
        raise WorkloadError(
            f"{workload.name}: data() must return Splits, returned {type(splits).__name__}; write "
            "return Splits(train=..., validation=...)"
        )
    return splits


def _model(workload: Workload, values: Metaparameters) -> nn.Module:
    with naming(workload, "its model can't be made"):
        model = workload.model(**chosen(workload.model, values))
    if not isinstance(model, nn.Module):
        raise WorkloadError(
            f"{workload.name}: model() must return a torch.nn.Module, returned {shown(model)}"
        )
    return model


def _refuse_shared_weights(workload: Workload, one: nn.Module, other: nn.Module) -> None:
    places = {p.data_ptr() for p in one.parameters() if p.numel()}
    for name, parameter in other.named_parameters():
        if parameter.data_ptr() in places:
            raise WorkloadError(
                f"{workload.name}: model() must make a new model each time; its parameter {name} "
                "is the same in two of them, and trials would train each other's"
            )


def _train_once(
    workload: Workload,
    model: nn.Module,
    splits: Splits,
    values: Metaparameters,
    batch_sizes: Sequence[int],
) -> str | None:
    """Try a training step with a batch of the smallest size, and the loss of others; the largest
    are tried by what fits everywhere.

    Returns the trainable parameters that no optimizer has, by name; None if there are none.
    """
    train = splits.train
    with naming(workload, "its algorithm can't be started"):
        workload.algorithm.refuse_unused_rate(_model(workload, values), values)
        optimizer = start_optimizer(workload, model, values)
    left_out = _left_out(workload, model, optimizer)
    first, *others = dict.fromkeys(min(size, _EXAMPLES) for size in batch_sizes)
    batches = {size: _first(train, size) for size in (first, *others)}
    if workload.loss is not None:
        for batch in batches.values():
            _loss_once(workload, model, batch, values)
    with naming(workload, "a training step fails"):
        _step_once(workload, model, train, values, optimizer, first)
    # What an update trains on, its model needn't take.
    measured = train if workload.update is None else splits.validation
    _measure_once(workload, model, _first(measured, min(first, len(measured))))
    _refuse_lone_examples(workload, model, train, batch_sizes)
    return left_out


def _left_out(workload: Workload, model: nn.Module, optimizer: Optimizer) -> str | None:
    if workload.update is not None or not isinstance(optimizer, ScheduledOptimizer):
        return None  # an update may train them by itself
    left_out = {id(p) for p in optimizer.left_out}
    named = [name for name, p in model.named_parameters() if id(p) in left_out]
    return first_few(named, _NAMED) if named else None


def _step_once(
    workload: Workload,
    model: nn.Module,
    train: Examples,
    values: Metaparameters,
    optimizer: Optimizer,
    batch_size: int,
) -> None:
    """As a trial makes its steps: the gradient clipped, closures called, or by its own update."""
    cpu, sizes = torch.device("cpu"), MicroBatchSize()
    workload = replace(workload, execution=Execution())
    computed = Computed(model, workload.execution, cpu)
    whole = None if workload.update is None else SEES_WHOLE_BATCH
    gradient = BatchGradient(workload, model, values, train, sizes, 0, cpu, computed, whole)
    step = training_step(workload, values, optimizer, gradient, computed)
    examples = torch.arange(batch_size, device=train.indexed_on)
    step(gradient, optimizer, 0, examples, float(values["learning_rate"]))


def _refuse_lone_examples(
    workload: Workload, model: nn.Module, train: Examples, batch_sizes: Sequence[int]
) -> None:
    """Of a group of one, of so small an image, there is nothing to normalize."""
    groups = {layer.ghost_size for layer in model.modules() if isinstance(layer, GhostBatchNorm2d)}
    lone = [b for b in batch_sizes if b > 1 and any(b % size == 1 for size in groups)]
    if not lone:
        return
    try:
        called(model.train(), _first(train, 1).inputs)
    except Exception as error:
        sizes = ", ".join(map(str, lone))
        raise WorkloadError(
            f"{workload.name}: at batch size {sizes} the last group of its ghost batch "
            f"normalization has one example, and then it fails ({in_one_line(error)}); choose "
            "other --batch-sizes"
        ) from error


def _first(train: Examples, count: int) -> Batch:
    batch: Batch = train.batch(torch.arange(count, device=train.indexed_on), seed=0)
    return batch


def _loss_once(
    workload: Workload, model: nn.Module, batch: Batch, values: Metaparameters
) -> Tensor:
    assert workload.loss is not None
    loss_of = partial(workload.loss, **chosen(workload.loss, values))
    if workload.loss_takes_model:
        with naming(workload, f"the loss does not accept the model and {_given(batch)}"):
            loss = loss_of(model, batch.whole)
    else:
        outputs = _outputs(workload, model, batch)
        broadcasts = refusing_broadcasts(workload, "the loss", outputs, batch.targets)
        both = _outputs_and_targets(outputs, batch)
        one = isinstance(outputs, Tensor)
        hint = of_first_parameter(workload.loss)
        hint = hint or (of_classes(outputs, batch.targets) if one else of_structures(outputs))
        with naming(workload, f"the loss does not accept {both}{hint}"), broadcasts:
            loss = loss_of(outputs, batch.targets)
    if not isinstance(loss, Tensor) or loss.ndim:
        raise WorkloadError(
            f"{workload.name}: the loss must be a scalar, the mean over the batch; found "
            f"{found(loss)}{each_of(loss, batch.examples)}"
        )
    if not loss.requires_grad:
        raise WorkloadError(
            f"{workload.name}: the loss has no gradient: it must be computed from what the model "
            "gives, without detach(), item(), argmax() or torch.no_grad()"
        )
    return loss


def _measure_once(workload: Workload, model: nn.Module, batch: Batch) -> None:
    """The goal's metric of a batch, and the measures, as an evaluation has the model give outputs
    for it."""
    model.eval()
    with torch.no_grad():
        outputs = _outputs(workload, model, batch)
    model.train()
    for whose, metric in named_metrics(workload):
        given, kept = map_tensors(torch.clone, outputs), batch.map(torch.clone)
        before = states(torch.device("cpu"))
        _compute_once(workload, whose, metric, given, kept)
        if whose == MEASURES:
            _refuse_meddling(workload, metric, before)
            if not _same((given, kept.targets), (outputs, batch.targets)):
                raise WorkloadError(
                    f"{workload.name}: {whose} {metric.name} changes the outputs or targets that "
                    "it is given, of which others are computed too; let it change a clone()"
                )


def _compute_once(
    workload: Workload, whose: str, metric: Metric | SplitMetric, outputs: Nested, batch: Batch
) -> None:
    targets, count, name = batch.targets, batch.examples, f"{whose} {metric.name}"
    broadcasts = refusing_broadcasts(workload, name, outputs, targets)
    both = _outputs_and_targets(outputs, batch)
    hint = of_classes(outputs, targets)
    with naming(workload, f"{name} does not accept {both}{hint}"), broadcasts:
        try:
            if isinstance(metric, SplitMetric):
                value_of(metric, outputs, targets)
            else:
                weights = None if metric.weight is None else weights_of(metric, targets, count)
                costs_of(metric, outputs, targets, weights, count=count)
        except WorkloadError as error:
            raise WorkloadError(f"{workload.name}: {whose} {error}") from error


def _refuse_meddling(
    workload: Workload, measure: Metric | SplitMetric, before: Mapping[str, Any]
) -> None:
    """Unless a measure leaves NumPy's and Python's generators where they were: torch's are put
    back after it, which is done for every chunk."""
    drawn = {"NumPy", "Python"} & set(drawn_since(before, torch.device("cpu")))
    if drawn:
        raise WorkloadError(
            f"{workload.name}: {MEASURES} {measure.name} draws from {min(drawn)}'s random numbers, "
            "which the model and the goal's metric draw from; let it draw from torch's"
        )


def _same(one: Nested, other: Nested) -> bool:
    pairs = zip(tensors_in(one), tensors_in(other), strict=True)
    return all(torch.allclose(a, b, rtol=0, atol=0, equal_nan=True) for a, b in pairs)


def _outputs(workload: Workload, model: nn.Module, batch: Batch) -> Nested:
    try:
        outputs = called(model, batch.inputs)
    except Exception as error:
        hint = of_types(model, batch.inputs, error)
        with naming(workload, f"the model does not accept {_given(batch)}{hint}"):
            raise
    if not tensors_in(outputs):
        raise WorkloadError(
            f"{workload.name}: the model must return a tensor, or several in a dict, tuple or "
            f"list; returned {describe_nested(outputs)}"
        )
    return outputs


def _given(batch: Batch) -> str:
    inputs = batch.inputs
    if isinstance(inputs, Tensor):
        return f"inputs of shape {shape(inputs)} ({inputs.dtype})"
    how = (
        "as one argument, or as several where its forward(self, first, second) takes no single one "
        "or takes *args; in a dict, by their names"
    )
    if isinstance(inputs, Mapping):
        how = "by its names where its forward takes them all, or else as one argument"
    return f"inputs that are a {describe_nested(inputs)} (it is given them {how})"


def _outputs_and_targets(outputs: Nested, batch: Batch) -> str:
    return f"outputs of {_shape_of(outputs)} and targets of {_shape_of(batch.targets)}"


def _shape_of(nested: Nested) -> str:
    return f"shape {shape(nested)}" if isinstance(nested, Tensor) else describe_nested(nested)


def _refuse_weightless(workload: Workload, splits: Splits) -> None:
    for whose, metric in named_metrics(workload):
        if not isinstance(metric, Metric) or metric.weight is None:
            continue
        for name, split in splits.named():
            if name == "validation" or (name != "train" and whose != MEASURES):
                split_weights(split, metric, name)


def _refuse_passed_goal(workload: Workload, model: nn.Module, validation: Examples) -> None:
    goal = workload.goal
    few = torch.arange(min(len(validation), _SAMPLE), device=validation.indexed_on)
    given = _given(validation.batch(few[:_EXAMPLES]))
    with naming(workload, f"the untrained model can't be evaluated on validation {given}"):
        measures, size = Measures(workload.measures), MicroBatchSize(_EXAMPLES)
        value = full_metric(model, Part(validation, few), goal.computed, size, measures)
        measures.values()
        if goal.passed(value) and len(few) < len(validation):
            value = full_metric(model, validation, goal.computed, MicroBatchSize(_EXAMPLES))
    if workload.goal.passed(value):
        raise UsageError(
            f"{workload.name}: the goal, {workload.goal}, is already passed before training "
            f"(the untrained model has {value:.4g}); choose a harder one with --goal"
        )
