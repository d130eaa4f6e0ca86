"""The guide to ask and tell runs as written, and names what there is."""

import re
import subprocess
import sys
from pathlib import Path

from batchfront.frontier.frontier import load_frontier
from batchfront.worker.asked_trial import AskedTrial
from batchfront.worker.asking import Database
from tests.docs.pages import PAGES, blocks

PAGE = "docs/guides/ask-and-tell.md"


def test_its_files_plan_a_search_and_run_it_in_a_pool_of_processes(tmp_path: Path) -> None:
    for block in blocks(PAGE, "python"):
        if named := re.match(r"# (\w+\.py)\n", block):
            (tmp_path / named[1]).write_text(block)
    for file in ("search.py", "pool.py"):
        command = [sys.executable, file]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (ran.returncode, ran.stderr) == (0, "")
    points = load_frontier(f"sqlite:///{tmp_path}/batchfront.db", "noise/linear/sgd").points
    assert [point.batch_size for point in points] == [4, 16, 64]
    for point in points:
        assert point.best is not None
        assert "open" not in point.outcomes
        assert sum(point.outcomes.values()) == 8


def test_what_it_says_a_trial_has_is_there() -> None:
    named = set(re.findall(r"`trial\.(\w+)", PAGES[PAGE])) - {"seed", "long_seed", "step_budget"}
    assert len(named) >= 8
    own = re.findall(
        r"self\.(\w+)", Path(sys.modules[AskedTrial.__module__].__file__ or "").read_text()
    )
    assert named <= {*dir(AskedTrial), *own}
    assert set(re.findall(r"open\(URL\)\.(\w+)", PAGES[PAGE])) <= {*dir(Database)}
