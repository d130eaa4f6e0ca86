"""The weights of the trials that won, kept as safetensors: one file a study, in the end.

While workers race, each writes what may be the best so far, and removes what has lost to a result
that the database has. So the winner's file is there, whoever wrote it, and nobody else's for long.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import get_ident
from typing import Any
from uuid import uuid4

import numpy as np
from sqlalchemy import URL

from batchfront.errors import UsageError
from batchfront.phase_timer import timed_as
from batchfront.training.checkpoint_files import StudyFiles
from batchfront.training.run import Weights

_WRITER = uuid4().hex[:8]  # this process, among all that may write the same file

_OURS = "batchfront"  # the entry of a file's header that says what it is of

_Facts = Mapping[str, Any]
"""What weights are of: workload, batch size, trial, step, metaparameters, versions."""


def models_beside(url: URL, checkpoint_dir: str | None) -> str | None:
    """Where the weights of winners are: beside an SQLite database, or else among the checkpoints;
    None where there is neither."""
    if url.get_backend_name() == "sqlite" and url.database:
        return f"{Path(url.database).absolute()}.models"
    return None if checkpoint_dir is None else f"{checkpoint_dir.rstrip('/')}/models"


@dataclass(frozen=True)
class KeptFile:
    """A trial's weights, as they were when it passed the goal at this step."""

    number: int
    step: int
    path: str


class KeptModels(StudyFiles):
    """The weights of trials that passed the goal, each file written as a whole or not at all.

    Whatever the place raises, such as OSError, these methods raise.
    """

    @timed_as("storage")
    def keep(self, study_id: int, number: int, step: int, weights: Weights, facts: _Facts) -> None:
        """Write a trial's weights. Raises UsageError for what safetensors can't hold."""
        data = packed(weights, facts)
        path = self._path(study_id, number, step)
        scratch = f"{path}.{_WRITER}-{get_ident():x}.tmp"
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        try:
            with self._files.open(scratch, "wb") as file:
                file.write(data)
            self._files.mv(scratch, path)
        except BaseException:
            self._remove(scratch)
            raise

    @timed_as("storage")
    def settle(self, study_id: int, reached: Mapping[int, int]) -> None:
        """Remove what can't be the winner's any more.

        reached -- number of each trial of the study that has passed the goal, as the database has
                   it, to its steps. What is better than these is somebody's who is about to say so
        """
        best = min(((step, number) for number, step in reached.items()), default=None)
        for kept in self._kept(study_id):
            lost = best is not None and (kept.step, kept.number) > best
            if lost or reached.get(kept.number, kept.step) != kept.step:
                self._remove(kept.path)

    def find(self, study_id: int, number: int, step: int) -> tuple[KeptFile, dict[str, Any]] | None:
        """A trial's weights, and what they are of; None where they aren't kept."""
        wanted = KeptFile(number, step, self._path(study_id, number, step))
        try:
            with self._files.open(wanted.path, "rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length))
        except FileNotFoundError:
            return None
        return wanted, json.loads(header["__metadata__"][_OURS])

    def read(self, kept: KeptFile) -> bytes:
        """The file as it is."""
        data: bytes = self._files.cat_file(kept.path)
        return data

    def _kept(self, study_id: int) -> Iterator[KeptFile]:
        folder = f"{self._folder}/study-{study_id}"
        self._files.invalidate_cache(folder)  # others write there too
        for path in self._files.ls(folder, detail=False):
            if found := re.search(r"/trial-(\d+)-step-(\d+)\.safetensors$", path):
                yield KeptFile(int(found[1]), int(found[2]), path)

    def _path(self, study_id: int, number: int, step: int) -> str:
        return f"{self._folder}/study-{study_id}/trial-{number}-step-{step}.safetensors"


def packed(weights: Weights, facts: _Facts) -> bytes:
    """Weights as a file of safetensors, which `safetensors.torch.load_file` reads.

    Nested dicts and lists become names with dots, numbers tensors without dimensions. Tensors that
    share memory are written one by one, so that `load_state_dict` finds each under its name.

    facts -- what they are of, in the file's header

    Raises UsageError, naming it, for what safetensors can't hold, and ModuleNotFoundError where
    safetensors is not installed.
    """
    torch = sys.modules.get("torch")
    tensors: dict[str, Any] = {}
    for name, value in _flat(weights):
        if name in tensors:
            raise UsageError(f"{name} stands for two of its values")
        tensors[name] = _array(name, value) if torch is None else _tensor(torch, name, value)
    header = {_OURS: json.dumps(facts), "format": "np" if torch is None else "pt"}
    if torch is None:
        from safetensors.numpy import save as save_arrays

        return save_arrays(tensors, header)
    from safetensors.torch import save

    return save(tensors, header)


def differing(one: bytes, other: bytes) -> dict[str, float]:
    """The tensors in which two files differ, by name, to the largest difference of their values;
    NaN where they can't be compared."""
    from safetensors.torch import load

    before, after = load(one), load(other)
    found = {}
    for name in sorted({*before, *after}):
        a, b = before.get(name), after.get(name)
        if a is None or b is None or a.shape != b.shape or a.dtype != b.dtype:
            found[name] = float("nan")
        elif _bits(a) != _bits(b):
            found[name] = float((a.double() - b.double()).abs().max())
    return found


def _bits(tensor: Any) -> bytes:
    flat = tensor.reshape(-1).view(sys.modules["torch"].uint8)
    bits: bytes = flat.numpy().tobytes()
    return bits


def _flat(part: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested dicts and lists, with their paths."""
    match part:
        case Mapping():
            inner = [(str(key), value) for key, value in part.items()]
        case list() | tuple():
            inner = [(str(place), value) for place, value in enumerate(part)]
        case _:
            yield name, part
            return
    for key, value in inner:
        yield from _flat(value, f"{name}.{key}" if name else key)


def _tensor(torch: Any, name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = torch.from_numpy(np.array(value))
    elif isinstance(value, bool | int | float):
        value = torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)
    if not isinstance(value, torch.Tensor):
        raise _refusal(name, value)
    return value.detach().to("cpu").clone(memory_format=torch.contiguous_format)


def _array(name: str, value: Any) -> Any:
    if not isinstance(value, np.ndarray | np.generic | bool | int | float):
        raise _refusal(name, value)
    return np.array(value, order="C")


def _refusal(name: str, value: Any) -> UsageError:
    return UsageError(f"{name} is a {type(value).__name__}, which safetensors can't hold")
