"""An error that arose in a user's own code, in one line."""

import inspect
import re
import traceback
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path

from batchfront.phrases import nearest


def error_in(error: BaseException) -> str:
    """`file.py, line 3: NameError: ...` in one line: where `error` arose, and what it was."""
    said = error_said(error)
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "service":
        said += "; if batchfront is meant, it is imported as `batchfront` now"
    if isinstance(error, SyntaxError):
        where = f"{Path(error.filename or '?').name}, line {error.lineno}"
        return f"{where}: {type(error).__name__}: {error.msg}"
    place = own_line(error)
    said += _field_meant(said)
    return said if place is None else f"{place}: {said}"


def error_said(error: BaseException) -> str:
    """The kind of an error, and all that it says, in one line."""
    try:
        message = " ".join(str(error).split())
    except Exception:  # of an error of the user's own
        message = ""
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def own_line(error: BaseException) -> str | None:
    """`file.py, line 3`: the innermost line of the user's own, rather than of Python's or an
    installed library's, that `error` came through; None if it came through none."""
    ours = Path(__file__).parents[1]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_file() and ours not in path.parents and not is_installed(path):
            return f"{path.name}, line {frame.lineno}"
    return None


_UNKNOWN = re.compile(r"TypeError: (\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")

_CALLED_ELSEWHERE = {
    "batch_size": "batch_sizes",
    "criterion": "loss",
    "dataset": "data",
    "epochs": "step_budget",
    "loss_fn": "loss",
    "lr_schedule": "schedule",
    "lr_scheduler": "schedule",
    "max_steps": "step_budget",
    "metric": "goal",
    "metrics": "measures",
    "optimizer": "algorithm",
    "optimizers": "algorithm",
    "scheduler": "schedule",
    "space": "search_space",
    "steps": "step_budget",
    "target": "goal",
}


def _field_meant(said: str) -> str:
    """Which field of a class of ours was meant by one that it hasn't, to add to the message."""
    if (found := _UNKNOWN.search(said)) is None:
        return ""
    name, field = found.groups()
    kind = getattr(import_module("batchfront"), name, None)
    if not (isinstance(kind, type) and is_dataclass(kind)):
        return ""
    known = [one.name for one in fields(kind) if one.init]
    meant = _CALLED_ELSEWHERE.get(field)
    return f"; write {meant}=" if meant in known else nearest(field, known)


def is_installed(path: Path) -> bool:
    """Whether a file belongs to Python or an installed library, and isn't the user's own."""
    library = {"site-packages", "dist-packages"} & set(path.parts)
    return bool(library) or Path(inspect.__file__).parent in path.parents
