"""Random numbers of a try: drawn the same however its batch is cut."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from batchfront.workload.microbatch import MicroBatch
from batchfront.workload.seeds import mix


class DrawnByExample(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is on, what torch draws from its global generator for a micro-batch's examples is
    drawn example by example, by the example's place in its batch alone.

    So a model with torch's own dropout does the same in any parts of a batch, unless it mixes
    examples. What is drawn for no example, such as noise on a weight, differs from one to the next.

    axes -- which axis of what is drawn is the examples', by number of the draw: found in one of
            the whole batch, which goes first, and remembered for its parts
    """

    def __init__(self, here: MicroBatch, axes: dict[int, int | None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._start, self._count = here.start, here.stop - here.start
        self._whole = self._count == here.batch_size
        self._axes = axes
        self._drawn = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler for it, which takes a second

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        drawing = torch.Tag.nondeterministic_seeded in func.tags
        if not drawing or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        self._drawn += 1
        given = [arg for arg in (*args, *kwargs.values()) if _sizes(arg) is not None]
        if self._whole:
            self._axes[self._drawn] = next(
                (axis for axis in map(self._axis, given) if axis is not None), None
            )
        axis = self._axes.get(self._drawn)
        if axis is None or not any(self._is_of_examples(arg, axis) for arg in given):
            torch.default_generator.manual_seed(mix(self._drawn, self._start, 1))
            return func(*args, **kwargs)
        found = []
        for row in range(self._count):
            torch.default_generator.manual_seed(mix(self._drawn, self._start + row))
            own = [self._part(arg, axis, row) for arg in args]
            named = {key: self._part(arg, axis, row) for key, arg in kwargs.items()}
            found.append(func(*own, **named))
        if isinstance(found[0], Tensor):
            changed = isinstance(args[0], Tensor) and found[0].data_ptr() == args[0].data_ptr()
            return args[0] if changed else torch.cat(found, axis)
        return tuple(torch.cat(parts, axis) for parts in zip(*found, strict=True))

    def _axis(self, arg: Any) -> int | None:
        """That of as many places as there are examples, or the first if it has some for each."""
        sizes = _sizes(arg) or []
        if self._count in sizes:
            return sizes.index(self._count)
        return 0 if self._is_of_examples(arg, 0) else None

    def _is_of_examples(self, arg: Any, axis: int) -> bool:
        sizes = _sizes(arg) or []
        return len(sizes) > axis and sizes[axis] > 0 and sizes[axis] % self._count == 0

    def _part(self, arg: Any, axis: int, row: int) -> Any:
        if not self._is_of_examples(arg, axis):
            return arg
        sizes = _sizes(arg) or []
        own = sizes[axis] // self._count
        if isinstance(arg, Tensor):
            return arg.narrow(axis, row * own, own)
        return [*sizes[:axis], own, *sizes[axis + 1 :]]


_NUMBERS = frozenset(
    "bernoulli bernoulli_ normal_ rand rand_like randn randn_like uniform_".split()
)
"""Names of what draws numbers, and does nothing else."""


class DrawnAlike(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is on, each number that torch draws is one and the same, so that it doesn't matter
    how many are drawn: dropout multiplies all by one number."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        drawing = torch.Tag.nondeterministic_seeded in func.tags
        if drawing and func.overloadpacket.__name__ in _NUMBERS:
            found.fill_(0.5)
        return found


def _sizes(arg: Any) -> list[int] | None:
    """Of a tensor, or of the shape of one. Returns None of anything else."""
    if isinstance(arg, Tensor):
        return list(arg.shape)
    if isinstance(arg, list | tuple) and all(isinstance(size, int) for size in arg):
        return list(arg)
    return None
