"""A heat as one vectorized model: its trials' weights stacked, every step one computation.

`why_not` says whether a workload can be computed so; `Vectorized` is the engine that does.
"""

from collections.abc import Sequence
from threading import Event

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from service.data import Splits
from service.layers import GhostBatchNorm2d
from service.training.engines import Failed, Sequential
from service.training.evaluation import Evaluation
from service.training.trial import TrialRun
from service.workload import Workload


def why_not(
    workload: Workload, model: nn.Module, splits: Splits, devices: Sequence[torch.device]
) -> str | None:
    """Why heats of a workload can't be computed as one, in a clause for a person; None if they
    can. `model` is one of its models, and `devices` those that compute each trial together."""
    if len(devices) > 1:
        return f"{len(devices)} devices compute each trial"
    if workload.execution.compile or workload.execution.precision != "float32":
        return "it is compiled, or computed in bfloat16"
    if splits.train.ahead or splits.validation.ahead:
        return "its examples are loaded ahead"
    for module in model.modules():
        if isinstance(module, _BatchNorm | GhostBatchNorm2d):
            return f"it normalizes over batches ({type(module).__name__})"
    return "no layer can be, yet"


class Vectorized:
    """The engine that computes all runs of a heat as one."""

    def __init__(self) -> None:
        self._alone = Sequential()

    def advance(self, runs: Sequence[TrialRun], to_step: int, stop: Event) -> list[bool | Failed]:
        return self._alone.advance(runs, to_step, stop)

    def look(self, runs: Sequence[TrialRun], *, full: bool) -> list[Evaluation | Failed]:
        return self._alone.look(runs, full=full)
