"""The report: one self-contained interactive page that shows the frontiers of a database."""

import sys
from types import ModuleType
from typing import Any

from batchfront.report.files import write_report
from batchfront.reporting import report

__all__ = ["write_report"]


class _Callable(ModuleType):
    """This package, which importing it makes `batchfront.report`, where a program that has imported
    `batchfront.figures`, say, still means the function of that name."""

    def __call__(self, *evaluation: Any, **told: Any) -> None:
        report(*evaluation, **told)


sys.modules[__name__].__class__ = _Callable
