"""What the pages tell a developer to run, and what of it no other test runs."""

import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, blocks

INSTALL_AND_TEST = "python3 -m venv .*just test"


def test_the_readme_and_contributing_say_the_same_command() -> None:
    pages = ("README.md", "CONTRIBUTING.md")
    first, second = (re.findall(INSTALL_AND_TEST, "".join(blocks(page, "sh"))) for page in pages)
    assert first == second
    assert len(first) == 1


@pytest.mark.parametrize(
    ("target", "runs"),
    [
        ("test", ".venv/bin/python -m pytest -n 2"),
        ("check", ".venv/bin/python -m mypy"),
        ("site", ".venv/bin/python -m sphinx -W --keep-going -q docs build/site"),
        ("docs", ".venv/bin/python -m tests.docs.reference"),
        ("ci", ".ci/run"),
    ],
)
def test_just_runs_what_its_targets_are_for(target: str, runs: str) -> None:
    just = Path(sysconfig.get_path("scripts"), "just")
    shown = subprocess.run([just, "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
    assert shown.stderr.splitlines()[-1] == runs


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_examples_in_python_are_python(page: str) -> None:
    for block in blocks(page, "python"):
        compile(block, page, "exec")
