"""Every workload of the paper is in the catalog, is shown, and runs: here on small data."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from batchfront.cli.workloads import command
from batchfront.frontier.frontier import load_frontier
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.url import Storage
from batchfront.workload import catalog
from tests.batchfront_studies.papers_workloads import BATCH_SIZES
from tests.batchfront_studies.small_workloads import goal_within_reach, small, spec, write
from tests.reading import load_curves
from tests.searches import work

NAMES = sorted(BATCH_SIZES)

LARGE = {
    "imagenet_subsets/imagenet_half_images/resnet_50/nesterov_momentum",
    "lm1b/transformer_base/nesterov_momentum",
    "lm1b/transformer_shallow/momentum",
    "lm1b/transformer_shallow/sgd",
    "lm1b/transformer_wide/nesterov_momentum",
}
"""Workloads that take long, and differ from others in a size, an algorithm or which examples are
left out alone: they run with BATCHFRONT_TEST_LARGE=1."""


def when_asked(name: str) -> object:
    skip = name in LARGE and os.environ.get("BATCHFRONT_TEST_LARGE") != "1"
    return pytest.param(
        name, marks=pytest.mark.skipif(skip, reason="BATCHFRONT_TEST_LARGE=1 asks for it")
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All data sets, small."""
    root = tmp_path_factory.mktemp("small-data")
    write(root)
    return root


@pytest.fixture
def data(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(written))
    monkeypatch.setenv("XDG_CACHE_HOME", str(written / "cache"))


def test_the_catalog_has_the_papers_35_workloads_with_the_papers_batch_sizes() -> None:
    assert len(NAMES) == 35
    listed = catalog.names()
    assert set(NAMES) <= set(listed)
    for name in NAMES:
        assert catalog.load(name).batch_sizes == BATCH_SIZES[name], name


@pytest.mark.parametrize("name", NAMES)
def test_a_workload_is_shown_with_its_goal_space_and_budgets(name: str) -> None:
    shown = CliRunner().invoke(command, ["show", name, "--format", "json"])
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert found["name"] == name
    assert list(map(int, found["step_budget"])) == list(BATCH_SIZES[name])
    assert 0 < found["goal"]["value"] < 4
    table = CliRunner().invoke(command, ["show", name])
    assert table.exit_code == 0
    assert name in table.stdout
    assert "Traceback" not in table.output


@pytest.mark.slow
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("name", [*map(when_asked, NAMES)])
def test_a_workload_goes_through_plan_two_heats_and_frontier(
    name: str, storage: Storage, record_property: Callable[[str, object], None]
) -> None:
    workload = small(name)
    request = SearchOptions(
        batch_sizes=(4, 8), trials=2, goal=goal_within_reach(workload), finishers=2
    )
    planned = plan(storage, spec(name), workload, request)
    assert planned.added == (2, 2)
    work(storage)
    frontier = load_frontier(storage, name)
    assert [point.batch_size for point in frontier.points] == [4, 8]
    outcomes = [outcome for point in frontier.points for outcome in point.outcomes]
    assert sum(sum(point.outcomes.values()) for point in frontier.points) == 4
    assert "failed" not in outcomes
    curves = [load_curves(storage, point.study.id) for point in frontier.points]
    assert [len(of_trials) for of_trials in curves] == [2, 2]
    parameters = sum(p.numel() for p in workload.model().parameters())
    ends = " ".join(
        f"b{point.batch_size}: "
        + ", ".join(f"{number} {outcome}" for outcome, number in point.outcomes.items())
        for point in frontier.points
    )
    record_property("workload on small data", (name, parameters, ends))
