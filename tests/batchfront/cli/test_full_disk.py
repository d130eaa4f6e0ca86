"""Every command that writes files says in one line that it can't, and leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path

import pytest

from batchfront.errors import BatchfrontError
from batchfront.exchange.model import write_model
from tests.batchfront.cli.conftest import Result
from tests.disks import full_disk, read_only_disk

Run = Callable[..., Result]

POINTS = "workload,batch_size,steps,goal\na/b/c,8,100,error<0.1\na/b/c,16,60,error<0.1\n"

WRITING = {
    "report": ("report", "--output", "DISK/report.html"),
    "export": ("export", "--output", "DISK/studies"),
    "export as CSV": ("export", "--output", "DISK/studies", "--format", "csv"),
    "new program": ("new", "program", "DISK/sweep.toml"),
    "new loop": ("new", "loop", "DISK/loop.py"),
}

DISKS = {"full": (full_disk, "No space left on device"), "read-only": (read_only_disk, "Read-only")}


@pytest.mark.parametrize("kind", DISKS)
@pytest.mark.parametrize("arguments", WRITING.values(), ids=WRITING)
def test_a_disk_that_takes_nothing_is_told_in_one_line(
    batchfront: Run, folder: Path, kind: str, arguments: tuple[str, ...]
) -> None:
    (folder / "points.csv").write_text(POINTS)
    assert batchfront("import", "points", "points.csv").code == 0
    made, why = DISKS[kind]
    with made(folder / "disk") as disk:
        before = sorted(disk.rglob("*"))
        ended = batchfront(*(word.replace("DISK", str(disk)) for word in arguments))
        assert sorted(disk.rglob("*")) == before
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.count("\n") == 1
    assert f"can't be written: {why}" in ended.err


def test_a_model_without_room_leaves_no_folder(folder: Path) -> None:
    with full_disk(folder / "disk", room=2) as disk:
        with pytest.raises(BatchfrontError, match=r"weights.safetensors: can't be written: No sp"):
            write_model(disk / "model", bytes(20_000), {})
        assert list(disk.iterdir()) == []


@pytest.mark.parametrize("arguments", WRITING.values(), ids=WRITING)
def test_a_file_in_the_place_of_the_folder_is_told_in_one_line(
    batchfront: Run, folder: Path, arguments: tuple[str, ...]
) -> None:
    (folder / "points.csv").write_text(POINTS)
    assert batchfront("import", "points", "points.csv").code == 0
    (folder / "disk").write_text("a file")
    ended = batchfront(*(word.replace("DISK", str(folder / "disk")) for word in arguments))
    assert ended.code in (1, 2)
    assert ended.err.count("\n") == 1
    assert "unexpected" not in ended.err
