"""Files that are worked out from a data set once: lists of its images, decoded pixels.

They are kept beside the data, or in the user's cache folder where nothing can be written there.
"""

import logging
import os
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from batchfront_studies.datasets.directory import to_disk, user_directory

log = logging.getLogger(__name__)

BESIDE = ".batchfront"
"""The folder that is made beside the data."""


def places(source: Path) -> tuple[Path, Path]:
    """Where files derived from the folder `source` are kept: the first that can be written to."""
    resolved = source.resolve()
    digest = blake2b(os.fsencode(resolved), digest_size=8).hexdigest()
    return resolved.parent / BESIDE, user_directory() / "derived" / digest


def keep(source: Path, name: str, write: Callable[[Path], None]) -> Path | None:
    """Keep what `write(path)` writes as `name`; whole or not at all, whoever else does the same.

    None, with a line in the log, where it can't be kept: it will be worked out again.
    """
    problems = []
    for place in places(source):
        try:
            place.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=place, prefix=".writing-") as scratch:
                write(Path(scratch) / name)
                to_disk(Path(scratch) / name)
                return (Path(scratch) / name).replace(place / name)
        except OSError as error:
            problems.append(str(error))
    log.warning("%s of %s can't be kept (%s)", name, source, "; ".join(problems))
    return None


def keep_table(source: Path, name: str, table: Any) -> None:
    """Keep an Arrow table, so that every process can map it into its memory."""
    import pyarrow as pa

    def write(path: Path) -> None:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)

    keep(source, name, write)


def kept_tables(source: Path, name: str) -> Iterator[Any]:
    """The Arrow tables that are kept under this name, in the order in which to ask them."""
    import pyarrow as pa

    for place in places(source):
        try:
            table = pa.ipc.open_file(pa.memory_map(str(place / name))).read_all()
        except (OSError, pa.ArrowInvalid):  # there is none, or it is damaged
            continue
        yield table.combine_chunks()
