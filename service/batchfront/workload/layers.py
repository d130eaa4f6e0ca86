"""Layers that act on a batch in the same way however it is cut into micro-batches, or over devices.

Dropout of torch draws for the examples that it is given, and batch normalization normalizes over
them: with either, a batch that is computed in parts is another batch. With these it is not.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchfront.workload.microbatch import MicroBatch, current_micro_batch, micro_batches_together
from batchfront.workload.seeds import mix

_BLOCK = 32  # examples whose masks are drawn together, at least

_BLOCKS = 32  # draws for a batch, at most: on a GPU each is a kernel launch

_LEVELS = 1 << 16  # between which a probability is told apart


class Dropout(nn.Dropout):
    """torch's dropout, with a mask that depends on an example's place in its batch alone.

    The first axis of what it is given is the batch's, or that and others flattened into one, the
    batch's outermost. In evaluation, and outside of batchfront's training, it is torch's own.
    """

    def forward(self, x: Tensor) -> Tensor:
        here, together = current_micro_batch(), micro_batches_together()
        if self.training and together:
            factors: Tensor = _FactorsTogether.apply(x.detach(), self.p)
            return x * factors
        if here is None or not self.training:
            plain: Tensor = super().forward(x)
            return plain
        dropped = round(self.p * _LEVELS)
        if dropped in (0, _LEVELS):
            return x if dropped == 0 else x * 0.0
        factors = _kept(x.detach(), here, dropped)
        return x * factors


def dropout_factors(x: Tensor, here: MicroBatch, p: float) -> Tensor:
    """What dropout multiplies `x` by in a micro-batch: shape and dtype of `x`."""
    dropped = round(p * _LEVELS)
    if dropped in (0, _LEVELS):
        return torch.full_like(x, 0.0 if dropped else 1.0)
    return _drawn(x, here, dropped)


class _FactorsTogether(torch.autograd.Function):
    """`dropout_factors` of each of the trials that `torch.vmap` takes through a model as one."""

    @staticmethod
    def forward(x: Tensor, p: float) -> Tensor:  # noqa: ARG004
        raise RuntimeError("several trials, but a tensor of one: it doesn't depend on the inputs")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:  # noqa: ARG004
        ctx.mark_non_differentiable(output)

    @staticmethod
    def vmap(
        info: Any,  # noqa: ARG004
        in_dims: tuple[int, None],
        x: Tensor,
        p: float,
    ) -> tuple[Tensor, int]:
        rows = x.movedim(in_dims[0], 0).unbind()
        each = zip(rows, micro_batches_together(), strict=True)
        return torch.stack([dropout_factors(row, here, p) for row, here in each]), 0


@torch.no_grad()
def _drawn(x: Tensor, here: MicroBatch, dropped: int) -> Tensor:
    """What `x` is multiplied by: 0 with probability `dropped / _LEVELS`, or what evens that out."""
    examples = here.stop - here.start
    if len(x) % examples:
        raise ValueError(
            f"dropout of a tensor of shape {tuple(x.shape)} in a micro-batch of {examples} "
            "examples: the first axis must be the batch's"
        )
    draw, size = here.next_draw(), x.numel() // examples  # numbers an example
    block = max(_BLOCK, -(-here.batch_size // _BLOCKS))
    parts = []
    for number in range(here.start // block, -(-here.stop // block)):
        first = number * block
        rows = min(block, here.batch_size - first)
        bits = _bits(rows * size, mix(here.seed, draw, number), x.device).view(rows, size)
        wanted = bits[max(here.start - first, 0) : here.stop - first]
        parts.append(wanted >= dropped - _LEVELS // 2)
    kept = parts[0] if len(parts) == 1 else torch.cat(parts)
    return kept.view(x.shape).to(x.dtype).mul_(_LEVELS / (_LEVELS - dropped))


_kept = _drawn  # or the same, hidden from a compiler


def draw_outside_of_graphs() -> None:
    """Keep `torch.compile` away from what draws masks: call it before a model is compiled.

    Not a decorator's work, as torch's compiler takes seconds to import.
    """
    global _kept
    if _kept is _drawn:
        _kept = torch.compiler.disable(_drawn)  # type: ignore[no-untyped-call]


def _bits(count: int, seed: int, device: torch.device) -> Tensor:
    """int16 numbers, every one as likely: a tenth of the time of torch's bernoulli on a CPU."""
    generator = torch.Generator(device).manual_seed(seed)
    words = torch.empty(-(-count // 4), dtype=torch.int64, device=device)
    words.random_(-(2**63), None, generator=generator)
    return words.view(torch.int16)[:count]


class GhostBatchNorm2d(nn.Module):
    """Batch normalization over groups of `ghost_size` examples, whatever the batch size.

    Ghost batch normalization of Hoffer et al. 2017, as Shallue et al. 2018 (section 4.1 and
    appendix) have it in ResNet-50 with groups of 32: so that what the model computes does not
    change with the batch size. Examples 0-31 of a batch are a group, 32-63 the next, and so on;
    the last is smaller if the batch size is no multiple.

    Evaluation normalizes by running means: after each batch they move by `momentum` towards the
    mean over its groups. Within batchfront's training that is when the whole batch has passed
    (`commit`), elsewhere at once.

    [n, features, height, width] -> the same
    """

    running_mean: Tensor
    running_var: Tensor
    _mean: Tensor
    _var: Tensor

    def __init__(
        self, features: int, ghost_size: int = 32, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__()
        self.features, self.ghost_size, self.eps, self.momentum = (
            features,
            ghost_size,
            eps,
            momentum,
        )
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))
        self.register_buffer("_mean", torch.zeros(features), persistent=False)
        self.register_buffer("_var", torch.zeros(features), persistent=False)
        self._seen = 0  # examples of this batch that _mean and _var are of

    def extra_repr(self) -> str:
        return (
            f"{self.features}, ghost_size={self.ghost_size}, eps={self.eps}, "
            f"momentum={self.momentum}"
        )

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            running = (self.running_mean, self.running_var)
            return F.batch_norm(x, *running, self.weight, self.bias, eps=self.eps)
        here = current_micro_batch()
        if here is not None and here.start % self.ghost_size:
            raise ValueError(
                f"a micro-batch that starts at example {here.start} of its batch cuts a group of "
                f"{self.ghost_size}"
            )
        parts = x.split(self.ghost_size)  # type: ignore[no-untyped-call]
        normalized = [self._normalized(part) for part in parts]
        if here is None:
            self.commit()
        return normalized[0] if len(normalized) == 1 else torch.cat(normalized)

    def _normalized(self, group: Tensor) -> Tensor:
        self._seen += len(group)
        # torch's own running means, used to average over the groups of the batch.
        average = (self._mean, self._var, self.weight, self.bias, True, len(group) / self._seen)
        return F.batch_norm(group, *average, eps=self.eps)

    @torch.no_grad()
    def commit(self) -> None:
        """The batch has passed: move the running means."""
        if self._seen:
            self.running_mean.lerp_(self._mean, self.momentum)
            self.running_var.lerp_(self._var, self.momentum)
            self.discard()

    def discard(self) -> None:
        """Forget the micro-batches of a batch that begins anew."""
        self._seen = 0
