"""Where data sets are looked for, and kept when they had to be downloaded."""

import os
from pathlib import Path


def data_directory() -> Path:
    """`BATCHFRONT_DATA_DIR` where it is set, else `batchfront` in the user's cache folder.

    The command line's `--data-dir` sets `BATCHFRONT_DATA_DIR`. The folder need not exist.
    """
    named = os.environ.get("BATCHFRONT_DATA_DIR")
    return Path(named).expanduser() if named else user_directory()


def user_directory() -> Path:
    """`batchfront` in the user's cache folder. It need not exist."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "batchfront"


def to_disk(file: Path) -> None:
    """Have the system write what it holds of a file, which is then to be moved where it belongs:
    else a machine that loses power may find it there with holes for bytes."""
    with file.open("rb") as written:
        os.fsync(written.fileno())
