"""batchfront: how far does a larger batch speed up training?

This is what a workload is written with:

    from batchfront import ERROR_RATE, Goal, Log, Momentum, ReverseLog, Splits, Workload
"""

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, filterwarnings

if TYPE_CHECKING:
    from batchfront.errors import BatchfrontError as BatchfrontError
    from batchfront.errors import DataError as DataError
    from batchfront.errors import NothingLeft as NothingLeft
    from batchfront.errors import UsageError as UsageError
    from batchfront.frontier.analysis.along_training import curves_by_goal as curves_by_goal
    from batchfront.frontier.curve.answers import fit_curve as fit_curve
    from batchfront.frontier.dataframes import load_measurements_frame as load_measurements_frame
    from batchfront.frontier.dataframes import load_trials_frame as load_trials_frame
    from batchfront.frontier.frontier import Frontier as Frontier
    from batchfront.frontier.frontier import load_frontier as load_frontier
    from batchfront.ledger.status import load_status as load_status
    from batchfront.notebook.results import Results as Results
    from batchfront.notebook.run import run as run
    from batchfront.report.figures import figures as figures
    from batchfront.reporting import TrialEnded as TrialEnded
    from batchfront.reporting import evaluates as evaluates
    from batchfront.reporting import report as report
    from batchfront.reporting import this_trial as this_trial
    from batchfront.worker.asking import open as open  # noqa: A004
    from batchfront.workload.algorithm import SGD as SGD
    from batchfront.workload.algorithm import Algorithm as Algorithm
    from batchfront.workload.algorithm import Momentum as Momentum
    from batchfront.workload.algorithm import NesterovMomentum as NesterovMomentum
    from batchfront.workload.algorithm import TorchOptimizer as TorchOptimizer
    from batchfront.workload.data import Batch as Batch
    from batchfront.workload.data import Examples as Examples
    from batchfront.workload.data import Part as Part
    from batchfront.workload.data import Split as Split
    from batchfront.workload.data import Splits as Splits
    from batchfront.workload.evaluation_grid import EvaluationGrid as EvaluationGrid
    from batchfront.workload.execution import Execution as Execution
    from batchfront.workload.goal import Goal as Goal
    from batchfront.workload.layers import Dropout as Dropout
    from batchfront.workload.layers import GhostBatchNorm2d as GhostBatchNorm2d
    from batchfront.workload.loop import Loop as Loop
    from batchfront.workload.loop import Measured as Measured
    from batchfront.workload.loop import Trial as Trial
    from batchfront.workload.losses import cross_entropy as cross_entropy
    from batchfront.workload.losses import sigmoid_cross_entropy as sigmoid_cross_entropy
    from batchfront.workload.losses import token_cross_entropy as token_cross_entropy
    from batchfront.workload.lr_schedule import Constant as Constant
    from batchfront.workload.lr_schedule import LinearDecay as LinearDecay
    from batchfront.workload.lr_schedule import Schedule as Schedule
    from batchfront.workload.lr_schedule import TrainingSize as TrainingSize
    from batchfront.workload.lr_schedule import WarmupCosine as WarmupCosine
    from batchfront.workload.metrics import ACCURACY as ACCURACY
    from batchfront.workload.metrics import AVERAGE_PRECISION as AVERAGE_PRECISION
    from batchfront.workload.metrics import CROSS_ENTROPY as CROSS_ENTROPY
    from batchfront.workload.metrics import ERROR_RATE as ERROR_RATE
    from batchfront.workload.metrics import MEAN_SQUARED_ERROR as MEAN_SQUARED_ERROR
    from batchfront.workload.metrics import NO_TARGET as NO_TARGET
    from batchfront.workload.metrics import TOKEN_CROSS_ENTROPY as TOKEN_CROSS_ENTROPY
    from batchfront.workload.metrics import Metric as Metric
    from batchfront.workload.metrics import SplitMetric as SplitMetric
    from batchfront.workload.metrics import token_count as token_count
    from batchfront.workload.search_space import Choice as Choice
    from batchfront.workload.search_space import Integer as Integer
    from batchfront.workload.search_space import Linear as Linear
    from batchfront.workload.search_space import Log as Log
    from batchfront.workload.search_space import ReverseLog as ReverseLog
    from batchfront.workload.seeds import SeedStream as SeedStream
    from batchfront.workload.stopping_rules import StoppingRules as StoppingRules
    from batchfront.workload.stream import Stream as Stream
    from batchfront.workload.torch_schedule import TorchSchedule as TorchSchedule
    from batchfront.workload.weight_average import WeightAverage as WeightAverage
    from batchfront.workload.workload import Workload as Workload
    from batchfront.workload.workload import powers_of_two as powers_of_two

_HOMES = {
    "batchfront.workload.algorithm": "SGD Algorithm Momentum NesterovMomentum TorchOptimizer",
    "batchfront.frontier.analysis.along_training": "curves_by_goal",
    "batchfront.frontier.curve.answers": "fit_curve",
    "batchfront.workload.data": "Batch Examples Part Split Splits",
    "batchfront.errors": "BatchfrontError DataError NothingLeft UsageError",
    "batchfront.workload.execution": "Execution",
    "batchfront.frontier.dataframes": "load_measurements_frame load_trials_frame",
    "batchfront.frontier.frontier": "Frontier load_frontier",
    "batchfront.ledger.status": "load_status",
    "batchfront.notebook.results": "Results",
    "batchfront.notebook.run": "run",
    "batchfront.workload.goal": "Goal",
    "batchfront.workload.layers": "Dropout GhostBatchNorm2d",
    "batchfront.workload.loop": "Loop Measured Trial",
    "batchfront.workload.losses": "cross_entropy sigmoid_cross_entropy token_cross_entropy",
    "batchfront.workload.metrics": (
        "ACCURACY AVERAGE_PRECISION CROSS_ENTROPY ERROR_RATE MEAN_SQUARED_ERROR "
        "TOKEN_CROSS_ENTROPY Metric SplitMetric NO_TARGET token_count"
    ),
    "batchfront.report.figures": "figures",
    "batchfront.reporting": "TrialEnded evaluates report this_trial",
    "batchfront.workload.evaluation_grid": "EvaluationGrid",
    "batchfront.workload.stopping_rules": "StoppingRules",
    "batchfront.workload.stream": "Stream",
    "batchfront.workload.lr_schedule": "Constant LinearDecay Schedule TrainingSize WarmupCosine",
    "batchfront.workload.torch_schedule": "TorchSchedule",
    "batchfront.workload.search_space": "Choice Integer Linear Log ReverseLog",
    "batchfront.workload.seeds": "SeedStream",
    "batchfront.workload.workload": "Workload powers_of_two",
    "batchfront.worker.asking": "open",
    "batchfront.workload.weight_average": "WeightAverage",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME.keys() - {"open"})  # for `import *`, which must not hide Python's own

try:
    __version__ = version("batchfront")
except PackageNotFoundError:  # a copy of the sources that was never installed
    __version__ = "unknown"


def __getattr__(name: str) -> Any:
    # Late, because torch takes seconds to import and `batchfront --help` has no use for it.
    if name not in _HOME:
        raise AttributeError(f"module 'batchfront' has no attribute {name!r}")
    if _HOME[name] not in sys.modules:
        with catch_warnings():  # Optuna has progress bars, which want ipywidgets and aren't shown
            filterwarnings("ignore", "IProgress not found")
            import_module(_HOME[name])
    return getattr(sys.modules[_HOME[name]], name)


def __dir__() -> list[str]:
    # Nothing that is only imported above.
    return sorted({*_HOME, *(name for name in globals() if name.startswith("__"))})
