"""`batchfront doctor`: one look at everything, an exit code, and nothing written."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.batchfront.cli.conftest import Result

Run = Callable[..., Result]


def test_it_finds_open_trials_and_says_how_they_are_run(
    batchfront: Run, workload_file: Callable[..., str]
) -> None:
    assert batchfront("plan", workload_file(), "--trials", "2").code == 0
    before = Path("batchfront.db").read_bytes()
    found = batchfront("doctor")
    assert (found.code, found.err) == (0, "")
    assert "4 trials of blobs/linear/momentum wait" in " ".join(found.out.split())
    assert "For the studies: `batchfront work --code " in found.out
    assert Path("batchfront.db").read_bytes() == before
    assert not Path("batchfront.db.checkpoints").exists()


def test_code_that_it_was_not_told_to_trust_is_named_with_the_command_that_allows_it(
    batchfront: Run, workload_file: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert batchfront("plan", workload_file(), "--trials", "2").code == 0
    monkeypatch.delenv("BATCHFRONT_CODE")
    found = batchfront("doctor")
    assert "nobody here has allowed that to run" in " ".join(found.out.split())
    assert "For the code: `batchfront work --code " in found.out
    assert "nobody here has allowed" not in batchfront("doctor", "--code", ".").out


def test_a_missing_database_is_a_failure_and_the_machine_is_looked_at_all_the_same(
    batchfront: Run,
) -> None:
    found = batchfront("doctor", "--format", "json")
    assert found.code == 1
    findings = json.loads(found.out)
    assert findings[0]["level"] == "failure"
    assert {"packages", "devices", "memory"} <= {one["about"] for one in findings}
    assert not list(Path().iterdir())


def test_a_url_that_cannot_be_meant_is_refused(batchfront: Run) -> None:
    found = batchfront("doctor", "--storage", "nonsense")
    assert found.code == 2
