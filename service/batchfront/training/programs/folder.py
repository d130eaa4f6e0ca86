"""Where a trial's program keeps its files: a folder for each trial, which one worker at a time has.

    ROOT/DATABASE/dataset/model/optimizer/b32/7/
        metaparameters.json            what the trial was given
        output.log, .1, .2             what its program has printed: see `printed.py`
        earlier/1/output.log, ...      what it printed in earlier starts, of which the last are kept
        .lock                          held by the worker, and by the supervisor of its program
        ...                            whatever the program writes

A program that starts again must not find what its last start has left, unless it resumes from that:
all but logs is removed then. Nothing is removed when a trial ends.
"""

import errno
import fcntl
import hashlib
import os
import re
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from batchfront.errors import ProgramError
from batchfront.training.programs.leftovers import sweep_left
from batchfront.training.programs.printed import log_files

_LOCK, _EARLIER = ".lock", "earlier"

_KEPT = 5  # earlier starts whose logs are kept

_PATIENCE = 5.0  # seconds in which whoever is ending lets go of a folder

_LONGEST = 80  # characters of a part of a path: file systems allow 255 bytes


class FolderInUse(ProgramError):
    """A trial's folder that another worker has, whose program still runs."""


class TrialFolders:
    """The folders of all trials of a database.

    root     -- the folder that holds them, and may hold those of other databases
    database -- the name of the database, which no other has
    """

    def __init__(self, root: str | os.PathLike[str], database: str) -> None:
        self._folder = Path(root).absolute() / database[:12]

    def path(self, study: str, number: int) -> Path:
        """The folder of one trial of a study, which need not be there."""
        return self._study(study) / str(number)

    def take(
        self, study: str, number: int, *, resume: bool = False, grace: float = 0.0
    ) -> "TrialFolder":
        """Take one trial's folder for a start of its program: see `TrialFolder`.

        grace -- seconds that a program has to end, as another worker's may be about to
        """
        return TrialFolder(self.path(study, number), resume=resume, patience=grace + _PATIENCE)

    def drop_study(self, study: str) -> None:
        """Forget all trials of a study that is deleted."""
        shutil.rmtree(self._study(study), ignore_errors=True)
        with suppress(OSError):  # it holds others
            for folder in self._study(study).parents:
                folder.rmdir()
                if folder == self._folder.parent:
                    break

    def _study(self, name: str) -> Path:
        return self._folder.joinpath(*(_safe(part) for part in name.split("/")))


class TrialFolder:
    """A trial's folder, for one start of its program, until it is closed.

    path   -- absolute
    resume -- whether the program finds what its last start has left
    lock   -- the open file that holds the folder, for `ProgramProcess` to pass on

    Raises FolderInUse if another worker has it and doesn't let go of it in a few seconds, and
    ProgramError if it can't be made or cleared.
    """

    def __init__(self, path: Path, *, resume: bool = False, patience: float = _PATIENCE) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self.lock = self._taken(time.monotonic() + patience)
            try:
                if os.pread(self.lock, 1, 0):  # whoever had it has died
                    sweep_left()
                self._sign()
                self._clear(resume)
            except BaseException:
                os.close(self.lock)
                raise
        except OSError as error:
            raise ProgramError(f"{path}: {_reason(error)}; see --trial-dir") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it: nothing of its program is left."""
        if self.lock >= 0:
            with suppress(OSError):  # a disk that has gone
                os.ftruncate(self.lock, 0)
            os.close(self.lock)
            self.lock = -1

    def _taken(self, until: float) -> int:
        name = self.path / _LOCK
        while True:
            lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if name.exists() and name.stat().st_ino == os.fstat(lock).st_ino:
                    return lock  # and not one that somebody has deleted since
            except BlockingIOError:
                if time.monotonic() > until:
                    raise self._in_use(lock) from None
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)
            time.sleep(0.05)

    def _in_use(self, lock: int) -> FolderInUse:
        holder = os.pread(lock, 200, 0).decode(errors="replace").strip() or "another process"
        os.close(lock)
        return FolderInUse(f"{self.path}: {holder} runs this trial's program")

    def _sign(self) -> None:
        os.ftruncate(self.lock, 0)
        os.pwrite(self.lock, f"process {os.getpid()} of {socket.gethostname()}\n".encode(), 0)

    def _clear(self, resume: bool) -> None:
        """Put logs aside, and remove what else an earlier start has left, unless this resumes."""
        earlier = self.path / _EARLIER
        if logs := log_files(self.path):
            starts = earlier_starts(self.path)
            number = int(starts[-1].name) + 1 if starts else 1
            aside = earlier / str(number)
            aside.mkdir(parents=True)
            for file in logs:
                file.replace(aside / file.name)
            for old in [*starts, aside][:-_KEPT]:
                shutil.rmtree(old)
        if not resume:
            for left in self.path.iterdir():
                if left.name not in (_LOCK, _EARLIER):
                    _remove(left)


def earlier_starts(folder: Path) -> list[Path]:
    """The folders with the logs of a trial's earlier starts, the first of them first."""
    found = [each for each in folder.glob(f"{_EARLIER}/*") if each.name.isdigit()]
    return sorted(found, key=lambda each: int(each.name))


def _remove(left: Path) -> None:
    if left.is_dir() and not left.is_symlink():
        shutil.rmtree(left)
    else:
        left.unlink(missing_ok=True)


def _safe(part: str) -> str:
    """A name that any file system takes, and another for each part."""
    plain = re.sub(r"[^\w.@+=-]", "_", part, flags=re.ASCII)[:_LONGEST]
    if plain == part and not part.startswith(".") and not part.isdigit():  # as a trial's folder is
        return part
    return f"_{plain.lstrip('.')}-{hashlib.sha256(part.encode()).hexdigest()[:8]}"


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
        return "its file system has no locks, which keep two workers from one folder"
    where = "" if error.filename is None else f" ({error.filename})"
    return f"no folder for a trial's program: {error.strerror}{where}"
