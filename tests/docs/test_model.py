"""The guide to the model that won: its commands work as printed, and its loop by hand arrives at
the same step and weights."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, blocks

PAGE = "docs/guides/model.md"

pytestmark = pytest.mark.slow


def command(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """A line of the page, as a user types it there."""
    program, *told = shlex.split(line)
    assert program == "batchfront"
    own = {key: value for key, value in os.environ.items() if not key.startswith("BATCHFRONT_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "batchfront.cli.main", *told],
        cwd=folder,
        env=own,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's files lie."""
    made = tmp_path_factory.mktemp("guide")
    for block in blocks(PAGE, "python"):
        if named := re.match(r"# (\w+\.py)\n", block):
            (made / named[1]).write_text(block)
    return made


def test_what_it_types_and_its_loop_by_hand_do_what_it_says(folder: Path) -> None:
    lines = [line for block in blocks(PAGE, "sh") for line in block.splitlines()]
    assert [line.split()[1] for line in lines] == ["run", "model", "replay", "recipe", "recipe"]
    done = {line: command(folder, line) for line in lines}
    for line, one in done.items():
        assert one.returncode == 0, (line, one.stderr)
    (replayed,) = (one.stdout for line, one in done.items() if "replay" in line)
    assert "as in the search" in replayed
    assert "the same to the bit as those that were kept of it" in replayed
    by_hand = subprocess.run(
        [sys.executable, "by_hand.py"], cwd=folder, capture_output=True, text=True
    )
    told = dict(line.split(": ") for line in by_hand.stdout.splitlines())
    assert len(told) == 3, by_hand.stderr
    assert {*told.values()} == {"True"}


def test_every_stream_that_it_uses_is_there() -> None:
    from batchfront import SeedStream

    named = set(re.findall(r"SeedStream\.(\w+)", PAGES[PAGE]))
    assert named == {"INITIAL_WEIGHTS", "ORDER", "STEP"} <= set(SeedStream.__members__)
