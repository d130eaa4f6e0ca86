"""Which images a folder holds, without listing it anew each time.

ImageNet's 1.3 million files are listed, and asked for their sizes, once. Their list is kept as an
Arrow file, which every process maps into its memory, and made anew when a folder has changed.
"""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from batchfront_studies.datasets.derived import keep_table, kept_tables

SUFFIXES = (".jpg", ".jpeg", ".png")

_THREADS = 16  # that ask for file sizes: a network's file system answers many at a time

_TOGETHER = 4096  # files of which one of them asks the size


@dataclass(frozen=True, eq=False)
class ImageIndex:
    """The images below a folder, in the order of their names: its own, then its subfolders'.

    folder     -- that they lie in
    subfolders -- the names of its folders, in order; "" stands for itself
    table      -- Arrow table of `name` (string), `subfolder` (int32: which of `subfolders`) and
                  `bytes` (int64), a row for each image
    checksum   -- of names and sizes: the same for the same files on every machine
    """

    folder: Path
    subfolders: tuple[str, ...]
    table: Any
    checksum: str

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def path(self, number: int) -> Path:
        """The file of image `number`."""
        name: str = self.table.column("name")[number].as_py()
        position: int = self.table.column("subfolder")[number].as_py()
        return self.folder / self.subfolders[position] / name

    def in_subfolder(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """For each image, which of `subfolders` it lies in."""
        return np.asarray(self.table.column("subfolder").to_numpy(), dtype=np.int64)


def image_index(folder: Path) -> ImageIndex:
    """The images directly in `folder` and in its subfolders: files that end in SUFFIXES.

    A file that is overwritten where it lies is not noticed; one that is added, removed or renamed
    is. Raises OSError if the folder can't be read.
    """
    state = _state(folder)  # before it is listed, so that what changes meanwhile is noticed later
    name = f"{folder.name}-index.arrow"
    for table in kept_tables(folder, name):
        if (table.schema.metadata or {}).get(b"state") == state.encode():
            return _index(folder, table)
    table = _listed(folder, state)
    keep_table(folder, name, table)
    return _index(folder, table)


def _state(folder: Path) -> str:
    """What changes when an image is added to a folder or removed from it: its time stamp."""
    names = _subfolders(folder)
    with ThreadPoolExecutor(_THREADS) as threads:
        stamps = threads.map(lambda name: (folder / name).stat().st_mtime_ns, names)
        found = list(zip(names, stamps, strict=True))
    return blake2b(json.dumps(found).encode(), digest_size=16).hexdigest()


def _listed(folder: Path, state: str) -> Any:
    """The table of an index, with what belongs to it as metadata."""
    import pyarrow as pa

    subfolders = _subfolders(folder)
    names: list[str] = []
    counts: list[int] = []
    sizes: list[int] = []
    with ThreadPoolExecutor(_THREADS) as threads:
        for subfolder, found in zip(
            subfolders, threads.map(lambda s: _images(folder / s), subfolders), strict=True
        ):
            parts = [found[i : i + _TOGETHER] for i in range(0, len(found), _TOGETHER)]
            for part in threads.map(partial(_sizes, folder / subfolder), parts):
                sizes += part
            names += found
            counts.append(len(found))
    positions = np.repeat(np.arange(len(subfolders), dtype=np.int32), counts)
    table = pa.table({"name": names, "subfolder": positions, "bytes": np.array(sizes, np.int64)})
    metadata = {
        "state": state,
        "subfolders": json.dumps(subfolders),
        "checksum": _checksum(subfolders, counts, names, sizes),
    }
    return table.cast(table.schema.with_metadata(metadata))


def _subfolders(folder: Path) -> list[str]:
    """The names of its folders, in order, after "" for itself."""
    with os.scandir(folder) as entries:
        found = sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())
    return ["", *found]


def _images(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(
            e.name
            for e in entries
            if e.name.lower().endswith(SUFFIXES) and not e.name.startswith(".")
        )


def _sizes(folder: Path, names: Sequence[str]) -> list[int]:
    return [os.stat(f"{folder}/{name}").st_size for name in names]  # noqa: PTH116 -- a million


def _checksum(
    subfolders: Sequence[str], counts: Sequence[int], names: Sequence[str], sizes: Sequence[int]
) -> str:
    digest, start = blake2b(digest_size=8), 0
    for subfolder, count in zip(subfolders, counts, strict=True):
        files = zip(names[start : start + count], sizes[start : start + count], strict=True)
        digest.update(f"{subfolder}/\n".encode())
        digest.update("".join(f"{name}\t{size}\n" for name, size in files).encode())
        start += count
    return digest.hexdigest()


def _index(folder: Path, table: Any) -> ImageIndex:
    metadata = table.schema.metadata
    subfolders = tuple(json.loads(metadata[b"subfolders"]))
    return ImageIndex(folder, subfolders, table, metadata[b"checksum"].decode())
