"""Random numbers of a try: drawn the same however its batch is cut, and noticed where they aren't
torch's."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from service.batch_pass import BatchPass
from service.training.seeds import mix


class DrawnByExample(TorchDispatchMode):
    """While it is on, whatever torch draws from its global generator for the examples of a pass is
    drawn example by example, by the example's place in its batch alone.

    So a model with torch's own dropout does the same in any parts of a batch, unless it mixes
    examples. What is drawn for no example, such as noise on a weight, differs from pass to pass.
    """

    def __init__(self, here: BatchPass) -> None:
        super().__init__()
        self._start, self._count = here.start, here.stop - here.start
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
        if not any(map(self._has_rows, (*args, *kwargs.values()))):
            torch.default_generator.manual_seed(mix(self._drawn, self._start, 1))
            return func(*args, **kwargs)
        found = []
        for row in range(self._count):
            torch.default_generator.manual_seed(mix(self._drawn, self._start + row))
            own = [self._row(arg, row) for arg in args]
            found.append(func(*own, **{k: self._row(arg, row) for k, arg in kwargs.items()}))
        if func._schema.is_mutable and found[0].data_ptr() == args[0].data_ptr():  # in place
            return args[0]
        if isinstance(found[0], Tensor):
            return torch.cat(found)
        return tuple(map(torch.cat, zip(*found, strict=True)))

    def _has_rows(self, arg: Any) -> bool:
        """Whether it is a tensor, or the shape of one, of some rows for each example."""
        rows = arg.shape[:1] if isinstance(arg, Tensor) else arg
        if not isinstance(rows, list | tuple) or not rows or not isinstance(rows[0], int):
            return False
        return rows[0] > 0 and rows[0] % self._count == 0

    def _row(self, arg: Any, row: int) -> Any:
        if not self._has_rows(arg):
            return arg
        if not isinstance(arg, Tensor):
            return [arg[0] // self._count, *arg[1:]]
        size = len(arg) // self._count
        return arg.narrow(0, row * size, size)


def generators() -> tuple[Any, ...]:
    """The states of the global generators: torch's, NumPy's and Python's."""
    kind, words, *rest = np.random.get_state()  # type: ignore[misc]
    return (
        torch.get_rng_state().numpy().tobytes(),
        (kind, words.tobytes(), *rest),
        random.getstate(),
    )


GENERATORS = ("torch", "NumPy", "Python")
"""Whose they are, in that order."""


def moved(before: tuple[Any, ...]) -> list[str]:
    """Whose global generators have drawn, or were seeded, since they were in these states."""
    pairs = zip(GENERATORS, before, generators(), strict=True)
    return [name for name, was, now in pairs if was != now]
