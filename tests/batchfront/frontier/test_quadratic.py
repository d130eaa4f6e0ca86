"""The whole tool on a workload of which the frontier can be computed: the noisy quadratic model."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from batchfront.frontier.curve.answers import fit_curve
from batchfront.frontier.frontier import Frontier, load_frontier
from batchfront.frontier.queries import load_trials
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.url import Storage, open_storage
from batchfront.training.model_run import ModelRun
from tests.quadratic import (
    BATCH_SIZES,
    SPEC,
    data,
    expected_loss,
    fewest_steps,
    quadratic,
    steps_to_target,
)
from tests.waiting import LONG

TRIALS, FINISHERS = 32, 3


@pytest.fixture(scope="module")
def storage(made_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """Planned, and raced by two worker processes."""
    path = tmp_path_factory.mktemp("quadratic") / "trials.db"
    path.write_bytes(made_database.read_bytes())
    opened = open_storage(f"sqlite:///{path}")
    plan(opened, SPEC, quadratic(), SearchOptions(trials=TRIALS, finishers=FINISHERS))
    command = [sys.executable, "-P", "-m", "batchfront.cli.main", "work", "--quiet"]
    command += ["--storage", f"sqlite:///{path}", "--device", "cpu"]
    workers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(w.communicate(timeout=LONG)[1], w.returncode) for w in workers] == [("", 0)] * 2
    return opened


@pytest.fixture(scope="module")
def frontier(storage: Storage) -> Frontier:
    return load_frontier(storage, quadratic().name)


@pytest.mark.parametrize(("rate", "batch_size"), [(0.05, 2), (0.7, 16), (1.9, 256), (1.2, 3)])
def test_a_step_of_training_is_a_step_of_the_closed_form(rate: float, batch_size: int) -> None:
    values = {"learning_rate": rate}
    run = ModelRun(quadratic(), data(), batch_size, values, 0, torch.device("cpu"))
    steps = np.array([1, 2, 3, 10, 100, 500])
    found = []
    for step in steps:
        run.advance(int(step))
        found.append(run.evaluate(full=True).value)
    assert found == pytest.approx(expected_loss(rate, batch_size, steps), rel=1e-12)


@pytest.mark.slow
def test_the_frontier_is_the_least_over_all_trials_that_were_drawn(
    storage: Storage, frontier: Frontier
) -> None:
    assert [point.batch_size for point in frontier.points] == list(BATCH_SIZES)
    for point in frontier.points:
        rates = [trial.params["learning_rate"] for trial in load_trials(storage, point.study.id)]
        assert len(rates) == TRIALS
        least = sorted(steps_to_target(float(rate), point.batch_size) for rate in rates)
        assert point.steps == least[0]
        assert [one.steps for one in point.finishers][:FINISHERS] == least[:FINISHERS]


@pytest.mark.slow
def test_the_frontier_is_close_to_the_least_over_all_learning_rates(frontier: Frontier) -> None:
    beyond = [point.steps / fewest_steps(point.batch_size) for point in frontier.reached]
    assert min(beyond) >= 1
    assert max(beyond) <= 1.2


@pytest.mark.slow
def test_a_learning_rate_beyond_the_stable_ones_diverges(
    storage: Storage, frontier: Frontier
) -> None:
    for point in frontier.points:
        for trial in load_trials(storage, point.study.id):
            if float(trial.params["learning_rate"]) > 2:
                assert trial.outcome in ("diverged", "capped")
            if trial.outcome == "diverged":
                assert float(trial.params["learning_rate"]) > 2


@pytest.mark.slow
def test_the_curve_through_the_points_holds_the_optimum(frontier: Frontier) -> None:
    """The least steps of any batch size, and the batch size that takes twice as many."""
    curve = fit_curve(frontier)
    s_min = fewest_steps(10**9)
    half = [b for b in range(16, 64) if fewest_steps(b) == 2 * s_min]
    assert curve.s_min.low <= s_min <= curve.s_min.high
    assert half
    assert curve.half_efficiency.low <= half[0]
    assert half[-1] <= curve.half_efficiency.high
