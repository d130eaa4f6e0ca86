"""A step of K trials on a CUDA device as one launch: a graph of all that it does."""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from batchfront.workload.data import Examples, is_in_memory

log = logging.getLogger(__name__)

AFTER = 50
"""Steps that a stack takes before one is captured: that takes as long as some tens of steps."""

_WARM_UP = 3

_CLOSE = 1e-4  # of the largest number: what the order of sums can come to

Capture = Callable[[Callable[[], None]], Callable[[], None]]
"""A step -> what does the same again, each time that it is called."""


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """Run a step a few times, which changes what it changes, and capture it."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # Of this thread alone: others write checkpoints meanwhile.
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        step()
    return graph.replay


def may_be_graphed(device: torch.device, train: Examples) -> bool:
    """Whether batches are gathered on a device that has graphs."""
    return device.type == "cuda" and is_in_memory(train)


class Graphed:
    """A step that is captured when it is first called, and replayed from then on.

    step  -- takes its inputs from tensors that stay where they are, draws nothing, looks at no
             value, and changes nothing but `state`, in place

    The first replay is checked against the step itself, from the same state. If they differ, or
    the step can't be captured, it is called as it is: with a line in the log, and no other effect.

    Not run on a GPU yet: tested with a stand-in for `captured`.
    """

    def __init__(
        self, step: Callable[[], None], state: Sequence[Tensor], capture: Capture | None = None
    ) -> None:
        self._step, self._state = step, state
        self._capture: Capture = captured if capture is None else capture
        self._again: Callable[[], None] | None = None

    def __call__(self) -> None:
        if self._again is None:
            self._again = self._tried()
        else:
            self._again()

    def _tried(self) -> Callable[[], None]:
        """What does the step from now on; it has been done once."""
        before = self._copies()
        self._step()
        expected = self._copies()
        try:
            self._put(before)
            replay = self._capture(self._step)
            self._put(before)
            replay()
            why = None if self._is(expected) else "its replay comes to other numbers"
        except Exception as error:  # whatever CUDA says of it: if worse, the next call says so too
            why = str(error).strip().split("\n")[0]
        if why is None:
            return replay
        self._put(expected)
        log.info("steps are not replayed as a CUDA graph: %s", why)
        return self._step

    def _copies(self) -> list[Tensor]:
        return [tensor.detach().clone() for tensor in self._state]

    @torch.no_grad()
    def _put(self, values: Sequence[Tensor]) -> None:
        for tensor, value in zip(self._state, values, strict=True):
            tensor.copy_(value)

    def _is(self, values: Sequence[Tensor]) -> bool:
        return all(map(_close, self._state, values))


def _close(found: Tensor, wanted: Tensor) -> bool:
    largest = wanted.detach().abs().nan_to_num(0.0, 0.0).max().item()
    return torch.allclose(found, wanted, rtol=_CLOSE, atol=_CLOSE * largest, equal_nan=True)
