"""`batchfront analyze` on a small race written by hand, in each format, and its refusals."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchfront.store.url import open_storage
from tests.batchfront.cli.conftest import Result
from tests.batchfront.frontier.analysis.studies import curve, ended, reached
from tests.batchfront.report.rows import SPACE, add_study

Run = Callable[..., Result]

NAME = "a/b/momentum"
PLAIN = "a/c/none"


@pytest.fixture(autouse=True)
def written(made_database: Path, folder: Path) -> None:
    """Two batch sizes of one workload; another has neither metaparameters nor measurements."""
    opened = open_storage(f"sqlite:///{shutil.copy(made_database, folder / 'batchfront.db')}")
    space = {**SPACE, "smoothing": {"kind": "Choice", "values": [0.0, 0.1]}}
    for batch_size, steps in ((8, 100), (32, 40)):
        won = {"learning_rate": 0.01 * batch_size, "momentum": 0.9, "smoothing": 0.1}
        lost = {"learning_rate": 0.3, "momentum": 0.99, "smoothing": 0.0}
        looks = curve((1, 0.9), (steps // 2, 0.2), (steps, 0.02))
        trials = [
            reached(steps, params=won, curve=looks, metric=0.02),
            ended("capped", steps, params=lost, curve=curve((1, 0.8)), metric=0.8),
            ended("diverged", 2, params=lost),
        ]
        add_study(opened, NAME, batch_size, trials, space=space)
    add_study(opened, PLAIN, 8, [ended("exhausted", 9)], space={})
    opened.close()


@pytest.fixture
def analyze(batchfront: Run) -> Callable[..., str]:
    """What an analysis prints, once it has ended in order."""

    def run(*arguments: str) -> str:
        result = batchfront("analyze", *arguments)
        assert (result.code, result.err) == (0, "")
        return result.out

    return run


ALL = ("compare", "rules", "outcomes", "budget", "effect", "goals")


@pytest.mark.parametrize("name", ALL)
def test_every_analysis_prints_json_and_csv_of_the_same_workload(
    analyze: Callable[..., str], name: str
) -> None:
    plain = json.loads(analyze(name, NAME, "--format", "json"))
    assert plain
    rows = list(csv.DictReader(io.StringIO(analyze(name, NAME, "--format", "csv"))))
    assert {row["workload"] for row in rows} == {NAME}
    assert {row["batch_size"] for row in rows} == {"8", "32"}


def test_compare_says_where_scaling_ends_and_who_is_left_out(analyze: Callable[..., str]) -> None:
    shown = analyze("compare")
    assert (
        "How far scaling is near-perfect cannot be told from these points: 2 batch sizes" in shown
    )
    alone = "Of the points alone, none larger took at most 20 % more examples than 8."
    assert alone in shown.replace("\u00a0", " ")
    assert f"{PLAIN}: left out, the goal has not been reached." in shown
    plain = json.loads(analyze("compare", NAME, "--at", "32", "--format", "json"))
    assert [point["relative"] for point in plain["series"][0]["points"]] == [2.5, 1]


def test_rules_show_exponents_and_what_stands_for_a_rule(analyze: Callable[..., str]) -> None:
    shown = analyze("rules", NAME)
    (learning_rate,) = [line.split() for line in shown.splitlines() if "1 linear; 0.5" in line][:1]
    assert learning_rate[:4] == ["learning_rate", "1.00", "–", "1"]
    assert "fewer than 3 batch sizes have" in shown
    assert "trial 0 reached, 0.00 away" in shown
    assert "its points have no learning rate" not in shown
    assert "the goal has not been reached" in analyze("rules", PLAIN)


def test_outcomes_list_the_trials_of_one_batch_size(analyze: Callable[..., str]) -> None:
    assert "1 - momentum" not in analyze("outcomes", NAME)
    shown = analyze("outcomes", NAME, "--batch-size", "32")
    assert "1 - momentum" in shown
    assert "1 capped, 1 diverged" in shown


def test_budgets_are_marked_where_trials_stopped_before(analyze: Callable[..., str]) -> None:
    shown = analyze("budget", NAME, "--steps", "20", "--steps", "50", "--epochs", "1.5")
    assert "best validation error rate within a budget of epochs" in shown
    (of_32,) = [line.split() for line in shown.splitlines() if line.startswith("        32")][:1]
    assert of_32 == ["32", "0.2", "<=", "0.02"]
    assert "--after-goal continue" in shown
    assert "no measurements of validation error rate are kept" in analyze("budget", PLAIN)


def test_the_effect_is_of_what_has_choices_or_what_is_named(analyze: Callable[..., str]) -> None:
    assert ">= 1× (0/2)" in analyze("effect", NAME)
    plain = json.loads(analyze("effect", NAME, "--metaparameter", "momentum", "--format", "json"))
    assert [(one["name"], len(one["points"][0]["values"])) for one in plain] == [("momentum", 3)]


def test_goals_are_intervals_between_looks(analyze: Callable[..., str]) -> None:
    shown = analyze("goals", NAME, "--goal", "0.1", "--goal", "0.01")
    assert "steps to other goals of validation error rate" in shown
    assert "< 0.1" in shown
    assert "1-100" in shown  # the capped trial was evaluated at step 1 alone
    assert "> 100" in shown


def refused(result: Result) -> str:
    assert (result.code, result.out) == (2, "")
    (line,) = result.err.splitlines()
    return line


@pytest.mark.parametrize("name", ALL)
def test_an_unknown_workload_is_refused_with_those_there_are(batchfront: Run, name: str) -> None:
    line = refused(batchfront("analyze", name, "x/y/z"))
    assert f"no studies of 'x/y/z' in this database; there are: {NAME}, {PLAIN}" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("compare", "--at", "16"), "--at 16: none of these workloads has reached the goal there"),
        (("outcomes", NAME, "--batch-size", "16"), f"{NAME} has no study of it, but 8, 32"),
        (("budget", NAME, "--steps", "0"), "0 is not in the range x>=1"),
        (("budget", NAME, "--epochs", "-1"), "-1.0 is not in the range x>0"),
        (
            ("effect", NAME, "--metaparameter", "nesterov"),
            "does not search 'nesterov'; it searches",
        ),
        (("effect", PLAIN), f"{PLAIN} searches no metaparameter"),
        (("goals", NAME, "--goal", "nan"), "--goal nan: must be a finite number"),
        (("goals", NAME, "--goal", "low"), "'low' is not a number"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    batchfront: Run, arguments: tuple[str, ...], said: str
) -> None:
    assert said in refused(batchfront("analyze", *arguments))


def test_a_metaparameter_has_to_be_named_where_none_has_choices(
    batchfront: Run, folder: Path
) -> None:
    opened: Any = open_storage(f"sqlite:///{folder / 'batchfront.db'}")
    add_study(opened, "a/d/sgd", 8, [reached(9)])
    opened.close()
    line = refused(batchfront("analyze", "effect", "a/d/sgd"))
    whole = "`batchfront analyze effect a/d/sgd --metaparameter learning_rate`"
    assert f"name one of learning_rate, momentum: {whole}" in line


def test_four_runs_of_a_rule_have_one_median_whoever_tells_it(
    analyze: Callable[..., str], batchfront: Run
) -> None:
    opened = open_storage("sqlite:///batchfront.db")
    params = {"learning_rate": 0.08 * 4, "momentum": 0.9, "smoothing": 0.1}
    runs = [reached(steps, params=params, repeats=0) for steps in (100, 200, 120, 160)]
    add_study(opened, NAME, 32, runs, purpose="linear")
    opened.close()
    followed = json.loads(analyze("rules", NAME, "--format", "json"))["followed"]
    (needed,) = [one["needed"] for one in followed if one["source"] == "run"]
    asked = ("confirm", NAME, "--rule", "linear", "--seeds", "4", "--batch-sizes", "32")
    confirmed = batchfront(*asked, "--format", "json")
    assert (confirmed.code, confirmed.err) == (0, "")
    (point,) = json.loads(confirmed.out)["points"]
    assert (needed["at_least"], needed["at_most"], point["median"]) == (140, 140, 140)
