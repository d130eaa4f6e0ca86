"""The public archive of Shallue et al. 2018 on disk: its studies, and how their trials ended.

    [.../]dataset/model/optimizer/batch_size/study.json
    [.../]dataset/model/optimizer/batch_size/trial_id/{metadata.json,measurements.csv}

Whatever is missing or damaged raises DataError in one line that names the file.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchfront.errors import DataError, UsageError
from batchfront.exchange.batch_science.goals import METRICS, GoalError, GoalOf
from batchfront.exchange.batch_science.json_numbers import LIMIT, whole_number
from batchfront.exchange.batch_science.spaces import read_params, read_space
from batchfront.exchange.finished_trials import FinishedTrial
from batchfront.exchange.json_text import read_json, require_storable
from batchfront.outcomes import TrialResult
from batchfront.study.flaws import Params
from batchfront.vocabulary import Outcome
from batchfront.workload.definition import LONGEST_NAME
from batchfront.workload.metric_fields import LONGEST_NAME as LONGEST_METRIC
from batchfront.workload.search_space import SearchSpace, Value

_NAMES = ("dataset", "model", "optimizer")

_SIZES = ("batch_size", "train_steps")

STATUSES = ("COMPLETE", "INCOMPLETE", "INFEASIBLE")


@dataclass(frozen=True)
class Folder:
    """A study's folder; `workload` is its path below the archive, but for the batch size."""

    path: Path
    workload: str

    @property
    def trial_folders(self) -> list[Path]:
        """Its trials' folders, by trial id."""
        try:
            found = [Path(e) for e in os.scandir(self.path) if e.name.isdecimal() and e.is_dir()]
            return sorted(found, key=lambda path: int(path.name))
        except (OSError, ValueError) as error:  # the latter of a number of thousands of digits
            raise DataError(f"{self.path}: {error}") from None


@dataclass(frozen=True)
class Trial:
    """A trial's metadata.json: its metaparameters, and how it ended."""

    folder: Path
    number: int
    status: str
    steps: int
    params: Mapping[str, Value]


@dataclass(frozen=True)
class Study:
    """A study.json, with the metadata of all of its trials, by trial id.

    train_steps -- the fewest steps of a complete trial; 0: the trials had a time budget
    """

    workload: str
    dataset: str
    model: str
    optimizer: str
    batch_size: int
    train_steps: int
    space: SearchSpace
    trials: tuple[Trial, ...]

    @property
    def archive_name(self) -> str:
        """The workload as the study itself names it."""
        return f"{self.dataset}/{self.model}/{self.optimizer}"

    @property
    def step_budget(self) -> int:
        """The steps that a trial had, at most."""
        longest = max((t.steps for t in self.trials if t.status == "COMPLETE"), default=0)
        return max(self.train_steps, longest)


def find_folders(root: Path, workloads: str | None = None) -> list[Folder]:
    """The study folders of an archive, by workload and batch size.

    workloads -- a glob that their workloads' names have to match
    """
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder; name the folder that batch_science unpacks into")
    found = []
    for path in _holding("study.json", root, ()):
        below = path.relative_to(root).parts
        if len(below) < 2 or not below[-1].isdecimal():
            raise DataError(f"{path / 'study.json'}: its folder must be WORKLOAD/BATCH_SIZE")
        found.append(Folder(path, _workload(path, below[:-1])))
    if not found:
        raise UsageError(f"{root}: holds no study.json; name the folder that the archive is in")
    meant = [f for f in found if workloads is None or fnmatchcase(f.workload, workloads)]
    if not meant:
        there = ", ".join(sorted({f.workload for f in found}))
        raise UsageError(f"--workloads {workloads!r}: matches none of {there}")
    return sorted(meant, key=lambda f: (f.workload, int(f.path.name)))


def _workload(path: Path, below: Sequence[str]) -> str:
    """The name that a study's folder gives its workload."""
    name = "/".join(below)
    try:
        require_storable(name)
    except ValueError as error:
        raise DataError(f"{str(path)!r}: {error}") from None
    if len(name) > LONGEST_NAME:
        raise DataError(f"{path}: a workload's name has {LONGEST_NAME} characters at most")
    return name


