"""Examines a workload before it is planned, by its kind."""

from collections.abc import Sequence

from batchfront.training.examined import Examined
from batchfront.workload.base import WorkloadBase
from batchfront.workload.loop import Loop
from batchfront.workload.program import Program


def examine(workload: WorkloadBase, batch_sizes: Sequence[int], spec: str) -> Examined:
    """Find out whether trials of a workload can run, before any is planned.

    spec -- where it was found, from any folder

    Raises WorkloadError, or another BatchfrontError, that says what is wrong.
    """
    # Late: each kind brings its own, and a workload torch.
    if isinstance(workload, Program):
        from batchfront.training.programs import preflight as programs

        return programs.examine(workload, batch_sizes)
    if isinstance(workload, Loop):
        from batchfront.training.loops import preflight as loops

        return loops.examine(workload, batch_sizes, spec)
    from batchfront.training.preflight import examined
    from batchfront.workload.workload import Workload

    assert isinstance(workload, Workload)
    return examined.examine(workload, batch_sizes)
