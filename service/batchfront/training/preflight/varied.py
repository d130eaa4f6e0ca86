"""What a workload is tried on: a few examples of a split that are as unlike as they come."""

import torch
from torch import nn

from batchfront.workload.data import Examples, Part, is_in_memory
from batchfront.workload.nested import tensors_in

_POOL, _SMALL_POOL = 512, 64  # of which they are taken: of a split in memory, and of another

_LARGE = 3_000_000

_NUMBERS = 64  # of a target, by which it is told from others


def varied(split: Examples) -> Part:
    """Examples from all over a split, in an order in which those come first whose targets none
    before them has: a batch of one class shows nothing of what weighs classes."""
    count = len(split)
    pool = min(count, _POOL if is_in_memory(split) else _SMALL_POOL)
    some = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:pool]
    some = some.to(split.indexed_on)
    numbers = [t.reshape(pool, -1)[:, :_NUMBERS].double() for t in tensors_in(split.batch(some)[1])]
    targets = torch.cat(numbers, dim=1)[:, :_NUMBERS].cpu()
    _, kinds = targets.unique(dim=0, return_inverse=True)  # type: ignore[no-untyped-call]
    by_kind = kinds.argsort(stable=True)
    sizes = kinds.bincount()
    rank = torch.empty_like(kinds)  # how many of its kind come before it
    rank[by_kind] = torch.cat([torch.arange(size) for size in sizes.tolist()])
    return Part(split, some[rank.argsort(stable=True).to(some.device)])


def is_large(model: nn.Module) -> bool:
    """Whether it has so many parameters that a try of it has to be of a few examples."""
    return sum(p.numel() for p in model.parameters()) >= _LARGE
