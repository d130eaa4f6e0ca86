"""What the pages tell a developer to run, and what of it no other test runs."""

import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, blocks

INSTALL_AND_TEST = "python3 -m venv .*pytest.*"


def test_the_readme_and_contributing_say_the_same_command() -> None:
    pages = ("README.md", "CONTRIBUTING.md")
    first, second = (re.findall(INSTALL_AND_TEST, "".join(blocks(page, "sh"))) for page in pages)
    assert first == second
    assert len(first) == 1


def test_just_runs_the_tests_as_the_readme_does() -> None:
    just = Path(sysconfig.get_path("scripts"), "just")
    if not just.exists():
        pytest.skip("just is not installed: pip install -e '.[test]'")
    shown = subprocess.run([just, "--dry-run", "test"], cwd=ROOT, capture_output=True, text=True)
    (command,) = re.findall(INSTALL_AND_TEST, "".join(blocks("README.md", "sh")))
    assert command.endswith(f" && {shown.stderr.strip()}")


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_examples_in_python_are_python(page: str) -> None:
    for block in blocks(page, "python"):
        compile(block, page, "exec")