def _holding(name: str, folder: Path, above: Sequence[tuple[int, int]]) -> Iterator[Path]:
    """The folders that hold such a file, without reading what they hold beside it.

    above -- devices and inodes of the folders that this one is in

    Raises DataError, naming it, for a folder that can't be read, or is in itself by a link.
    """
    try:
        about = folder.stat()
        itself = about.st_dev, about.st_ino
        if itself in above:
            raise DataError(f"{folder}: is a link to a folder that it is in")
        entries = list(os.scandir(folder))
        if any(entry.name == name for entry in entries):
            yield folder
            return
        below = [Path(entry) for entry in entries if entry.is_dir()]
    except OSError as error:
        raise DataError(f"{error.filename or folder}: {error.strerror}") from None
    for one in below:
        yield from _holding(name, one, (*above, itself))


def read_study(folder: Folder) -> Study:
    """A study and its trials' metadata, checked."""
    file = folder.path / "study.json"
    config = _json(file)
    dataset, model, optimizer = (_entry(config, name, str, file) for name in _NAMES)
    batch_size, train_steps = (_entry(config, name, int, file) for name in _SIZES)
    if batch_size != int(folder.path.name):
        raise DataError(f"{file}: batch_size is {batch_size}, its folder says {folder.path.name}")
    space = read_space(_entry(config, "parameter_configs", dict, file), file)
    trials = tuple(_trial(path, space) for path in folder.trial_folders)
    if not trials:
        raise DataError(f"{folder.path}: holds no trial")
    for one, other in pairwise(trials):
        if one.number == other.number:
            raise DataError(f"{other.folder}: is trial {one.number}, as {one.folder.name} is")
    named = (folder.workload, dataset, model, optimizer)
    return Study(*named, batch_size, train_steps, space, trials)


def _trial(folder: Path, space: SearchSpace) -> Trial:
    file = folder / "metadata.json"
    about = _json(file)
    number, steps = (_entry(about, key, int, file) for key in ("trial_id", "steps"))
    if number != int(folder.name):
        raise DataError(f"{file}: trial_id is {number}, its folder says {folder.name}")
    status = _entry(about, "status", str, file)
    if status not in STATUSES:
        raise DataError(f"{file}: status {status!r} is none of {', '.join(STATUSES)}")
    params = read_params(space, _entry(about, "parameters", dict, file), file)
    flaw = Params(space).flaw(json.dumps(params), is_done=True)
    if flaw is not None:
        raise DataError(f"{file}: parameters: {flaw}")
    return Trial(folder, number, status, steps, params)


