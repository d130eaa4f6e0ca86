"""Does a loop hold together? Asked before any slot is made."""

from collections.abc import Sequence

from batchfront.training.examined import Examined
from batchfront.workload.loop import Loop


def examine(loop: Loop, batch_sizes: Sequence[int]) -> Examined:
    """Find out whether trials of a loop can run, before any is planned."""
    raise NotImplementedError
