"""Is a batch in parts the same batch? Tried on a few real examples.

A loss that is no mean over examples, or a model whose examples see each other, has another
gradient in micro-batches and on several devices than it has in one go: nothing fails, the trial is
another one.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from batchfront.errors import BatchfrontError
from batchfront.training.gradient import batch_normalization
from batchfront.training.memory import MicroBatchSize
from batchfront.training.preflight.draws import DrawnAlike, DrawnByExample
from batchfront.training.preflight.loss_parts import why_whole_loss
from batchfront.training.preflight.rounding import alike, close
from batchfront.training.preflight.varied import is_large
from batchfront.training.preflight.watched import Watched, counting, of_kind
from batchfront.training.preflight.wording import in_one_line
from batchfront.training.training_step import SEES_WHOLE_BATCH
from batchfront.workload.algorithm import chosen
from batchfront.workload.calling import called
from batchfront.workload.data import Batch, Examples, Split
from batchfront.workload.execution import Execution
from batchfront.workload.layers import GhostBatchNorm2d
from batchfront.workload.microbatch import MicroBatch, computing
from batchfront.workload.nested import Nested, is_of_rows, join_rows
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.workload import Workload


class _Round(NamedTuple):
    """Examples of a batch and of its parts, and what the weights are multiplied by: the outputs of
    an untrained model are all alike, and don't show what branches on them. Few axes but that of the
    examples have so many places."""

    examples: int
    part: int
    scale: float


_ROUNDS = (
    _Round(7, 4, 1.0),
    _Round(13, 5, 4.0),
    _Round(23, 7, 16.0),
    _Round(23, 1, 3.0),
    _Round(23, 1, 1.0),
    _Round(23, 11, 3.0),
)

_AFFORDED = 1e9
"""Multiplications of the rounds after the first: a part of a second."""

_GHOST = 2  # examples of a group in a try, of however many a group is in training

_CPU = torch.device("cpu")


def why_whole(
    workload: Workload, model: nn.Module, examples: Examples, values: Metaparameters
) -> str | None:
    """Why a batch of this workload must go through as a whole, in a clause that ends with what to
    write instead; None if its parts, of whatever size, have the gradient of the whole.

    The model is of no use afterwards. Raises WorkloadError where outputs and targets of unlike
    shapes are what mixes examples.
    """
    if workload.update is not None:
        return SEES_WHOLE_BATCH
    known = batch_normalization(model)
    if known is not None:
        return known
    before = {name: tensor.detach().clone() for name, tensor in _tensors(model)}
    if not is_large(model):
        try:
            return _Try(workload, model.double(), examples, values).why_whole()
        except BatchfrontError:
            raise
        except Exception:  # its model or its loss is written for single precision
            for name, tensor in _tensors(model):
                tensor.data = before[name]
    try:
        return _Try(workload, model, examples, values).why_whole()
    except BatchfrontError:
        raise
    except Exception as error:
        return f"parts of a batch can't be tried ({in_one_line(error)})"


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


class _Found(NamedTuple):
    """A gradient, what the model's buffers are after it, and whose random numbers it took."""

    gradient: dict[str, Tensor]
    buffers: dict[str, Tensor]
    drawn: set[str]

    @property
    def finite(self) -> bool:
        return all(bool(g.isfinite().all()) for g in self.gradient.values())


