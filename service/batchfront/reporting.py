"""What a program knows of the trial that it trains, and says to the worker that runs it.

A report waits until the trial may go on, which it may once those that it races against have come as
far. To report needs nothing but Python's own library. The worker's end, and the lines that go
between, are those of `batchfront.training.programs.report_channel`.
"""

from __future__ import annotations

import json
import operator
import os
import socket
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex

from batchfront.errors import UsageError

if TYPE_CHECKING:
    from batchfront.workload.loop import Trial
    from batchfront.workload.search_space import Value

SOCKET = "BATCHFRONT_SOCKET"
"""The environment variable that holds the path of the socket to report to."""

TRIAL_DIR = "BATCHFRONT_TRIAL_DIR"
"""That of the trial's folder."""

GRID = "BATCHFRONT_EVALUATION_GRID"
"""That of the grid of the trial's evaluations, where it isn't the program that chooses them."""

METAPARAMETERS_FILE = "metaparameters.json"
"""In a trial's folder: its metaparameters, batch size, seed and step budget."""

LONG_SEED = "long_seed"
"""There, the 63 bits of which the seed is the last 31."""

_DEVICE = "BATCHFRONT_DEVICE"
_POLL_SECONDS = 0.05

Word = dict[str, Any]
"""What a worker answers: see `report_channel`."""


class TrialEnded(SystemExit):
    """The trial is over: raised by `report`, to end the program.

    A SystemExit, so that no `except Exception` takes it for an error and trains on, `finally` and
    `with` close what is open, and a program that lets it through ends quietly, with exit code 0.

    reason -- how it ended, in a line
    """

    def __init__(self, reason: str) -> None:
        super().__init__(0)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


def this_trial(default: Mapping[str, Value] | None = None) -> Trial:
    """The trial that this program trains: `trial["learning_rate"]`, `trial.batch_size`.

    default -- what stands for one where the program is started by hand and none runs:
               metaparameters, `batch_size`, `step_budget` and, where they count, `seed` and
               `device`. Its reports are printed, and never wait

    Raises UsageError outside of a trial, unless there is a default.
    """
    if folder := os.environ.get(TRIAL_DIR):
        return _trial_in(Path(folder))
    if default is None:
        raise UsageError(
            f"this_trial(): {_OUTSIDE}, and this_trial(default={{...}}) stands for one"
        )
    if missing := {"batch_size", "step_budget"} - set(default):
        raise UsageError(
            f"this_trial(default=...): {' and '.join(sorted(missing))} has to be there"
        )
    return _trial({"seed": 0, "device": "cpu", **default}, Path.cwd(), None, _print)


def evaluates(step: int) -> bool:
    """Whether the trial that this program trains is evaluated after `step` updates: at the steps of
    its grid, or at every one where it has none and the program chooses.

    Raises UsageError outside of a trial.
    """
    folder = os.environ.get(TRIAL_DIR)
    if not folder:
        raise UsageError(f"evaluates({step}): {_OUTSIDE}")
    return _known_trial(Path(folder)).evaluates(step)


def _trial_in(folder: Path) -> Trial:
    try:
        told = json.loads((folder / METAPARAMETERS_FILE).read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"this trial's {folder / METAPARAMETERS_FILE}: {error}") from None
    device = os.environ.get(_DEVICE, "cpu")
    told["device"] = "cuda:0" if device == "cuda" else device
    return _trial(told, folder, json.loads(os.environ.get(GRID, "null")), report)


_known_trial = lru_cache(maxsize=1)(_trial_in)


def _trial(told: Mapping[str, Any], folder: Path, grid: Any, report: Any) -> Trial:
    # Late: of all that is here, they alone bring NumPy.
    from batchfront.workload.evaluation_grid import EvaluationGrid, EveryStep, GridSteps
    from batchfront.workload.loop import Trial

    of_itself = ("batch_size", "seed", "step_budget", "device")
    batch_size, seed, budget, device = (told[name] for name in of_itself)
    values = {name: told[name] for name in told if name not in (*of_itself, LONG_SEED)}
    seed = told.get(LONG_SEED, seed)
    steps = EveryStep(budget) if grid is None else GridSteps(EvaluationGrid(**grid), budget)
    return Trial(
        values, batch_size, seed, steps, device=device, directory=lambda: folder, report=report
    )


def _print(step: Any, value: Any, loss: Any, _examples: Any, measures: Any) -> None:
    """What a report does where no trial runs."""
    told = [f"step {_whole('step', step)}: {_number('value', value):.6g}"]
    told += [] if loss is None else [f"training loss {_number('loss', loss):.6g}"]
    told += [f"{name} {one:.6g}" for name, one in _named_numbers(measures or {}).items()]
    print(", ".join(told))


_OUTSIDE = (
    "no trial runs here; `batchfront run SWEEP.toml` runs this program's trials, where the sweep "
    'file says output = "report"'
)


