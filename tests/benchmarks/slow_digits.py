"""digits/mlp/momentum on a device that takes its time: each training step waits, and the machine's
cores are free meanwhile, so that eight workers run side by side on two.

Its goal is easier than the study's own, so that its steps to target fit a benchmark; they still
differ by 20 times and more between batch sizes.
"""

import os
import time
from dataclasses import replace

from torch import Tensor, nn

from batchfront import Goal, Workload
from batchfront.workload.workload import powers_of_two
from batchfront_studies import digits

PAUSE = "BATCHFRONT_BENCHMARK_PAUSE"
"""Seconds that a training step waits, in the environment."""


class Device(nn.Module):
    """Passes its input on, in training after a pause."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            time.sleep(float(os.environ.get(PAUSE, "0")))
        return x


def model() -> nn.Module:
    """The network of digits/mlp behind such a device. [n, 64] -> [n, 10]"""
    return nn.Sequential(Device(), digits.model())


def workload() -> Workload:
    """The workload; found by this file's path."""
    theirs = digits.momentum()
    return replace(
        theirs,
        name="digits/waiting_mlp/momentum",
        model=model,
        goal=Goal(theirs.goal.metric, 0.05),
        batch_sizes=powers_of_two(2, 256),
    )
