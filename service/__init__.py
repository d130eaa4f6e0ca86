"""batchfront: how far does a larger batch speed up training?

This is what a workload is written with:

    from service import ERROR_RATE, Goal, Log, Momentum, ReverseLog, Splits, Workload
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.algorithm import SGD as SGD
    from service.algorithm import Algorithm as Algorithm
    from service.algorithm import Momentum as Momentum
    from service.algorithm import NesterovMomentum as NesterovMomentum
    from service.algorithm import TorchOptimizer as TorchOptimizer
    from service.curve import fit_curve as fit_curve
    from service.data import Examples as Examples
    from service.data import Part as Part
    from service.data import Split as Split
    from service.data import Splits as Splits
    from service.errors import BatchfrontError as BatchfrontError
    from service.errors import DataError as DataError
    from service.errors import UsageError as UsageError
    from service.execution import Execution as Execution
    from service.frames import load_measurements_frame as load_measurements_frame
    from service.frames import load_trials_frame as load_trials_frame
    from service.frontier import Frontier as Frontier
    from service.frontier import load_frontier as load_frontier
    from service.goal import Goal as Goal
    from service.layers import Dropout as Dropout
    from service.layers import GhostBatchNorm2d as GhostBatchNorm2d
    from service.losses import cross_entropy as cross_entropy
    from service.losses import sigmoid_cross_entropy as sigmoid_cross_entropy
    from service.losses import token_cross_entropy as token_cross_entropy
    from service.metrics import ACCURACY as ACCURACY
    from service.metrics import AVERAGE_PRECISION as AVERAGE_PRECISION
    from service.metrics import CROSS_ENTROPY as CROSS_ENTROPY
    from service.metrics import ERROR_RATE as ERROR_RATE
    from service.metrics import MEAN_SQUARED_ERROR as MEAN_SQUARED_ERROR
    from service.metrics import NO_TARGET as NO_TARGET
    from service.metrics import TOKEN_CROSS_ENTROPY as TOKEN_CROSS_ENTROPY
    from service.metrics import Metric as Metric
    from service.metrics import SplitMetric as SplitMetric
    from service.metrics import token_count as token_count
    from service.report.figures import figures as figures
    from service.rules import EvaluationGrid as EvaluationGrid
    from service.rules import StoppingRules as StoppingRules
    from service.schedule import Constant as Constant
    from service.schedule import LinearDecay as LinearDecay
    from service.schedule import Schedule as Schedule
    from service.schedule import WarmupCosine as WarmupCosine
    from service.search_space import Choice as Choice
    from service.search_space import Integer as Integer
    from service.search_space import Linear as Linear
    from service.search_space import Log as Log
    from service.search_space import ReverseLog as ReverseLog
    from service.workload import Workload as Workload
    from service.workload import powers_of_two as powers_of_two

_HOMES = {
    "service.algorithm": "SGD Algorithm Momentum NesterovMomentum TorchOptimizer",
    "service.curve": "fit_curve",
    "service.data": "Examples Part Split Splits",
    "service.errors": "BatchfrontError DataError UsageError",
    "service.execution": "Execution",
    "service.frames": "load_measurements_frame load_trials_frame",
    "service.frontier": "Frontier load_frontier",
    "service.goal": "Goal",
    "service.layers": "Dropout GhostBatchNorm2d",
    "service.losses": "cross_entropy sigmoid_cross_entropy token_cross_entropy",
    "service.metrics": (
        "ACCURACY AVERAGE_PRECISION CROSS_ENTROPY ERROR_RATE MEAN_SQUARED_ERROR "
        "TOKEN_CROSS_ENTROPY Metric SplitMetric NO_TARGET token_count"
    ),
    "service.report.figures": "figures",
    "service.rules": "EvaluationGrid StoppingRules",
    "service.schedule": "Constant LinearDecay Schedule WarmupCosine",
    "service.search_space": "Choice Integer Linear Log ReverseLog",
    "service.workload": "Workload powers_of_two",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME)

try:
    __version__ = version("batchfront")
except PackageNotFoundError:  # a copy of the sources that was never installed
    __version__ = "unknown"


def __getattr__(name: str) -> Any:
    # Late, because torch takes seconds to import and `batchfront --help` has no use for it.
    if name not in _HOME:
        raise AttributeError(f"module 'service' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
