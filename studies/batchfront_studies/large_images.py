"""What the workloads on ImageNet and Open Images have in common.

From Shallue et al. 2018: Nesterov momentum; a learning rate that decays linearly; for ResNet-50 on
ImageNet at batch size 256 a learning rate of 1e-4 to 10, ending at 1e-4 to 0.1 of it after half to
all of 600,000 steps; momentum of 0.9 to 0.9999; label smoothing of 0, 0.01 or 0.1.

Ours: how budgets and ranges go with the batch size, and the evaluated steps.
"""

from collections.abc import Callable

from batchfront.workload.evaluation_grid import EvaluationGrid
from batchfront.workload.execution import Execution
from batchfront.workload.search_space import Choice, Integer, Log, ReverseLog, SearchSpace

STATED_AT = 256
"""The batch size for which budget and ranges are stated."""

STATED_STEPS = 600_000
"""Steps at that batch size: 125 epochs of ImageNet."""

NO_FASTER_FROM = 8_192
"""From this batch size on a trial is given as many steps as here, 18,750."""

GRID = EvaluationGrid(first=100, spacing=0.02)
"""An evaluation of 50,000 images costs as much as training on a third of as many. Every 2 % from
step 100 that is at most 6 % of the examples of a budget (at the smallest batch sizes), half of
what every 1 % would be; a first passage is seen up to 2 % late, at every batch size alike."""

EXECUTION = Execution(channels_last=True)


def step_budget(batch_size: int) -> int:
    """125 epochs of ImageNet up to batch size 8,192, beyond that the steps of 8,192.

    As many examples at every batch size is what perfect scaling takes. Beyond, where a larger
    batch saves fewer steps than that, it leaves room for saving none: ResNet-50 was trained in 90
    epochs, 14,076 steps, at batch size 8,192 (Goyal et al. 2017).
    """
    return STATED_STEPS * STATED_AT // min(batch_size, NO_FASTER_FROM)


def search_space(low: float, high: float) -> Callable[[int], SearchSpace]:
    """The search space at each batch size; the learning rate is `low` to `high` at 256.

    Both ends go with the square root of the batch size. The best learning rate follows neither
    that nor a linear rule for all workloads, so the range stays as wide as the paper's, five
    decades for ResNet-50, and is moved by 0.5 at batch size 64 to 16 at 65,536.
    """

    def at(batch_size: int) -> SearchSpace:
        scale, budget = (batch_size / STATED_AT) ** 0.5, step_budget(batch_size)
        return {
            "learning_rate": Log(low * scale, high * scale),
            "momentum": ReverseLog(0.9, 0.9999),
            "decay_steps": Integer(budget // 2, budget),
            "decay_factor": Log(1e-4, 0.1),
            "label_smoothing": Choice(0, 0.01, 0.1),
        }

    return at
