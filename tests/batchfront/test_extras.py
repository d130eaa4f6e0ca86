"""What isn't installed is said, with the command that installs it as batchfront itself was."""

import json
import sys
from pathlib import Path

import pytest

from batchfront.errors import WorkloadError
from batchfront.extras import installing, missing_for_training

PIP = f"{sys.executable} -m pip install"


def installed(site: Path, origin: object) -> None:
    """A distribution batchfront in a folder, and where it came from."""
    info = site / "batchfront-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: batchfront\nVersion: 1\n")
    if origin:
        text = json.dumps(origin).replace("{here}", str(site))
        (info / "direct_url.json").write_text(text)


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        (None, "'batchfront[train]'"),
        ({"url": "file://{here}", "dir_info": {}}, "'{here}[train]'"),
        ({"url": "file://{here}", "dir_info": {"editable": True}}, "-e '{here}[train]'"),
        (
            {"url": "https://host/b-1.whl", "archive_info": {}},
            "'batchfront[train] @ https://host/b-1.whl'",
        ),
        (
            {"url": "https://host/b.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}},
            "'batchfront[train] @ git+https://host/b.git@c0ffee'",
        ),
        (
            {
                "url": "https://host/b.git",
                "vcs_info": {"vcs": "git", "commit_id": "c0ffee"},
                "subdirectory": "tuner",
            },
            "'batchfront[train] @ git+https://host/b.git@c0ffee#subdirectory=tuner'",
        ),
    ],
)
def test_an_extra_is_installed_from_where_batchfront_was(
    origin: dict[str, object] | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, origin)
    monkeypatch.syspath_prepend(tmp_path)
    assert installing("train") == f"`{PIP} {told.replace('{here}', str(tmp_path))}`"


def test_a_want_of_torch_is_told_from_other_errors_however_deep_it_lies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrapped = WorkloadError("mine.py does not run")
    wrapped.__cause__ = ModuleNotFoundError("No module named 'torch'", name="torch")
    assert missing_for_training(wrapped) is None  # it is there, whatever has become of it
    monkeypatch.setitem(sys.modules, "torch", None)
    said = missing_for_training(wrapped)
    assert said is not None
    assert said.startswith("this needs torch, which is not installed: `")
    assert missing_for_training(ModuleNotFoundError("No module named 'mine'", name="mine")) is None
    assert missing_for_training(WorkloadError("something else")) is None


def test_of_what_came_from_a_file_that_is_gone_no_command_is_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, {"url": "file://{here}/gone.whl", "archive_info": {}})
    monkeypatch.syspath_prepend(tmp_path)
    assert installing("train") == f"install batchfront[train] for {sys.executable}"


def test_where_there_is_no_pip_no_command_is_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)
    assert installing("train") == f"install batchfront[train] for {sys.executable}"
