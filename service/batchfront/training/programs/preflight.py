"""Does a program hold together? Asked before any slot is made."""

from collections.abc import Sequence

from batchfront.training.examined import Examined
from batchfront.workload.program import Program


def examine(program: Program, batch_sizes: Sequence[int]) -> Examined:
    """Find out whether trials of a program can run, before any is planned."""
    raise NotImplementedError
