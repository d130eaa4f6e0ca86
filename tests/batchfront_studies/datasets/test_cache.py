"""What is kept of a data set: made once, whole or not at all, wherever it may be written."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from batchfront.errors import DataError
from batchfront_studies.datasets.cache import CACHE, fingerprint, kept


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data directory, which can be written to; the user's cache folder is another."""
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(root))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    return root


class Maker:
    """Writes a file, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "made").write_text("whole")


def test_it_is_made_once_in_the_data_directory(root: Path) -> None:
    make = Maker()
    first = kept("words", [1], make)
    assert first.parent == root / CACHE
    assert first.name.startswith("words-")
    assert (first / "made").read_text() == "whole"
    assert kept("words", [1], make) == first
    assert make.calls == 1


@pytest.mark.usefixtures("root")
def test_it_is_made_anew_of_something_else() -> None:
    make = Maker()
    assert kept("words", {"size": 1}, make) != kept("words", {"size": 2}, make)
    assert make.calls == 2


def test_a_file_that_changed_has_another_fingerprint(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    before = fingerprint([file])
    assert fingerprint([file]) == before
    file.write_text("others")
    assert fingerprint([file]) != before


@pytest.fixture
def read_only(root: Path) -> Iterator[Path]:
    root.chmod(0o555)
    yield root
    root.chmod(0o755)


def test_where_the_data_directory_is_read_only_it_lies_in_the_users_cache_folder(
    read_only: Path, tmp_path: Path
) -> None:
    place = kept("words", 1, Maker())
    assert place.parent == tmp_path / "user" / "batchfront" / CACHE
    assert not list(read_only.iterdir())


def test_what_a_read_only_data_directory_already_holds_is_used(root: Path) -> None:
    place = kept("words", 1, Maker())
    root.chmod(0o555)
    (root / CACHE).chmod(0o555)
    try:
        again = Maker()
        assert kept("words", 1, again) == place
        assert not again.calls
    finally:
        (root / CACHE).chmod(0o755)
        root.chmod(0o755)


def test_where_nothing_may_be_written_both_folders_are_named(
    read_only: Path, tmp_path: Path
) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(DataError, match="words: can't be kept, as nothing may be wr") as error:
            kept("words", 1, Maker())
    finally:
        tmp_path.chmod(0o755)
    assert str(read_only / CACHE) in str(error.value)
    assert str(tmp_path / "user") in str(error.value)


def test_it_is_on_disk_before_it_stands_in_its_place(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk: set[tuple[int, bool]] = set()

    def record(file: int) -> None:
        on_disk.add((os.fstat(file).st_ino, any(root.glob(f"{CACHE}/words-*"))))

    monkeypatch.setattr(os, "fsync", record)
    place = kept("words", 1, Maker())
    assert on_disk == {((place / "made").stat().st_ino, False)}


def test_what_fails_leaves_nothing_and_is_tried_again(root: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "made").write_text("half")
        raise DataError("a file is damaged")

    with pytest.raises(DataError, match="a file is damaged"):
        kept("words", 1, fail)
    assert not [path for path in (root / CACHE).iterdir() if path.is_dir()]
    assert (kept("words", 1, Maker()) / "made").read_text() == "whole"


@pytest.mark.usefixtures("root")
def test_a_full_disk_is_one_line() -> None:
    def fill(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match=r"words-.*: can't be kept in .*No space left"):
        kept("words", 1, fill)


@pytest.mark.usefixtures("root")
def test_of_those_that_ask_at_once_one_makes_it_and_the_others_wait() -> None:
    make, together = Maker(), Barrier(6)

    def ask(_: int) -> Path:
        together.wait()
        return kept("words", 1, make)

    with ThreadPoolExecutor(6) as pool:
        places = set(pool.map(ask, range(6)))
    assert len(places) == 1
    assert make.calls == 1


def test_what_a_killed_process_left_is_cleared_away(root: Path) -> None:
    place = kept("words", 1, Maker())
    left = root / CACHE / f".making-{place.name}-abc"
    place.rename(left)
    for path in (left, left / "made"):
        os.utime(path, (0, 0))
    assert kept("words", 1, Maker()) == place
    assert not left.exists()


def test_what_another_machine_is_making_is_let_be_though_its_lock_does_not_hold_here(
    root: Path,
) -> None:
    place = kept("words", 1, Maker())
    making = root / CACHE / f".making-{place.name}-abc"
    place.rename(making)
    os.utime(making, (0, 0))  # a folder's time does not change while a file in it grows
    assert kept("words", 1, Maker()) == place
    assert (making / "made").exists()
