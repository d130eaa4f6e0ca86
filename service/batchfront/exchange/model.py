"""The model that won, taken out: a folder with its weights and its recipe."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchfront.errors import BatchfrontError, UsageError
from batchfront.frontier.reached_trial import ReachedTrial
from batchfront.store.database import Storage
from batchfront.store.migrations import database_name
from batchfront.training.kept_models import KeptModels, models_beside
from batchfront.whole_file import write_files

WEIGHTS, RECIPE = "weights.safetensors", "recipe.json"


@dataclass(frozen=True)
class KeptWeights:
    """Looks for the weights of a trial where workers keep winners'.

    where -- of the database, and of the checkpoints where one is named
    """

    storage: Storage
    checkpoint_dir: str | None = None

    def of(self, reached: ReachedTrial) -> bytes | None:
        """A trial's weights, as a file of safetensors; None where they are not kept.

        Raises BatchfrontError where they can't be read, or are of something else.
        """
        place = models_beside(self.storage.url, self.checkpoint_dir)
        if place is None:
            return None
        models = KeptModels(place, database_name(self.storage))
        try:
            found = models.find(reached.study.id, reached.trial.number, reached.steps)
            if found is None:
                return None
            kept, facts = found
            _refuse_other(reached, facts, kept.path)
            return models.read(kept)
        except BatchfrontError:
            raise
        except Exception as error:  # each file system has its own
            raise BatchfrontError(f"the weights kept in {place} can't be read: {error}") from error


def _refuse_other(reached: ReachedTrial, facts: Mapping[str, Any], path: str) -> None:
    """A database's number of a study may be given again to another, once that was deleted."""
    study, trial = reached.study, reached.trial
    wanted = {
        "workload": study.workload,
        "batch_size": study.batch_size,
        "seed": study.trial_seed(trial.number),
        "metaparameters": dict(trial.params),
        "versions": dict(trial.versions),
    }
    differ = [name for name, value in wanted.items() if facts.get(name) != value]
    if differ:
        raise BatchfrontError(
            f"{path} is not of trial {trial.number} as its result has it (its {differ[0]} are "
            f"other ones); this makes its weights: {reached.replayed()}"
        )


def require_folder(folder: Path) -> None:
    """Raise UsageError if a model can't be written there, as it is a file, or holds something."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder}: is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"--output {folder}: is not empty; name a folder that is not there yet")
    if not folder.absolute().parent.is_dir():
        raise UsageError(f"--output {folder}: the folder {folder.parent} does not exist")


def write_model(folder: Path, weights: bytes | None, recipe: Mapping[str, Any]) -> list[Path]:
    """Write weights, where there are any, and a recipe into a folder. Returns the files. Raises
    BatchfrontError where they can't be written."""
    files = {} if weights is None else {folder / WEIGHTS: weights}
    files[folder / RECIPE] = (json.dumps(recipe, indent=2) + "\n").encode()
    is_new = not folder.exists()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise BatchfrontError(f"--output {folder}: can't be made: {error.strerror}") from error
    try:
        write_files(files, "--output")
    except BatchfrontError:
        if is_new:
            with suppress(OSError):
                folder.rmdir()
        raise
    return list(files)


def require_new_file(path: Path, told: str) -> None:
    """Raise UsageError if a file can't be made there, as something is there or no folder for it."""
    if path.exists():
        raise UsageError(f"{told} {path}: exists; name a file that is not there yet")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{told} {path}: the folder {path.parent} does not exist")
    if not os.access(path.absolute().parent, os.W_OK):
        raise UsageError(f"{told} {path}: the folder {path.parent} can't be written to")
