"""A file is there whole, or as it was before."""

import os
from pathlib import Path

import pytest

from batchfront.errors import BatchfrontError
from batchfront.whole_file import write_files, writing
from tests.disks import full_disk, read_only_disk


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("older")
    file.chmod(0o600)
    with writing(file, "report") as part:
        part.write_text("new")
        assert file.read_text() == "older"
    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_goes_on_leading_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    file, link = tmp_path / "there" / "a", tmp_path / "link"
    link.symlink_to(file)
    write_files({link: b"new"}, "file")
    assert link.is_symlink()
    assert file.read_bytes() == b"new"


def test_a_name_as_long_as_can_be_is_written(tmp_path: Path) -> None:
    file = tmp_path / ("x" * 255)
    write_files({file: b"new"}, "file")
    assert file.read_bytes() == b"new"


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_files({pipe: b"new"}, "file")
    assert os.read(reader, 100) == b"new"
    os.close(reader)
    assert pipe.is_fifo()


def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path: Path) -> None:
    with full_disk(tmp_path / "disk", room=2) as disk:
        (disk / "report").write_text("older")
        with pytest.raises(BatchfrontError, match=r"^--to .*/report: can't be written: No space"):
            write_files({disk / "report": bytes(20_000)}, "--to")
        assert (disk / "report").read_text() == "older"
        assert list(disk.iterdir()) == [disk / "report"]


def test_of_several_files_none_is_there_when_one_does_not_fit(tmp_path: Path) -> None:
    with full_disk(tmp_path / "disk", room=2) as disk:
        files = {disk / "small": b"a", disk / "large": bytes(20_000)}
        with pytest.raises(BatchfrontError, match=r"large: can't be written"):
            write_files(files, "--to")
        assert list(disk.iterdir()) == []


def test_a_read_only_disk_is_told(tmp_path: Path) -> None:
    with (
        read_only_disk(tmp_path / "disk") as disk,
        pytest.raises(BatchfrontError, match=r"report: can't be written: Read-only file system"),
    ):
        write_files({disk / "report": b"new"}, "--to")


def test_a_link_that_leads_in_a_circle_is_told_and_stays(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("link")
    with pytest.raises(BatchfrontError, match=r"report .*link: can't be written: Too many levels"):
        write_files({link: b"new"}, "report")
    assert link.is_symlink()
