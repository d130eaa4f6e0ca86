"""The code is formatted, linted and strictly typed, and its packages import what they may."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LIGHT = ("store", "study", "ledger", "frontier", "plan", "report", "exchange", "launch", "cli")
"""Packages that import no torch, and so are of use where it isn't installed."""


@pytest.mark.parametrize(
    "check", [["ruff", "format", "--check"], ["ruff", "check"], ["mypy"]], ids=" ".join
)
def test_the_code_passes(check: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *check], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_package_imports_what_it_may() -> None:
    lint = "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache'])"
    done = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_reads_and_reports_brings_no_torch() -> None:
    code = f"""
import sys
from importlib import import_module
from pkgutil import walk_packages

import batchfront_studies.archive_goals

for name in {LIGHT}:
    package = import_module(f"batchfront.{{name}}")
    for module in walk_packages(package.__path__, f"{{package.__name__}}."):
        import_module(module.name)
    print(name, *{{"torch"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [*LIGHT]
