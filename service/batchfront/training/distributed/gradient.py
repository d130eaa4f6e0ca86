"""The gradient of a batch of which each of several devices computes a share."""

import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from batchfront.errors import FollowerFailed
from batchfront.training.distributed.process_group import ProcessGroup
from batchfront.training.gradient import BatchGradient, divide
from batchfront.workload.data_order import DataOrder
from batchfront.workload.microbatch import MicroBatch

_BUCKET_BYTES = 25 << 20  # that DistributedDataParallel adds up at once


def share_of(batch_size: int, rank: int, world: int, quantum: int) -> range:
    """The positions in a batch that rank `rank` of `world` takes: one after another, as evenly as
    whole multiples of `quantum`, which may not be cut, allow. Of a batch with fewer quanta than
    ranks, some take nothing.
    """
    quanta = -(-batch_size // quantum)
    start, stop = (quanta * r // world * quantum for r in (rank, rank + 1))
    return range(min(start, batch_size), min(stop, batch_size))


class SharedGradient:
    """What `BatchGradient` computes alone, up to rounding, computed by all ranks of a group.

    Each rank takes a share of the batch's positions, in micro-batches that fit its memory; torch's
    DistributedDataParallel adds up the gradients while the last goes back through the model.
    Every rank makes one at the same time, and calls `of` with the same batches.

    The first batch finds out what fits: a rank that runs out of memory there tries again with
    smaller micro-batches before the others hear of it. Later that fails the attempt, and the size
    that was found to be too large is not tried again.
    """

    def __init__(self, alone: BatchGradient, group: ProcessGroup) -> None:
        self.alone, self.group = alone, group
        if alone.whole_batches:
            raise alone.cannot_split(f"{group.world} devices share every batch")
        alone.streams.leave_nothing_out()  # no rank can compute again what the others wait for
        self._together = _wrapped(alone.forward)
        self._parameters = [p for p in alone.model.parameters() if p.requires_grad]
        self._tried = self._some_unused = False
        self._part = 0.0  # of the batch: what this rank's running means count
        self._alike: list[Tensor] = []

    def of(self, step: int, indices: Tensor) -> Tensor | None:
        """Compute the mean loss of the batch of `indices`, whose update is the one after `step`.

        Returns None if nothing in it counts.
        """
        alone, group = self.alone, self.group
        share, here = self._share(len(indices))
        self._part = len(share) / len(indices)
        overlapped = self._tried and not self._some_unused
        work = partial(self._in_micro_batches, step, indices, here, overlapped)
        undo = self._give_up if self._tried else alone.undo
        sums = alone.micro_batch_size.fit(len(here), work, undo, alone.quantum)
        for layer in alone.ghosts:
            if not share:
                layer.discard()
            layer.commit()
        if not overlapped:
            sums[2] = self._add_up_gradients()
        group.all_reduce([sums])
        if not self._tried:
            self._tried, self._some_unused = True, bool(sums[2].item())
        if alone.workload.weight is None:
            return sums[0]
        if not sums[1].item():
            return None
        divide([p.grad for p in self._parameters if p.grad is not None], sums[1])
        return sums[0] / sums[1]

    def prefetch(self, order: DataOrder, first: int, stop: int) -> AbstractContextManager[None]:
        """As `BatchGradient.prefetch`, of what is computed here."""
        return self.alone.prefetch(order, first, stop, self._here)

    def _share(self, batch_size: int) -> tuple[range, range]:
        """The positions of a batch that count here, and those that are computed here: who has no
        share follows the first group, which then counts nothing."""
        alone, group = self.alone, self.group
        share = share_of(batch_size, group.rank, group.world, alone.quantum)
        return share, share or range(min(alone.quantum, batch_size))

    def _here(self, indices: Tensor) -> Tensor:
        here = self._share(len(indices))[1]
        return indices[here.start : here.stop]

    def _in_micro_batches(
        self, step: int, indices: Tensor, here: range, overlapped: bool, size: int
    ) -> Tensor:
        """The sums of this rank's losses, each times its weight, and of the weights."""
        alone, batch_size = self.alone, len(indices)
        seed = alone.begin(step, here.start)
        counts = 1.0 if self._part else 0.0
        # DistributedDataParallel takes the mean over the ranks.
        scale = counts * (self.group.world if overlapped else 1)
        sums = torch.zeros(3, dtype=torch.float64, device=alone.device)
        for start in range(here.start, here.stop, size):
            part = indices[start : min(start + size, here.stop)]
            stop = start + len(part)
            batch = alone.load(part, seed, step)
            alone_yet = not overlapped or stop < here.stop
            with self._together.no_sync() if alone_yet else nullcontext():
                through = MicroBatch(start, stop, batch_size, seed)
                weight = alone.weight(batch, batch_size)
                loss = alone.loss(batch, through, self._together, counts=bool(weight))
                (loss * (weight * scale)).backward()  # type: ignore[no-untyped-call]
            sums[0] += loss.detach() * weight * counts
            sums[1] += weight * counts
        return sums

    def _add_up_gradients(self) -> bool:
        """Over all ranks, with nothing going on beside it. Returns whether a parameter had none."""
        unused = [p for p in self._parameters if p.grad is None]
        for p in unused:
            p.grad = torch.zeros_like(p)
        self.group.all_reduce([p.grad for p in self._parameters if p.grad is not None])
        return bool(unused)

    def add_up_alone(self) -> None:
        """Add up over all ranks what a step does, with nothing going on beside it: numbers that
        mean nothing, as many as the gradient has, in parts of the size that
        DistributedDataParallel makes of it."""
        if self._some_unused:
            self._add_up_gradients()
        else:
            if not self._alike:
                first = self._parameters[0]
                flat = first.new_zeros(sum(p.numel() for p in self._parameters))
                self._alike = list(torch.split(flat, _BUCKET_BYTES // first.element_size()))
            self.group.all_reduce(self._alike)
        self.group.all_reduce([torch.zeros(3, dtype=torch.float64, device=self.alone.device)])

    def settle(self) -> None:
        """Give every rank the batch normalization's running means of all of them.

        They are linear in the batches' means, which are the means of the shares' by their size:
        exact however many steps have passed since the last time.
        """
        running = [b for g in self.alone.ghosts for b in (g.running_mean, g.running_var)]
        if running:
            flat = torch.cat(running) * self._part
            self.group.all_reduce([flat])
            means = torch.split(flat, [len(buffer) for buffer in running])
            for buffer, mean in zip(running, means, strict=True):
                buffer.copy_(mean)

    def _give_up(self) -> NoReturn:
        self.alone.undo()
        size = self.alone.micro_batch_size.limit
        raise FollowerFailed(
            f"out of memory on {self.alone.device}; from now on with {size} at once"
        )


def _wrapped(module: nn.Module) -> DistributedDataParallel:
    """Without buffers sent along at every step: `settle` sends those that differ."""
    with warnings.catch_warnings():
        # The name that torch 2.15 has for it instead, older ones don't know.
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(module, broadcast_buffers=False)
