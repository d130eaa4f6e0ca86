"""What is expected, as commands print it, and the recommended trials run again."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchfront.frontier.frontier import load_frontier
from batchfront.store.url import open_storage
from tests.batchfront.cli.conftest import Result
from tests.batchfront.cli.test_bad_input import refused
from tests.batchfront.frontier.test_expected import filled
from tests.searches import NAME, end, planned, reached

Run = Callable[..., Result]

URL = "sqlite:///batchfront.db"


@pytest.fixture
def searched(folder: Path, made_database: Path) -> Any:
    """Twelve trials at each of two batch sizes, all of which have reached the goal."""
    (folder / "batchfront.db").write_bytes(made_database.read_bytes())
    storage = open_storage(URL)
    filled(storage)
    yield storage
    storage.close()


def test_the_frontier_tells_what_is_expected_beside_it(searched: Any, batchfront: Run) -> None:
    shown = batchfront("frontier", NAME)
    assert "Expected steps of a run with the recommended trial's metaparameters" in shown.out
    plain = json.loads(batchfront("frontier", NAME, "--format", "json").out)
    known = load_frontier(searched, NAME).expected
    assert plain["expected"] == json.loads(json.dumps(known.to_dict()))
    assert plain["expected"]["trusted"] is True
    rows = list(csv.DictReader(io.StringIO(batchfront("frontier", NAME, "--format", "csv").out)))
    assert [float(row["expected"]) for row in rows] == [point.steps for point in known.points]
    assert all(float(row["expected_low"]) < float(row["expected"]) for row in rows)
    rates = [float(row["recommended_learning_rate"]) for row in rows]
    assert rates == [point.metaparameters["learning_rate"] for point in known.points]


def test_the_papers_own_count_of_trials_has_nothing_beside_it(
    searched: Any, batchfront: Run
) -> None:
    shown = batchfront("frontier", NAME, "--first", "5", "--format", "json")
    assert "expected" not in json.loads(shown.out)


def test_why_nothing_is_expected_is_said(
    batchfront: Run, folder: Path, made_database: Path
) -> None:
    (folder / "batchfront.db").write_bytes(made_database.read_bytes())
    storage = open_storage(URL)
    planned(storage, trials=2)
    end(storage, f"{NAME}/b4", {0: reached(40)})
    end(storage, f"{NAME}/b16", {0: reached(20)})
    storage.close()
    why = "2 trials reached the goal, and 4 are needed"
    assert f"No expected steps: {why}." in batchfront("frontier", NAME).out
    said = batchfront("curve").out
    assert "No curve can be drawn" in said
    assert "The curve goes through" not in said
    (plain,) = json.loads(batchfront("curve", "--format", "json").out)
    assert plain["why_fitted_to"] == f"The curve goes through the fastest trials: {why}."
    refused(batchfront("confirm", NAME, "--recommended", "--plan-only"), why)


def test_the_curve_says_which_points_it_goes_through(searched: Any, batchfront: Run) -> None:
    (plain,) = json.loads(batchfront("curve", "--format", "json").out)
    assert "The curve goes through the expected steps" in plain["why_fitted_to"]
    assert plain["fitted_to"] == "expected steps"
    assert [point["batch_size"] for point in plain["expected"]["points"]] == [4, 16]


def test_the_recommended_trials_are_run_again(searched: Any, batchfront: Run) -> None:
    again = batchfront("confirm", NAME, "--recommended", "--plan-only", "--seeds", "3")
    assert again.out == (
        f"{NAME}/b4/confirm: 3 trials, 3 new\n{NAME}/b16/confirm: 3 trials, 3 new\n"
    )
    known = load_frontier(searched, NAME).expected
    as_expected, far = (round(known.points[0].steps), round(9 * known.points[1].steps))
    end(searched, f"{NAME}/b4/confirm", dict.fromkeys(range(3), reached(as_expected)))
    end(searched, f"{NAME}/b16/confirm", dict.fromkeys(range(3), reached(far)))
    shown = batchfront("confirm", NAME, "--recommended", "--seeds", "3")
    assert shown.code == 0, shown.err
    assert "not as expected" in shown.out
    assert "As expected at 1 of 2 batch sizes" in shown.out
    plain = json.loads(
        batchfront("confirm", NAME, "--recommended", "--seeds", "3", "--format", "json").out
    )
    assert [point["as_expected"] for point in plain["points"]] == [True, False]
    assert [point["trial"] for point in plain["points"]] == [one.trial for one in known.points]


@pytest.mark.parametrize("told", [("--rule", "linear"), ("--candidates", "3")])
def test_recommended_is_one_trial_at_a_batch_size_and_no_rule(
    batchfront: Run, told: tuple[str, str]
) -> None:
    refused(batchfront("confirm", NAME, "--recommended", *told), " ".join(told))


def test_a_recipe_says_what_is_recommended_and_what_it_takes(
    searched: Any, batchfront: Run
) -> None:
    shown = batchfront("recipe", NAME, "--batch-size", "16")
    assert "the recommended trial" in shown.out
    assert "fastest trial" in shown.out
    plain = json.loads(batchfront("recipe", NAME, "--batch-size", "16", "--format", "json").out)
    assert plain["recommended"]["trial"] == load_frontier(searched, NAME).expected.points[1].trial
