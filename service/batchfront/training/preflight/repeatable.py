"""Is a trial's result its own? Two trials of one seed, side by side, are to be the same."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from batchfront.errors import WorkloadError
from batchfront.training.model_run import ModelRun
from batchfront.workload.data import Examples, Part, Splits
from batchfront.workload.metrics import Metric
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.workload import Workload

_BATCH, _STEPS = 8, 2  # examples at most: the model may be large

_POOL = 512  # examples that those are taken from, where some count nothing

_CLOSE = 1e-4  # of the largest number: what isn't rounding is more


def refuse_unrepeatable(
    workload: Workload, splits: Splits, batch_size: int, values: Metaparameters
) -> None:
    """Raise WorkloadError if two trials of one seed come to different numbers: something draws
    from what no seed sets, or from what trials share."""
    metric, size = workload.goal.computed, min(batch_size, _BATCH)
    train = _few(splits.train, size * _STEPS, workload.weight)
    looked_at = metric.weight if isinstance(metric, Metric) else None
    few = Splits(train, _few(splits.validation, size * _STEPS, looked_at))
    if len(few.train) < size or not len(few.validation):
        return
    cpu = torch.device("cpu")
    pair = [ModelRun(workload, few, size, values, 1, cpu) for _ in range(2)]
    for (what, one), (_, other) in zip(*map(_stages, pair), strict=True):
        if not _close(one, other):
            raise WorkloadError(
                f"{workload.name}: two trials of one seed differ in {what}: something draws random "
                "numbers that no seed sets, or that trials share; draw them by torch.rand, "
                "numpy.random.rand or random.random and the like, which each trial seeds, and not "
                "from a generator of your own, such as numpy.random.default_rng()"
            )


def _few(whole: Examples, count: int, weigh: Callable[[Tensor], Tensor] | None) -> Examples:
    pool = torch.arange(min(_POOL, len(whole)), device=whole.indexed_on)
    if weigh is not None:
        pool = pool[(weigh(whole.batch(pool)[1]) > 0).reshape(len(pool)).to(pool.device)]
    return Part(whole, pool[:count])


def _stages(run: ModelRun) -> Iterator[tuple[str, Tensor]]:
    yield "their untrained weights", _weights(run)
    if run.untrained_loss is not None:
        yield "their untrained loss", torch.tensor(run.untrained_loss)
    run.advance(_STEPS)
    yield f"their weights after {_STEPS} steps", _weights(run)
    found = run.evaluate(full=True)
    yield "what their evaluation finds", torch.tensor(found.value)
    for name, value in found.measures.items():
        yield f"what measure {name!r} finds", torch.tensor(value)


def _weights(run: ModelRun) -> Tensor:
    parts = (*run.model.parameters(), *run.model.buffers())
    return torch.cat([part.detach().flatten().double() for part in parts])


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    apart, largest = ((x.abs().nan_to_num(0.0, 0.0)).max() for x in (one - other, one))
    return bool(apart <= _CLOSE * largest)
