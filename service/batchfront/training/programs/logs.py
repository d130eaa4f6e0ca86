"""What a trial's program has printed, read from its log, and followed while it grows."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from batchfront.training.programs.printed import LOG, log_files

_CHUNK = 1 << 16


def read_log(folder: Path, *, until: Callable[[], bool], every: float = 0.3) -> Iterator[bytes]:
    """Read what the program in a trial's folder has printed, piece by piece.

    until -- asked every so many seconds whether the program prints no more; what it has printed by
             then is read, too
    """
    tail = _Tail(folder)
    try:
        while True:
            over, before = until(), tail.read
            yield from tail.new()
            if over and tail.read == before:
                return
            if not over:
                time.sleep(every)
    finally:
        tail.close()


class _Tail:
    """Follows a log whose files are put aside as they fill, and which begins anew when its program
    starts again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOG
        self._files: list[BinaryIO] = []  # opened at once: they may be put aside meanwhile
        for file in log_files(folder):
            with suppress(FileNotFoundError):
                self._files.append(file.open("rb"))
        self.read = 0  # bytes

    def new(self) -> Iterator[bytes]:
        """What has been added since it was asked last."""
        while self._files or self._opened():
            yield from self._rest()
            if len(self._files) == 1 and not self._is_put_aside():
                return
            yield from self._rest()  # which came before it was put aside
            self._files.pop(0).close()

    def close(self) -> None:
        for file in self._files:
            file.close()

    def _rest(self) -> Iterator[bytes]:
        while data := self._files[0].read(_CHUNK):
            self.read += len(data)
            yield data

    def _opened(self) -> bool:
        with suppress(FileNotFoundError):
            self._files.append(self._path.open("rb"))
        return bool(self._files)

    def _is_put_aside(self) -> bool:
        """Whether the file that is read is no longer the one that is written, and there is one."""
        try:
            return not os.path.samestat(os.fstat(self._files[0].fileno()), self._path.stat())
        except FileNotFoundError:
            return False