def report(
    step: SupportsIndex,
    value: SupportsFloat,
    loss: SupportsFloat | None = None,
    examples: SupportsIndex | None = None,
    measures: Mapping[str, SupportsFloat] | None = None,
) -> None:
    """Report an evaluation, and wait until the trial may go on.

    step     -- the updates done so far
    value    -- the goal metric on held-out data; NaN or infinite where training has diverged
    loss     -- the mean training loss since the last report, by which a trial is found to have
                diverged or stalled sooner
    examples -- those trained on so far, by which a batch size that isn't the trial's is noticed
    measures -- what else was measured, by name, to be recorded

    Under torch.distributed every rank calls it: rank 0's value counts, and the others follow the
    word that it is given.

    Raises TrialEnded where the trial is over, or its worker is gone. Raises UsageError outside of a
    trial, for steps that don't rise, and for what isn't a number.
    """
    ranks, at = _ranks(), _whole("step", step)
    if ranks is None:
        _act_on(_reported(at, value, loss, examples, measures))
        return
    store, key = ranks.distributed_c10d._get_default_store(), f"batchfront/report/{at}"
    if ranks.get_rank():
        _act_on(_followed(store, key))
        return
    word: Word = {"go": False, "reason": "rank 0 was interrupted in its report"}
    try:
        word = _reported(at, value, loss, examples, measures)
    finally:
        store.set(key, json.dumps(word))
    _act_on(word)


def _reported(step: int, value: Any, loss: Any, examples: Any, measures: Any) -> Word:
    """The worker's answer to a report."""
    try:
        path = _socket_path(step)
        message: Word = {
            "step": step,
            "value": _number("value", value),
            "loss": None if loss is None else _number("loss", loss),
            "examples": None if examples is None else _whole("examples", examples),
        }
        if measures:
            message["measures"] = _named_numbers(measures)
    except UsageError as error:
        return {"error": str(error)}
    return _line.ask(path, message)


def _named_numbers(measures: Any) -> dict[str, float]:
    if not isinstance(measures, Mapping):
        raise _refused("measures", measures, "a dict of names and numbers")
    return {str(name): _number(f"measure {name!r}", one) for name, one in measures.items()}


def _number(name: str, given: Any) -> float:
    try:
        if not isinstance(given, str | bytes):
            return float(given.detach() if hasattr(given, "detach") else given)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # the last is torch's
        pass
    raise _refused(name, given, "a number")


def _whole(name: str, given: Any) -> int:
    try:
        return operator.index(given)
    except (TypeError, ValueError, RuntimeError):
        raise _refused(name, given, "a whole number") from None


def _refused(name: str, given: Any, wanted: str) -> UsageError:
    shown = " ".join(repr(given).split())
    return UsageError(f"report: {name} is {shown[:80]}, and has to be {wanted}")


def _socket_path(step: int) -> str:
    if path := os.environ.get(SOCKET):
        return path
    if os.environ.get(TRIAL_DIR):
        raise UsageError(
            f"report(step={step}): this trial's evaluations are read from what it prints; with "
            'output = "report" in its sweep file they are what it reports'
        )
    raise UsageError(f"report(step={step}): {_OUTSIDE}")


def _act_on(word: Word) -> None:
    if "error" in word:
        raise UsageError(word["error"])
    if not word["go"]:
        raise TrialEnded(word["reason"])


class _Line:
    """This process's connection with the worker, made when it first reports."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._socket: socket.socket | None = None

    def ask(self, path: str, message: Word) -> Word:
        """Send a message. Returns the worker's answer, or what stands for it where it is gone."""
        with self._lock:
            try:
                if self._socket is None:
                    self._socket = _connected(path)
                self._socket.sendall(json.dumps(message).encode() + b"\n")
                answer = _line_of(self._socket)
            except UsageError as error:
                return {"error": str(error)}
            except OSError:
                answer = b""
            except BaseException:  # an answer that nobody took isn't the next report's
                self.hang_up()
                raise
            if answer:
                word: Word = json.loads(answer)
                return word
            self.hang_up()
            return {"go": False, "reason": "the worker that ran this trial is gone"}

    def hang_up(self) -> None:
        """Close the connection; the next message makes another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def after_fork(self) -> None:
        """Leave the connection to the parent, whose reports would be mixed with this process's."""
        self._lock = Lock()
        self.hang_up()


_line = _Line()
os.register_at_fork(after_in_child=_line.after_fork)


def _connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(None)  # whatever some library has set for new sockets
    try:
        connection.connect(path)
    except (FileNotFoundError, PermissionError) as error:
        connection.close()
        raise UsageError(
            f"the worker of this trial can't be reached at {path}: {error.strerror}; a program "
            "that runs in a container, or as another user, has to be given that folder"
        ) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _line_of(connection: socket.socket) -> bytes:
    """A line, or nothing at the end of the connection."""
    line = b""
    while not line.endswith(b"\n"):
        data = connection.recv(4096)
        if not data:
            return b""
        line += data
    return line


def _ranks() -> ModuleType | None:
    """torch.distributed, where this process is one of several that train together."""
    ranks = sys.modules.get("torch.distributed")
    if ranks is None or not ranks.is_available() or not ranks.is_initialized():
        return None
    return ranks if ranks.get_world_size() > 1 else None


def _followed(store: Any, key: str) -> Word:
    """The word that rank 0 has been given, once it has.

    By the store of the process group rather than by a collective: that has a time-out, which a
    trial that waits for others would run into, and would be mistaken for another where one rank
    alone reports.
    """
    try:
        while not store.check([key]):
            time.sleep(_POLL_SECONDS)
        word: Word = json.loads(store.get(key))
    except RuntimeError:
        return {"go": False, "reason": "rank 0 is gone"}
    return word
