"""How many examples will fit into memory at once: estimated, before a batch is too large.

A GPU that is full says so, and a smaller micro-batch follows. A CPU that is full has its process
killed.
"""

import logging
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from batchfront.training.gradient import BatchGradient
from batchfront.training.memory import MicroBatchSizes, is_lost_device
from batchfront.workload.data import Batch, Examples
from batchfront.workload.microbatch import MicroBatch

log = logging.getLogger(__name__)

_FEW, _MORE = 2, 4  # examples of the two micro_batches, whose difference is what examples take

_SAMPLE, _LARGE_SAMPLE = 64, 1024

_LARGEST = 1 << 30

_BACKWARD, _FORWARD = 3, 4  # copies of the largest activation, beside what is saved


@dataclass(frozen=True)
class Need:
    """Bytes that each example of a micro-batch takes, in training and in evaluation."""

    training: float
    evaluation: float


def estimate(micro_batches: MicroBatchSizes, gradient: BatchGradient) -> None:
    """Set the sizes for `micro_batches.room`, in powers of two: so a small change of what is free
    or measured seldom changes how a batch is cut, and with it what rounding does."""
    room, micro_batches.room = micro_batches.room, None
    if room is None:
        return
    try:
        need = need_of(gradient)
    except Exception as error:  # which the trial itself will meet, if it is more than a lack
        if is_lost_device(error):
            raise
        log.debug("%s: no estimate of its memory (%s)", gradient.workload.name, error)
        return
    if not gradient.whole_batches:  # there is nothing to choose
        micro_batches.training.limit = _fitting(room / need.training, gradient.quantum)
    micro_batches.evaluation.limit = _fitting(room / need.evaluation, 1)


def _fitting(examples: float, quantum: int) -> int:
    units = int(min(examples, _LARGEST) // quantum)
    return quantum << max(units.bit_length() - 1, 0)


def need_of(gradient: BatchGradient) -> Need:
    """What autograd saves for two micro-batches of a copy of the model, which leaves no trace.

    Counted once for each storage, without parameters and buffers. Beside it, a backward pass has
    room for gradients of the largest activation, and a forward pass for a few of those.
    """
    model = deepcopy(gradient.model)
    model.train()
    widest = _widest(gradient.train)
    few, more = (
        _saved(gradient, model, widest.map(lambda tensor, n=n: tensor[:n].clone()))  # type: ignore[misc]
        for n in (_FEW, _MORE)
    )
    count = widest.examples
    span = min(count, _MORE) - min(count, _FEW)
    if len(few) == len(more) and span:
        grown = [(after - before) / span for before, after in zip(few, more, strict=True)]
    else:  # the model went another way: as if nothing were the same whatever the size
        grown = [saved / min(count, _MORE) for saved in more]
    own = sum(t[:1].nbytes for t in widest.tensors)
    total, largest = sum(grown) + own, max([*grown, own])
    return Need(total + _BACKWARD * largest, own + _FORWARD * largest)


def _widest(train: Examples) -> Batch:
    """A few examples, as long as those of a large batch are made, where lengths differ."""
    few: Batch = train.batch(_spread(train, _MORE), 0)
    sample: Batch = train.batch(_spread(train, _SAMPLE), 0)
    if few.shapes != sample.shapes:
        sample = train.batch(_spread(train, _LARGE_SAMPLE), 0)
    return sample


def _spread(train: Examples, count: int) -> Tensor:
    count = min(count, len(train))
    return torch.arange(count, device=train.indexed_on) * (len(train) // count)


def _saved(gradient: BatchGradient, model: nn.Module, batch: Batch) -> list[int]:
    """The bytes of each storage that the loss keeps for its gradient, as they came to be."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    count = batch.examples
    here = MicroBatch(0, count, count, 0)
    with torch.enable_grad(), saved_tensors_hooks(keep, lambda tensor: tensor):
        # An update alone knows what it trains by; the outputs tell what evaluations take.
        counts = gradient.workload.loss is not None and bool(gradient.weight(batch, count))
        loss = gradient.loss(batch, here, gradient.wrapped(model), counts=counts)
    del loss  # until here it holds the storages, so that no address is used twice
    return list(sizes.values())