class _Try:
    """One model, put back to where it was before each gradient.

    It is one and not copies, as a copy has none of its parameters' hooks.
    """

    def __init__(
        self, workload: Workload, model: nn.Module, examples: Examples, values: Metaparameters
    ) -> None:
        self.workload = replace(workload, execution=Execution())
        self.model, self.examples, self.values = model, examples, values
        self._ghosts = [m for m in model.modules() if isinstance(m, GhostBatchNorm2d)]
        for layer in self._ghosts:
            layer.ghost_size = min(layer.ghost_size, _GHOST)
        self._before = {name: tensor.detach().clone() for name, tensor in _tensors(model)}
        self._trained = [p.requires_grad for p in model.parameters()]
        self._by_example = False
        self._axes: dict[int, int | None] = {}

    def why_whole(self) -> str | None:
        first = self._indices(_ROUNDS[0])
        with counting(self.model) as counted:
            drawn = self._gradient(first, None, 1.0).drawn
        self._by_example = "torch" in drawn
        mixing = _why_drawn(drawn) or self._why_whole_loss()
        work = counted[0] / len(first)
        left = _AFFORDED
        for number, round_ in enumerate(_ROUNDS):
            indices = self._indices(round_)
            left -= 6 * work * len(indices) if number else 0  # forward and back, twice
            if mixing is not None or left < 0:
                break
            mixing = self._differs(indices, round_)
        return mixing

    def _indices(self, round_: _Round) -> Tensor:
        count = min(round_.examples, len(self.examples))
        count -= count % _GHOST if self._ghosts else 0  # a last group of one can't be normalized
        return torch.arange(count, device=self.examples.indexed_on)

    def _differs(self, indices: Tensor, round_: _Round) -> str | None:
        try:
            whole = self._gradient(indices, None, round_.scale)
        except Exception:
            if round_.scale == 1.0:
                raise
            return None  # of weights so large
        if not whole.finite:
            return None
        try:
            parts = self._gradient(indices, round_.part, round_.scale)
        except BatchfrontError:
            raise
        except Exception as error:
            return f"a model that fails with parts of a batch ({in_one_line(error)}) can't be split"
        drawn = _why_drawn(whole.drawn | parts.drawn)
        if drawn is not None:
            return drawn
        for name, buffer in whole.buffers.items():
            if not close({name: buffer}, {name: parts.buffers[name]}):
                return f"the model's buffer {name}, which moves with each pass, can't be split"
        if close(whole.gradient, parts.gradient) or self._is_drawn_alone(indices, round_):
            return None
        return self._why_mixed(indices, round_)

    def _is_drawn_alone(self, indices: Tensor, round_: _Round) -> bool:
        """Whether parts that are padded to other lengths than their batch have another gradient
        only because dropout draws as many numbers as there are places: they have that of the batch
        where all numbers drawn are alike, and where they are padded as it is."""
        if not self._by_example or not self._is_padded(indices, round_):
            return False
        sizes, scale = (None, round_.part), round_.scale
        padded, places = Split(*self._load(indices)), torch.arange(len(indices))
        as_batch = [self._gradient(places, size, scale, padded) for size in sizes]
        drawn_alike = [self._gradient(indices, size, scale, drawing=_alike) for size in sizes]
        return all(close(one.gradient, other.gradient) for one, other in (as_batch, drawn_alike))

    def _is_padded(self, indices: Tensor, round_: _Round) -> bool:
        """Whether the tensors of its parts differ in shape."""
        parts = indices.split(round_.part)  # type: ignore[no-untyped-call]
        return len({str(self._load(part).shapes) for part in (indices, *parts)}) > 1

    def _why_mixed(self, indices: Tensor, round_: _Round) -> str:
        """What it is that makes the gradient of the parts another one, the loss being a mean."""
        parts = indices.split(round_.part)  # type: ignore[no-untyped-call]
        if self._is_padded(indices, round_):
            return (
                "a batch whose examples are padded to the longest of them, where the model counts "
                "the padding, can't be split; pad to one length, or mask the padding"
            )
        if self.workload.loss_takes_model:
            return (
                "a loss that calls the model and is no mean over its examples, or whose examples "
                "see each other, can't be split"
            )
        whole, found, start = self._outputs(indices, round_.scale), [], 0
        for part in parts:
            here = MicroBatch(start, start + len(part), len(indices), 0)
            found.append(self._outputs(part, round_.scale, here))
            start += len(part)
        if not is_of_rows(whole, len(indices)):
            return "a model whose outputs aren't each of one example can't be split"
        if alike(whole, join_rows(found)):
            return (
                "a model whose gradient for one example depends on the others (by a hook, say) "
                "can't be split; change gradients in the optimizer's register_step_pre_hook"
            )
        return (
            "a model whose outputs for one example depend on the others can't be split; "
            "normalize each by itself (LayerNorm, GroupNorm), or in GhostBatchNorm2d's groups, "
            "and draw for each by itself"
        )

    def _load(self, indices: Tensor) -> Batch:
        return of_kind(self.model, self.examples.batch(indices, seed=0))

    @torch.no_grad()
    def _outputs(self, indices: Tensor, scale: float, here: MicroBatch | None = None) -> Nested:
        self._put_back(scale)
        self.model.train()
        if here is None:
            here = MicroBatch(0, len(indices), len(indices), 0)
        with computing(here), self._drawing(here):
            return called(self.model, self._load(indices).inputs)

    def _why_whole_loss(self) -> str | None:
        assert self.workload.loss is not None
        if self.workload.loss_takes_model:  # its gradient by the weights is all there is
            return None
        every = self._load(torch.arange(len(self.examples), device=self.examples.indexed_on))
        few = self._indices(_ROUNDS[0])
        outputs = self._outputs(few, 1.0)
        if not is_of_rows(outputs, len(few)):
            return None
        own = self._load(few)
        # Padded to other lengths, those of the few are all that outputs can be compared with.
        targets = (every if every.shapes == own.shapes else own).targets
        values = chosen(self.workload.loss, self.values)
        axes: dict[int, int | None] = {}  # a loss by itself draws what in a micro-batch comes later
        drawing = partial(self._drawing, axes=axes)
        return why_whole_loss(self.workload, outputs, targets, values, drawing)

    def _drawing(self, here: MicroBatch, axes: dict[int, int | None] | None = None) -> Any:
        axes = self._axes if axes is None else axes
        return DrawnByExample(here, axes) if self._by_example else nullcontext()

    def _gradient(
        self,
        indices: Tensor,
        part: int | None,
        scale: float,
        examples: Examples | None = None,
        drawing: Callable[[MicroBatch], Any] | None = None,
    ) -> _Found:
        self._put_back(scale)
        model, drawing = self.model, drawing or self._drawing
        examples = self.examples if examples is None else examples
        told = (self.workload, model, self.values, examples, MicroBatchSize(part), 0, _CPU)
        watched = Watched(*told, drawing=drawing)
        model.train()
        watched.of(0, indices)
        gradient = {
            name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
            for name, p in model.named_parameters()
        }
        buffers = {
            name: b.clone() for name, b in model.named_buffers() if name in model.state_dict()
        }
        return _Found(gradient, buffers, watched.drawn)

    def _put_back(self, scale: float) -> None:
        self.model.zero_grad(set_to_none=True)
        parameters = dict(self.model.named_parameters())
        with torch.no_grad(), suppress(KeyError):
            for name, tensor in _tensors(self.model):
                before = self._before[name]
                tensor.data = before * scale if name in parameters else before.clone()
        for layer in self._ghosts:
            layer.discard()
        for parameter, trained in zip(parameters.values(), self._trained, strict=True):
            parameter.requires_grad_(trained)


def _alike(here: MicroBatch) -> DrawnAlike:
    return DrawnAlike()


def _why_drawn(drawn: set[str]) -> str | None:
    others = " and ".join(sorted(drawn - {"torch"}))
    if not others:
        return None
    return (
        f"what {others} draws for each micro-batch anew can't be split; draw by torch, a number "
        "for each example"
    )
