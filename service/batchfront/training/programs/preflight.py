"""Does a program hold together? Asked before any slot is made; nothing is run for it."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from batchfront.errors import WorkloadError
from batchfront.training.programs.command_line import TrialStart
from batchfront.workload.code.versions import Code
from batchfront.workload.placeholders import (
    BATCH_SIZE,
    PER_DEVICE,
    SEED,
)
from batchfront.workload.program import Program
from batchfront.workload.search_space import Dimension, SearchSpace, Value

_LARGEST = 64 << 20
"""Bytes of all the files that an entry of `code` names: more are data, and take long to read."""

_SCRIPTS = (".py", ".sh", ".jl", ".R", ".lua", ".js", ".mjs", ".pl", ".rb")
"""Endings of files that an interpreter is given as its first argument."""


@dataclass(frozen=True)
class ExaminedProgram:
    """A program whose trials can be started."""

    program: Program
    code: Code
    notes: Sequence[str]
    identity_parts: Mapping[str, Any] = field(default_factory=dict)
    tries: Mapping[str, Any] = field(default_factory=dict)

    @property
    def train_examples(self) -> int:
        """The examples of an epoch; 0 where that isn't known."""
        return self.program.train_examples

    def refuse_devices(self, count: int) -> None:
        """Raise WorkloadError if a worker is to give each trial more devices than one."""
        if count > 1:
            raise WorkloadError(
                f"--devices-per-trial {count}: {self.program.name} is a program, which is given "
                f"its GPUs by gpus = {count} under [resources] in {self.program.path}"
            )


def examine(program: Program, batch_sizes: Sequence[int]) -> ExaminedProgram:
    """Find out whether trials of a program can run, before any is planned.

    Raises WorkloadError, in one line, if its command or a file isn't there, or a batch size can't
    be what it is to be.
    """
    for batch_size in batch_sizes:
        space = program.space(batch_size)
        _ = program.steps_allowed(batch_size), program.shares(batch_size)
        if program.output.unit == "epoch":
            _ = program.steps_per_epoch(batch_size)
        start = TrialStart(program, batch_size, _example(space), seed=0, folder=Path("trial"))
        _refuse_missing_command(program, start)
    return ExaminedProgram(program, checksums(program), list(_notes(program, batch_sizes)))


def checksums(program: Program) -> Code:
    """The files under `code`, each by its path, with the checksum of its content.

    Raises WorkloadError for an entry that names none, or more than code.
    """
    folder = program.path.absolute().parent
    found = {}
    for entry in program.code:
        files = sorted(_files(folder, entry))
        if not files:
            raise program.wrong("workload", "code", f"there is no file {entry} in {folder}")
        if program.path.absolute() in files:
            raise program.wrong(
                "workload",
                "code",
                f"{entry} has this file in it, and may have what its trials write; name files, "
                'folders, or patterns such as "*.py"',
            )
        if (size := sum(file.stat().st_size for file in files)) > _LARGEST:
            raise program.wrong(
                "workload",
                "code",
                f"{entry} has {size >> 20:,} MiB in {len(files):,} files, more than code has; name "
                "that alone",
            )
        for file in files:
            name = os.path.relpath(file, folder).replace(os.sep, "/")
            found[f"{name}:"] = _checksum(program, file)
    return found


def _checksum(program: Program, file: Path) -> str:
    try:
        return blake2b(file.read_bytes(), digest_size=8).hexdigest()
    except OSError as error:
        wrong = f"{file} can't be read: {error.strerror}"
        raise program.wrong("workload", "code", wrong) from None


def _files(folder: Path, entry: str) -> Iterator[Path]:
    """The files that an entry of `code` names: itself, those in a folder, or all that match."""
    path = folder / entry
    if path.is_file():
        yield path
        return
    for found in path.rglob("*") if path.is_dir() else folder.glob(entry):
        parts = found.relative_to(path if path.is_dir() else folder).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if found.is_file() and not hidden and found.suffix != ".pyc":
            yield found


def _example(space: SearchSpace) -> dict[str, Value]:
    """The metaparameters in the middle of a space."""
    return {
        name: entry.at(0.5) if isinstance(entry, Dimension) else entry
        for name, entry in space.items()
    }


def _refuse_missing_command(program: Program, start: TrialStart) -> None:
    words = start.arguments()
    folder, told = program.folder, f"{program.path}, [workload] command"
    if not folder.is_dir():
        raise WorkloadError(f"{program.path}, [resources] cwd: there is no folder {folder}")
    command = words[0]
    if not command:
        raise WorkloadError(f"{told}: begins with an empty text")
    if "/" in command:
        if shutil.which(folder / command) is None:
            what = "can't be executed" if (folder / command).is_file() else "isn't there"
            raise WorkloadError(f"{told}: {command} {what}, in {folder}")
    elif shutil.which(command, path=program.resources.env.get("PATH")) is None:
        hint = ""
        if (folder / command).is_file():
            hint = f"; if {folder / command} is meant, write ./{command}"
        elif command == "python" and shutil.which("python3"):
            hint = "; python3 is"
        raise WorkloadError(f"{told}: {command} isn't found on PATH{hint}")
    script = words[1] if len(words) > 1 else ""
    if script.endswith(_SCRIPTS) and not (folder / script).is_file():
        raise WorkloadError(f"{told}: there is no file {script} in {folder}")


def _notes(program: Program, batch_sizes: Sequence[int]) -> Iterator[str]:
    """What may be other than it is meant, a line each."""
    told = program.told
    if not program.code:
        script = next((w for w in program.command[1:2] if w.endswith(_SCRIPTS)), "train.py")
        yield (
            f"{program.name}: a change of the program's files will not be noticed; name them in "
            f'[workload], such as code = ["{script}"]'
        )
    if SEED not in told and not program.is_told_all:
        yield (
            f"{program.name}: nothing tells the program a seed; where a trial runs again, it is by "
            "chance, or the same run"
        )
    if program.devices > 1 and BATCH_SIZE in told and PER_DEVICE not in told:
        yield (
            f"{program.name}: {{batch_size}} is the batch of all {program.devices} GPUs together; "
            "if the program takes that of one, write {per_device_batch_size}"
        )
    cut = [(b, shares) for b in batch_sizes if (shares := program.shares(b)).accumulation > 1]
    if cut and program.output.unit in ("step", None):
        yield (
            f"{program.name}: a step is an update, which is {cut[0][1].accumulation} micro-batches "
            f"at batch size {cut[0][0]}; if the program counts those, no step is what it says"
        )
    uneven = [b for b in batch_sizes if program.train_examples % b]
    if program.output.unit in ("epoch", "examples") and uneven and not program.output.drop_last:
        steps = program.steps_per_epoch(uneven[0])
        yield (
            f"{program.name}: an epoch is taken as {steps:,} steps at batch size {uneven[0]}, the "
            "last with fewer examples; if the program leaves that out, write drop_last = true"
        )
