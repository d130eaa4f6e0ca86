"""Disks that are full or can't be written to: small ones in memory, which root may mount."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A disk of its own at a folder, which is made. Skips the test where none can be mounted."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"no disk can be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full_disk(folder: Path, room: int = 0) -> Iterator[Path]:
    """A disk on which new files can be made, with room for so many pages of 4 KiB."""
    with mounted(folder, f"size={max(room, 1) * 4}k"):
        if not room:
            (folder / "filler").write_bytes(bytes(4096))
        yield folder


@contextmanager
def read_only_disk(folder: Path) -> Iterator[Path]:
    """A disk on which nothing can be made."""
    with mounted(folder, "ro"):
        yield folder
