"""What one start of a trial's program is given: its arguments and its environment.

Every placeholder is filled in within one argument. Whatever the arguments leave out stands in the
environment too, as BATCHFRONT_BATCH_SIZE and the like and BATCHFRONT_<METAPARAMETER>, and in a JSON
file in the trial's folder. Inside a trial such variables are the trial's: a `batchfront` command
that a program calls takes none but BATCHFRONT_STORAGE and BATCHFRONT_DATA_DIR for options.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from batchfront.errors import ProgramError
from batchfront.reporting import LONG_SEED, METAPARAMETERS_FILE
from batchfront.workload.placeholders import (
    ACCUMULATION,
    BATCH_SIZE,
    CHECKPOINT,
    DEVICE,
    EPOCH_BUDGET,
    METAPARAMETERS,
    PER_DEVICE,
    SEED,
    STEP_BUDGET,
    TRIAL_DIR,
    filled,
    written,
)
from batchfront.workload.program import Program, variable
from batchfront.workload.search_space import Metaparameters, Value

_SIMPLE = (BATCH_SIZE, SEED, STEP_BUDGET, DEVICE, TRIAL_DIR)
"""Placeholders that are variables of every trial's environment."""


@dataclass(frozen=True)
class TrialStart:
    """A trial as its program is started for it.

    values -- its metaparameters
    seed   -- its seed, of 63 bits; programs are told the last 31, which every generator takes
    folder -- its own folder, {trial_dir}
    device -- the worker's: cpu, cuda or cuda:N. The program is shown its GPUs alone, so that
              {device} is cuda for it, whichever they are
    """

    program: Program
    batch_size: int
    values: Metaparameters
    seed: int
    folder: Path
    device: str = "cpu"

    def arguments(self, *, resuming: bool = False) -> list[str]:
        """The command, and what is added to it to go on from the checkpoint, filled in.

        Raises WorkloadError if a batch can't be divided as the command asks.
        """
        known = self._known()
        words = [*self.program.command, *(self.program.resume if resuming else ())]
        return [filled(word, known) for word in words]

    def environment(self, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
        """All environment variables: those of the worker, the trial's, and what the sweep file
        says, which comes before both."""
        known = self._known()
        told = {f"BATCHFRONT_{name.upper()}": written(known[name]) for name in _SIMPLE}
        values = {variable(name): written(value) for name, value in self.values.items()}
        said = {name: filled(text, known) for name, text in self.program.resources.env.items()}
        unbuffered = {"PYTHONUNBUFFERED": "1"}
        return {**inherited, **unbuffered, **self._gpus(inherited), **told, **values, **said}

    def write_metaparameters(self) -> Path:
        """Write the JSON file in the trial's folder that has all of a trial; where it is."""
        budget = self.program.steps_allowed(self.batch_size)
        seeds = {SEED: self.seed % 2**31, LONG_SEED: self.seed}
        trial = {BATCH_SIZE: self.batch_size, **seeds, STEP_BUDGET: budget}
        path = self._file(METAPARAMETERS_FILE)
        path.write_text(json.dumps({**trial, **self.values}, indent=2) + "\n")
        return path

    @property
    def checkpoint(self) -> Path:
        """Where the program keeps what it can go on from."""
        return self.program.folder / filled(self.program.checkpoint, self._placed())

    @property
    def output_file(self) -> Path | None:
        """The file, or the folder, that it writes its evaluations to, if it does."""
        file = self.program.output.file
        return None if file is None else self.program.folder / filled(file, self._known())

    def _file(self, name: str) -> Path:
        return self.folder.absolute() / name

    def _placed(self) -> dict[str, Value]:
        """The placeholders that a checkpoint's path may have, and all others but itself."""
        program, batch_size = self.program, self.batch_size
        known: dict[str, Value] = {
            **self.values,
            BATCH_SIZE: batch_size,
            SEED: self.seed % 2**31,
            STEP_BUDGET: program.steps_allowed(batch_size),
            TRIAL_DIR: str(self.folder.absolute()),
            DEVICE: "cuda" if self.device.startswith("cuda") else self.device,
            METAPARAMETERS: str(self._file(METAPARAMETERS_FILE)),
        }
        if program.epochs is not None:
            known[EPOCH_BUDGET] = program.epochs
        shares = program.shares(batch_size)
        return {**known, PER_DEVICE: shares.per_device, ACCUMULATION: shares.accumulation}

    def _known(self) -> dict[str, Value]:
        """The value of every placeholder."""
        return {**self._placed(), CHECKPOINT: str(self.checkpoint)}

    def _gpus(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """The variable that shows a program no GPUs but its own, the worker's and those after it.

        Raises ProgramError if there aren't as many.
        """
        needed = f"{self.program.name} needs {self.program.devices} GPUs"
        if not self.device.startswith("cuda"):
            if self.program.resources.gpus:
                raise ProgramError(f"{needed}, and its worker computes on {self.device}")
            return {}
        first = int(self.device.partition(":")[2] or 0)
        numbers = range(first, first + self.program.devices)
        visible = inherited.get("CUDA_VISIBLE_DEVICES")
        if visible is None:
            return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, numbers))}
        there = [name.strip() for name in visible.split(",") if name.strip()]
        if numbers[-1] >= len(there):
            raise ProgramError(
                f"{needed} from {self.device} on, and CUDA_VISIBLE_DEVICES shows {len(there)}"
            )
        return {"CUDA_VISIBLE_DEVICES": ",".join(there[number] for number in numbers)}
