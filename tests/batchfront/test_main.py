"""The command before its own modules are imported."""

import subprocess
import sys
from importlib.abc import MetaPathFinder
from typing import Any

import pytest

from batchfront import __version__
from batchfront.__main__ import main


class Interrupted(MetaPathFinder):
    """Is interrupted once the command's modules are looked for."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name == "batchfront.cli.main":
            raise KeyboardInterrupt


def test_interrupted_while_it_is_imported_it_ends_as_it_does_later(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "batchfront.cli.main", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capfd.readouterr() == ("", "")


def test_the_package_is_the_command() -> None:
    asked = [sys.executable, "-m", "batchfront", "--version"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert __version__ in said
