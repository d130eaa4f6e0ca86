"""Running out of memory: told apart from other errors, and answered by smaller micro-batches."""

import gc
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

_FULL = (
    "can't allocate memory",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device, or the host, has no memory left to give."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
        return True
    # The CPU's allocator, cuBLAS and cuDNN raise a plain RuntimeError.
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _FULL)


def is_lost_device(error: BaseException) -> bool:
    """Whether an error says that the GPU, or this process's hold on it, is of no more use. It is
    not the trial's fault, and every other trial in this process would meet the same."""
    return (
        isinstance(error, RuntimeError)
        and not is_out_of_memory(error)
        and ("CUDA error" in str(error) or "CUDA driver error" in str(error))
    )


def release() -> None:
    """Give back what nothing refers to any more, so that a smaller try finds room."""
    gc.collect()
    torch = sys.modules.get("torch")  # which runs that aren't ours may do without
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


@dataclass
class MicroBatchSize:
    """How many examples go through a model at once: all, until memory has run out.

    What the micro-batches compute is added up, so that batch and evaluation stay what they are.
    """

    limit: int | None = None

    def size(self, examples: int, quantum: int = 1) -> int:
        """The examples of a micro-batch, where there are so many in all.

        quantum -- what may not be cut: a size below `examples` is a multiple of it
        """
        if self.limit is None or self.limit >= examples:
            return examples
        return min(examples, max(self.limit - self.limit % quantum, quantum))

    def fit(
        self,
        examples: int,
        work: Callable[[int], T],
        undo: Callable[[], None] = release,
        quantum: int = 1,
    ) -> T:
        """`work(size)` with the largest size, up to `examples`, that fits into memory.

        undo -- called after a try that failed, to give back what it left behind
        """
        while True:
            limit = self.limit
            fits = limit is None or limit >= examples
            size = examples if fits else self.size(examples, quantum)
            try:
                return work(size)
            except Exception as error:
                if size <= quantum or not is_out_of_memory(error):
                    raise
                self.limit = max((size + 1) // 2 // quantum * quantum, quantum)
                log.warning(
                    "out of memory with %d examples at once; going on with %d", size, self.limit
                )
            # Outside of the except clause, whose traceback still holds the failed try's tensors.
            undo()


@dataclass
class MicroBatchSizes:
    """The micro-batch sizes of a workload on a device: one object for all of its trials, so that
    the second need not learn them anew. Gradients take more room than evaluations do.

    room  -- bytes that a micro-batch may take, from which the first trial estimates both sizes;
             None: they are known, or left to be found when memory runs out
    whole -- why a training batch must go through as a whole: see `BatchGradient`
    """

    training: MicroBatchSize = field(default_factory=MicroBatchSize)
    evaluation: MicroBatchSize = field(default_factory=MicroBatchSize)
    room: int | None = None
    whole: str | None = None

    @property
    def limits(self) -> tuple[int | None, int | None]:
        """Of training and of evaluation."""
        return self.training.limit, self.evaluation.limit

    def micro_batch(self, batch_size: int) -> int | None:
        """Examples of a micro-batch in training, where that is less than the batch."""
        limit = None if self.whole is not None else self.training.limit
        return limit if limit is not None and limit < batch_size else None
