"""The guide to hours and money: its commands work as printed, and print what it shows."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs import hours, session
from tests.docs.pages import PAGES, blocks

SMALL = {
    "BATCHFRONT_TRIALS": "4",
    "BATCHFRONT_BATCH_SIZES": "16,64,256",
    "BATCHFRONT_GOAL": "0.2",
}
"""What the search and its timing are told beside the page's words, so that they are short."""


def test_its_first_answer_is_what_is_printed(tmp_path: Path) -> None:
    found = hours.SHOWN.search(PAGES[hours.PAGE])
    assert found is not None
    assert found[2] == hours.answer(tmp_path), "make it anew: python -m tests.docs.hours"


@pytest.mark.slow
def test_its_commands_work_as_printed(tmp_path: Path) -> None:
    assert session.write_files(hours.PAGE, tmp_path) == [
        "steps.csv",
        "seconds.csv",
        "machines.toml",
    ]
    told = {line.split()[1] for line in hours.COMMANDS}
    assert told == {"import", "run", "time", "advise", "report", "probe"}
    for line in hours.COMMANDS:
        session.typed(tmp_path, line, **SMALL)
    (block,) = blocks(hours.PAGE, "python")
    ran = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.stdout, ran.stderr
