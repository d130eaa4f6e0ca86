"""An export takes the place of an earlier one whole, or leaves that as it was."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchfront.errors import BatchfrontError, UsageError
from batchfront.exchange.folder import replacing
from batchfront.exchange.tables import MANIFEST, TableFile


def write(folder: Path, words: str) -> None:
    """A folder with what an export of these words is made of."""
    with replacing(folder) as part:
        (part / "trials.csv").write_text(words)
        (part / MANIFEST).write_text("{}")


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_new_files_are_there_alone_when_all_are_written(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    write(folder, "first")
    with replacing(folder) as part:
        (part / "trials.parquet").write_text("second")
        (part / MANIFEST).write_text("{}")
        assert (folder / "trials.csv").read_text() == "first"
    assert files(folder) == {"trials.parquet": "second", MANIFEST: "{}"}


def begin(folder: Path, error: BaseException) -> None:
    """Write a part of an export, up to an error."""
    with replacing(folder) as part:
        (part / "trials.csv").write_text("second")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "full"), ValueError()])
def test_an_earlier_export_outlives_whatever_ends_a_new_one(
    tmp_path: Path, error: BaseException
) -> None:
    write(tmp_path / "out", "first")
    before = files(tmp_path / "out")
    with pytest.raises((KeyboardInterrupt, BatchfrontError, ValueError)):
        begin(tmp_path / "out", error)
    assert files(tmp_path / "out") == before


def test_of_a_first_one_nothing_is_left_not_even_its_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path / "a" / "b", KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, sys
from pathlib import Path
from batchfront.exchange.folder import replacing
with replacing(Path(sys.argv[1])) as part:
    (part / "trials.csv").write_text("x")
    os._exit(9)
"""


def test_what_a_killed_one_has_left_goes_with_the_next(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out")], check=False)
    assert [path.suffix for path in (tmp_path / "out").iterdir()] == [".part"]
    write(tmp_path / "out", "next")
    assert files(tmp_path / "out") == {"trials.csv": "next", MANIFEST: "{}"}


def test_what_is_no_part_of_an_export_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds mine\.txt, which is no part of an export"):
        write(tmp_path / "out", "x")
    assert files(tmp_path / "out") == {"mine.txt": "mine"}


def a_loop(path: Path) -> None:
    path.symlink_to(path.name)


def nowhere(path: Path) -> None:
    path.symlink_to("nothing")


def a_file(path: Path) -> None:
    path.write_text("")


@pytest.mark.parametrize(
    ("make", "below"), [(a_loop, ""), (a_loop, "x"), (nowhere, ""), (a_file, ""), (a_file, "x")]
)
def test_a_place_that_is_no_folder_is_said_in_one_line(
    tmp_path: Path, make: Callable[[Path], object], below: str
) -> None:
    make(tmp_path / "out")
    with pytest.raises(BatchfrontError, match=r"--output .*out.*: (is a file|can't be written: )"):
        write(tmp_path / "out" / below, "x")


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """A disk that is full as soon as a file has so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill(folder: Path, format_: str) -> None:
    """Write a table that is larger than the disk takes."""
    rows = {
        "study": [os.urandom(500).hex() for _ in range(500)],
        "number": range(500),
        "step": range(500),
        "split": ["train"] * 500,
        "metric": ["loss"] * 500,
        "value": [0.5] * 500,
    }
    with (
        replacing(folder) as part,
        no_file_larger_than(10_000),
        TableFile(part, "measurements", format_) as file,
    ):
        file.write(rows)


@pytest.mark.parametrize("format_", ["parquet", "csv", "spreadsheet"])
def test_a_disk_that_fills_is_said_in_one_line(tmp_path: Path, format_: str) -> None:
    write(tmp_path / "out", "first")
    before = files(tmp_path / "out")
    with pytest.raises(BatchfrontError, match=r"out: can't be written: File too large"):
        fill(tmp_path / "out", format_)
    assert files(tmp_path / "out") == before