def _json(file: Path) -> dict[str, Any]:
    try:
        found = read_json(file.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{file}: is missing") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"{file}: must hold a JSON object")
    return found


def _entry(found: Mapping[str, Any], key: str, kind: type, file: Path) -> Any:
    given = found.get(key)
    value = whole_number(given) if kind is int else given
    if not isinstance(value, kind) or (isinstance(value, int) and not 0 <= value < LIMIT):
        words = {int: f"a whole number from 0 to {LIMIT:,}", str: "a text", dict: "an object"}[kind]
        raise DataError(f"{file}: {key} must be {words}, not {json.dumps(given)[:80]}")
    return value


_SPLITS = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Measurements:
    """All measurements of a trial, by step.

    steps  -- [n], rising
    names  -- of the k columns: (split, metric) in batchfront's words, in order
    values -- [n, k]; NaN where a measurement is missing
    """

    steps: NDArray[np.int64]
    names: tuple[tuple[str, str], ...]
    values: NDArray[np.float64]

    def metric(self, goal: GoalOf) -> NDArray[np.float64] | None:
        """The goal's metric on the validation split, [n]; None if it was not measured."""
        name = ("validation", goal.metric)
        return self.values[:, self.names.index(name)] if name in self.names else None


def first_past(goal: GoalOf, values: NDArray[np.float64]) -> int | None:
    """The first index at which the goal is strictly past, which a NaN never is."""
    past = values < goal.value if goal.better == "lower" else values > goal.value
    return int(past.argmax()) if past.any() else None


NOTHING = Measurements(np.empty(0, np.int64), (), np.empty((0, 0)))
"""Of a trial that nothing was measured of."""


def read_measurements(file: Path) -> Measurements:
    """A measurements.csv, or with .gz after its name; columns that are no measurements are passed
    over. Raises DataError, naming it, if it is missing or not what it must be."""
    import pyarrow as pa
    from pyarrow import csv

    known = {f"{split}/{metric}": pa.float64() for split in _SPLITS for metric in METRICS}
    numbers = csv.ConvertOptions(column_types={"step": pa.float64(), **known})
    packed = file.with_name(f"{file.name}.gz")
    file = packed if packed.exists() and not file.exists() else file
    try:
        table = csv.read_csv(file, csv.ReadOptions(use_threads=False), convert_options=numbers)
        names = table.column_names
    except FileNotFoundError:
        raise DataError(f"{file}: is missing") from None
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise DataError(f"{file}: {str(error).splitlines()[0]}") from None
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise DataError(f"{file}: column {twice[0]!r} stands twice")
    if "step" not in table.column_names or table.column("step").null_count:
        raise DataError(f"{file}: every row must have a step")
    for name in names:
        if len(name) > LONGEST_METRIC or "\0" in name:
            raise DataError(
                f"{file}: column {name[:80]!r} must have a name of {LONGEST_METRIC} characters at "
                "most, without NUL"
            )
    return _measurements(file, table)


def _measurements(file: Path, table: Any) -> Measurements:
    written = table.column("step").to_numpy()
    odd = ~((written >= 0) & (written < LIMIT) & (written == np.floor(written)))
    if odd.any():
        raise DataError(f"{file}: step {written[odd][0]:g} is no whole number from 0 to {LIMIT:,}")
    steps = written.astype(np.int64)
    order = np.argsort(steps, kind="stable")
    steps = steps[order]
    twice = np.flatnonzero(steps[1:] == steps[:-1])
    if twice.size:
        raise DataError(f"{file}: step {steps[twice[0]]} stands twice")
    columns: dict[tuple[str, str], NDArray[np.float64]] = {}
    for column in table.column_names:
        name, values = _name(column), _numbers(table.column(column))
        if name in columns:
            raise DataError(f"{file}: column {column!r} is another's, called otherwise")
        if name is not None and values is not None:
            columns[name] = values[order]
    names = tuple(sorted(columns))
    each = [columns[name].reshape(-1, 1) for name in names]
    return Measurements(steps, names, np.hstack([np.empty((len(steps), 0)), *each]))


def _name(column: str) -> tuple[str, str] | None:
    """A column `val/classification_error` as ("validation", "error rate"); None for one that is
    no measurement of a split."""
    split, slash, metric = column.partition("/")
    if not slash or split not in _SPLITS:
        return None
    return _SPLITS[split], METRICS.get(metric, metric.replace("_", " "))


def _numbers(column: Any) -> NDArray[np.float64] | None:
    try:
        return np.asarray(column.to_numpy(), np.float64)
    except (TypeError, ValueError):  # of further columns: of those that we know the kind is given
        return None


def finished_trial(trial: Trial, measured: Measurements, goal: GoalOf) -> FinishedTrial:
    """The trial in batchfront's words.

    Raises GoalError if it is complete and its goal metric was not measured, or was past the goal
    from the start.
    """
    file = trial.folder / "measurements.csv"
    metric = measured.metric(goal)
    if metric is None and trial.status != "COMPLETE":
        metric = np.empty(0)
    if metric is None:
        raise GoalError(
            f"{file}: the goal is of the validation {goal.metric}, which was not measured; "
            f"set another such as --goal '{goal.of}=METRIC<VALUE'"
        )
    if trial.status == "COMPLETE" and not metric.size:
        raise DataError(f"{file}: holds no measurement of a complete trial")
    won = first_past(goal, metric) if trial.status == "COMPLETE" else None
    if won is not None and measured.steps[won] < 1:
        raise GoalError(f"{file}: {goal} holds before any training; set another goal with --goal")
    shown: dict[str, Any] = {}
    if metric.size:
        at = metric.size - 1 if won is None else won
        shown = {"metric": float(metric[at]), "metric_step": int(measured.steps[at])}
    if won is not None:
        shown["steps_to_target"] = int(measured.steps[won])
        shown["steps_lower"] = int(measured.steps[won - 1]) if won else None
    outcome, reason = _outcome(trial, goal, won is not None)
    result = TrialResult(outcome, reason, trial.steps, **shown)
    return FinishedTrial(trial.number, result, trial.params)


def _outcome(trial: Trial, goal: GoalOf, reached: bool) -> tuple[Outcome, str]:
    """Outcome and reason."""
    if reached:
        return Outcome.REACHED, str(goal)
    if trial.status == "COMPLETE":
        return Outcome.EXHAUSTED, f"{goal} not within {trial.steps} steps"
    outcome = Outcome.DIVERGED if trial.status == "INFEASIBLE" else Outcome.FAILED
    return outcome, f"{trial.status} in the archive, after {trial.steps} steps"
