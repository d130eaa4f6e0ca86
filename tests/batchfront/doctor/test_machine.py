"""What a machine lacks for a worker is told."""

from pathlib import Path

import pytest

from batchfront.doctor import machine
from batchfront.doctor.finding import Level
from batchfront.doctor.machine import examine_machine
from batchfront.training.device_names import Gpu
from tests.batchfront.doctor.findings import about


def test_a_folder_that_will_be_made_is_tried_where_it_will_be(tmp_path: Path) -> None:
    (found,) = about(examine_machine({"checkpoints": str(tmp_path / "not" / "yet")}), "checkpoints")
    assert found.level is not Level.FAILURE
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["/proc", "/proc/nowhere/at/all"])
def test_a_folder_that_cannot_be_written_is_a_failure(where: str) -> None:
    (found,) = about(examine_machine({"checkpoints": where}), "checkpoints")
    assert (found.level, "can't be written" in found.says) == (Level.FAILURE, True)


def test_a_file_in_a_folders_place_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (found,) = about(examine_machine({"data": str(tmp_path / "file" / "x")}), "data")
    assert (found.level, "is a file" in found.says) == (Level.FAILURE, True)


def test_a_store_elsewhere_is_written_to_and_read_back(tmp_path: Path) -> None:
    (good,) = about(examine_machine({"checkpoints": f"file://{tmp_path}"}), "checkpoints")
    assert good.level is Level.OK
    assert not list(tmp_path.iterdir())
    (bad,) = about(examine_machine({"checkpoints": "file:///proc/nowhere"}), "checkpoints")
    assert bad.level is Level.FAILURE


def test_a_full_disk_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 50 << 20

    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: Usage)
    found = machine.room("checkpoints", tmp_path)
    assert (found.level, "50 MiB free" in found.says) == (Level.FAILURE, True)


def test_gpus_that_torch_does_not_see_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "visible_gpus", lambda: [Gpu("NVIDIA H100", "0")])
    monkeypatch.setattr(machine, "_COUNTED", "print(0)")
    there, unseen = about(examine_machine({}), "devices")
    assert there.level is Level.OK
    assert (unseen.level, "sees 0 of these 1" in unseen.says) == (Level.FAILURE, True)
