"""A workload's name may have more than three parts, as those of the paper's subsets have."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.batchfront.cli.conftest import Result

NAME = "blobs_subsets/blobs_64/linear/momentum"


@pytest.fixture
def spec(workload_file: Callable[..., str]) -> str:
    return workload_file(("blobs/linear/momentum", NAME))


def test_each_command_takes_a_name_of_four_parts(
    batchfront: Callable[..., Result], spec: str, folder: Path
) -> None:
    assert batchfront("plan", spec, "--trials", "2").code == 0
    assert batchfront("work").code == 0
    for command in ("frontier", "status"):
        shown = batchfront(command, NAME, "--format", "json")
        assert shown.code == 0, shown.err
        assert NAME in json.dumps(json.loads(shown.out))
    assert batchfront("plan", spec, "--trials", "2").code == 0  # which finds its studies again
    made = batchfront("report", NAME, "--output", "page.html")
    assert made.code == 0, made.err
    assert NAME in (folder / "page.html").read_text()
