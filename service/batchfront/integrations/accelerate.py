"""Trials whose training loop uses Accelerate.

`trial.evaluates` and `trial.report` are called by every process, as all of a training loop is; what
they report is the main process's.
"""

from typing import Any

from batchfront.integrations.checks import refuse_other_batch_size, required
from batchfront.workload.loop import Trial

required("accelerate", since="1.0")


def check_batch_size(trial: Trial, accelerator: Any, loader: Any) -> None:
    """Raise WorkloadError if a step of the optimizer doesn't take the trial's batch size.

    accelerator -- whose `gradient_accumulation_steps` count
    loader      -- of the training data, as `accelerator.prepare` has returned it
    """
    devices = accelerator.num_processes
    if loader.total_batch_size % devices:
        devices = 1
    refuse_other_batch_size(
        trial,
        loader.total_batch_size // devices,
        accelerator.gradient_accumulation_steps,
        devices,
    )
