"""Where files of trials lie, checkpoints above all: in a folder or an object store."""

import os
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import Protocol
from uuid import uuid4

import fsspec

from batchfront.errors import UsageError
from batchfront.phase_timer import timed_as

_MARK, _READS = ".batchfront", 10


class Named(Protocol):
    """What a checkpoint is filed under."""

    @property
    def study_id(self) -> int: ...
    @property
    def number(self) -> int: ...


class StudyFiles:
    """Files of studies' trials, and how those of a study are forgotten.

    where    -- a folder, or any URL that fsspec has a file system for
    database -- the name of the database whose slots they are: several may share a place
    """

    def __init__(self, where: str | os.PathLike[str], database: str = "") -> None:
        try:
            self._files, root = fsspec.url_to_fs(os.fspath(where))  # type: ignore[no-untyped-call]
        except (ImportError, ValueError) as error:
            raise UsageError(f"--checkpoint-dir {where}: {error}") from None
        self._root = root.rstrip("/")
        self._folder = f"{self._root}/{database}" if database else self._root

    def mark(self) -> str:
        """Read the mark of this place, made by whoever comes first: workers that read the same
        reach the same place. Returns an empty text where none can be made or read."""
        path = f"{self._root}/{_MARK}"
        with suppress(Exception):  # whatever a store's own library raises; checkpoints will tell
            if not self._files.exists(path):
                self._files.makedirs(self._root, exist_ok=True)
                with suppress(FileExistsError):
                    self._files.pipe_file(path, uuid4().hex.encode(), mode="create")
            for _ in range(_READS):
                if found := self._files.cat_file(path):
                    return str(found.decode())
                sleep(0.1)  # whoever made it is about to write it
        return ""

    def drop_study(self, study_id: int) -> None:
        """Forget all slots of a study that is deleted."""
        with suppress(FileNotFoundError):  # none was kept
            self._files.rm(f"{self._folder}/study-{study_id}", recursive=True)
            self._tidy(self._folder)

    def _remove(self, path: str) -> None:
        """A file, and the folders that it leaves empty."""
        with suppress(Exception):  # never there
            self._files.rm_file(path)
        self._tidy(path.rpartition("/")[0], self._folder)

    def _tidy(self, *folders: str) -> None:
        """Remove these folders, each in the next, where they are empty, and then the root."""
        if "file" in self._files.protocol:  # elsewhere a folder is but a part of a file's name
            with suppress(OSError):  # not empty: it holds others
                for folder in (*folders, self._root):
                    Path(folder).rmdir()


class CheckpointFiles(StudyFiles):
    """A file for each slot, until it is done."""

    @timed_as("storage")
    def drop(self, slot: Named) -> None:
        """Forget a slot that is done."""
        path = self._path(slot)
        if "file" in self._files.protocol:
            for left in Path(path).parent.glob(f"{Path(path).name}.*.tmp"):  # a killed writer's
                left.unlink(missing_ok=True)
        self._remove(path)

    def _path(self, slot: Named) -> str:
        return f"{self._folder}/study-{slot.study_id}/trial-{slot.number}.pt"
