"""The public archive of Shallue et al. 2018 on disk: its studies, and how their trials ended.

    [.../]dataset/model/optimizer/batch_size/study.json
    [.../]dataset/model/optimizer/batch_size/trial_id/{metadata.json,measurements.csv}

Whatever is missing or damaged raises DataError in one line that names the file.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Any

from service.errors import DataError, UsageError
from service.exchange.json_numbers import LIMIT, whole_number
from service.exchange.parameter_configs import draw, read_space
from service.search_space import SearchSpace, Value

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
        found = [Path(e) for e in os.scandir(self.path) if e.name.isdecimal() and e.is_dir()]
        return sorted(found, key=lambda path: int(path.name))


@dataclass(frozen=True)
class Trial:
    """A trial's metadata.json: what it drew, and how it ended."""

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
    for path in _holding("study.json", root):
        below = path.relative_to(root).parts
        if len(below) < 2 or not below[-1].isdecimal():
            raise DataError(f"{path / 'study.json'}: its folder must be WORKLOAD/BATCH_SIZE")
        found.append(Folder(path, "/".join(below[:-1])))
    if not found:
        raise UsageError(f"{root}: holds no study.json; name the folder that the archive is in")
    meant = [f for f in found if workloads is None or fnmatchcase(f.workload, workloads)]
    if not meant:
        there = ", ".join(sorted({f.workload for f in found}))
        raise UsageError(f"--workloads {workloads!r}: matches none of {there}")
    return sorted(meant, key=lambda f: (f.workload, int(f.path.name)))


def _holding(name: str, folder: Path) -> Iterator[Path]:
    """The folders that hold such a file, without a look into what they hold beside it."""
    entries = list(os.scandir(folder))
    if any(entry.name == name for entry in entries):
        yield folder
        return
    for entry in entries:
        if entry.is_dir():
            yield from _holding(name, Path(entry))


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
    params = draw(space, _entry(about, "parameters", dict, file), file)
    return Trial(folder, number, status, steps, params)


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{file}: is missing") from None
    except (OSError, ValueError, RecursionError) as error:
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
