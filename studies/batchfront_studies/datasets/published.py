"""Files of published data sets that torchvision can download: found, unpacked, or downloaded.

Nothing is written where the files already are, so their folder may be read-only.
"""

import gzip
import shutil
import socket
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from batchfront.errors import DataError

NETWORK_TIMEOUT = 20.0
"""Seconds without a byte after which a download is given up."""

_ELSEWHERE = "with --data-dir or BATCHFRONT_DATA_DIR"


@dataclass(frozen=True)
class Published:
    """The files of one data set.

    title       -- what people call it
    source      -- where it is published, for whoever has to get it by hand
    folder      -- where torchvision keeps the files, below the data directory
    files       -- their names, plain
    torchvision -- the class of `torchvision.datasets` that downloads them
    archive     -- the tar file, below the data directory, that holds `folder`; none: each file
                   may be compressed by itself, with `.gz` after its name
    """

    title: str
    source: str
    folder: Path
    files: tuple[str, ...]
    torchvision: str
    archive: str | None = None

    @contextmanager
    def below(self, root: Path) -> Iterator[Path]:
        """A folder below which all files lie plain in `folder`: the data directory `root`, or one
        that is there for as long as the block runs.

        Downloads them to `root` where they are missing. Raises DataError if that fails, or if
        they can't be unpacked.
        """
        missing = [name for name in self.files if not (root / self.folder / name).is_file()]
        if not missing:
            yield root
        elif self._packed(root, missing):
            with TemporaryDirectory() as scratch:
                self._unpack(root, Path(scratch))
                yield Path(scratch)
        else:
            self._download(root, missing)
            yield root

    def damaged(self, root: Path, files: Sequence[str], found: str) -> DataError:
        """What to raise where these files, or those in the archive, are not what they should be."""
        place, one = root / self.folder, len(files) == 1
        wrong = "it" if one else "them"
        if self.archive and not all((place / name).is_file() for name in files):
            place, wrong = root / self.archive, self.archive
        return DataError(
            f"{self.title}: {_listed(files)} in {place} {'is' if one else 'are'} damaged "
            f"({_one_line(found)}); remove {wrong} to download anew, "
            f"or name another folder {_ELSEWHERE}"
        )

    def _packed(self, root: Path, missing: Sequence[str]) -> bool:
        if self.archive is not None:
            return (root / self.archive).is_file()
        return all((root / self.folder / f"{name}.gz").is_file() for name in missing)

    def _unpack(self, root: Path, scratch: Path) -> None:
        """All files, laid out below `scratch` as torchvision wants them."""
        (scratch / self.folder).mkdir(parents=True)
        for name in self.files:
            plain, target = root / self.folder / name, scratch / self.folder / name
            try:
                if self.archive is not None:
                    _extract(root / self.archive, (self.folder / name).as_posix(), target)
                elif plain.is_file():
                    target.symlink_to(plain.resolve())
                else:
                    with gzip.open(f"{plain}.gz") as source, target.open("wb") as unpacked:
                        shutil.copyfileobj(source, unpacked)
            except (EOFError, KeyError, OSError, ValueError, tarfile.TarError, zlib.error) as e:
                found = f"{type(e).__name__}: {e}" if self.archive else f"{name}.gz: {e}"
                raise self.damaged(root, [name], found) from e

    def _download(self, root: Path, missing: Sequence[str]) -> None:
        """Download into a folder of our own beside the files' place, then move whole files there.

        Two processes that download at once thus each put down the same whole files.
        """
        from torchvision import datasets  # slow to import, and listing workloads needs no data

        try:
            (root / self.folder).mkdir(parents=True, exist_ok=True)
            with (
                TemporaryDirectory(dir=root, prefix=".downloading-") as scratch,
                _network_timeout(),
            ):
                getattr(datasets, self.torchvision)(scratch, download=True)
                for name in self.files:
                    (Path(scratch) / self.folder / name).replace(root / self.folder / name)
        except (EOFError, HTTPException, OSError, RuntimeError, tarfile.TarError, zlib.error) as e:
            raise DataError(
                f"{self.title}: {', '.join(missing)} not found in {root / self.folder}; "
                f"get the files from {self.source}, and name the folder that holds {self.folder} "
                f"{_ELSEWHERE} (the download failed: {_one_line(str(e))})"
            ) from e


def _extract(archive: Path, member: str, target: Path) -> None:
    with tarfile.open(archive) as files:
        source = files.extractfile(member)
        if source is None:
            raise ValueError(f"{member} is no file")
        with source, target.open("wb") as unpacked:
            shutil.copyfileobj(source, unpacked)


_timing = Lock()


@contextmanager
def _network_timeout() -> Iterator[None]:
    # One after the other: each thread has to find the time-out that was there before all of them.
    with _timing:
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(NETWORK_TIMEOUT)
        try:
            yield
        finally:
            socket.setdefaulttimeout(before)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _one_line(text: str) -> str:
    return " ".join(text.split())
