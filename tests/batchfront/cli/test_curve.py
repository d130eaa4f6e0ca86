"""`batchfront curve`: the answers, the numbers behind them, and the forms tried."""

import csv
import io
import json
from collections.abc import Callable

import pytest

from batchfront.store.url import Storage
from tests.batchfront.cli.conftest import Result
from tests.batchfront.frontier.test_frontier import CAPPED, DIVERGED, NAME, end, planned, reached
from tests.batchfront.report.rows import add_study
from tests.toy import SPEC

Curve = Callable[..., Result]

STEPS = {1: 4000, 2: 2010, 4: 1040, 8: 540, 16: 300, 32: 170, 64: 112}


@pytest.fixture
def curve(storage: Storage, batchfront: Callable[..., Result]) -> Curve:
    """The command, at a database with a finished workload."""
    planned(storage, trials=6, batch_sizes=tuple(STEPS))
    for batch_size, steps in STEPS.items():
        slower = [reached(s, s - 1) for s in (steps, steps * 5 // 4, steps * 3 // 2)]
        end(storage, batch_size, *slower, *[DIVERGED] * 3)
    url = storage.url.render_as_string(hide_password=False)
    return lambda *arguments: batchfront("curve", *arguments, "--storage", url)


def test_it_prints_the_answers_and_then_the_numbers_and_forms(curve: Curve) -> None:
    shown = curve()
    assert shown.code == 0, shown.err
    text = shown.out.replace("\u00a0", " ")
    title, recommended, said = text.strip().split("\n\n")[:3]
    assert title == f"{NAME}: validation error rate < 0.1"
    assert recommended.startswith("For one device, whose time goes with the examples, batch size")
    assert said.startswith("Scaling is near-perfect")
    assert "A larger batch is useful up to batch size" in text
    assert "half-efficiency batch size, B_c" in text
    assert sum(line.endswith("  better") for line in text.splitlines()) == 1
    assert "a + b·B^-α" in text
    assert "best of another search" in text


def test_as_json_it_is_a_list_with_everything(curve: Curve) -> None:
    (found,) = json.loads(curve(NAME, "--format", "json").out)
    assert found["workload"] == NAME
    assert (found["share"], found["extra"]) == (0.1, 0.2)
    assert len(found["answers"]) == 3
    half = found["estimates"]["half_efficiency"]
    assert half["low"] < half["value"] < half["high"]
    assert set(half["evidence"]) <= set(STEPS)
    assert [point["steps"] for point in found["points"]] == list(STEPS.values())
    first = found["points"][0]
    assert first["another_low"] < first["steps"] < first["another_high"]


def test_as_csv_it_has_a_row_for_each_quantity(curve: Curve) -> None:
    rows = list(csv.DictReader(io.StringIO(curve("--format", "csv").out)))
    assert {row["workload"] for row in rows} == {NAME}
    found = {row["quantity"]: row for row in rows}
    assert len(found) == 5
    assert 20 < float(found["half_efficiency"]["value"]) < 100


def test_the_shares_are_options(curve: Curve) -> None:
    def useful(*options: str) -> float:
        (found,) = json.loads(curve("--format", "json", *options).out)
        estimate = found["estimates"]["useful_until"]
        return float(estimate["value"] or estimate["low"])

    assert useful("--share", "0.4") < useful("--share", "0.3")
    text = curve("--share", "0.3", "--extra", "0.5").out.replace("\u00a0", " ")
    assert "less than 30 % of the steps" in text
    assert "over 50 % more examples" in text


def test_where_near_perfect_is_measured_from_is_an_option(curve: Curve) -> None:
    (found,) = json.loads(curve("--format", "json", "--from", "2").out)
    assert found["perfect_from"] == 2
    assert found["answers"][0].startswith("Scaling from batch size 2 is near-perfect up to")
    assert "near-perfect from 2 up to" in curve("--from", "2").out
    refused = curve("--from", "0")
    assert (refused.code, refused.out) == (2, "")
    assert "batchfront: --from 0: must be at least 1, such as 256" in refused.err


def test_another_goal_has_a_curve_of_its_own(
    storage: Storage, batchfront: Callable[..., Result]
) -> None:
    for size in (4, 8, 16, 32, 64):
        steps = round(100 * (1 + 40 / size))
        looks = [(steps // n, "validation", "error rate", 0.029 * n) for n in (8, 4, 2, 1)]
        winner = {"outcome": "reached", "steps": steps, "steps_lower": steps - 1, "curve": looks}
        add_study(storage, "a/b/c", size, [winner])
    url = storage.url.render_as_string(hide_password=False)
    options = ("a/b/c", "--goal", "0.06", "--goal", "0.01", "--storage", url)
    shown = batchfront("curve", *options)
    assert shown.code == 0, shown.err
    text = shown.out.replace("\u00a0", " ")
    assert "a/b/c: how far a larger batch helps, along training" in text
    assert "a/b/c: validation error rate < 0.06 (searched for validation error rate < 0.03)" in text
    assert (
        "No curve can be drawn through these points: the steps to this goal are known at 0" in text
    )
    easy, hard = json.loads(batchfront("curve", *options, "--format", "json").out)
    assert (easy["goal"]["value"], easy["own"], easy["refusal"]) == (0.06, False, None)
    assert [point["complete"] for point in easy["points"]] == [True] * 5
    assert [point["steps"] for point in hard["points"]] == [None] * 5
    rows = list(csv.DictReader(io.StringIO(batchfront("curve", *options, "--format", "csv").out)))
    assert [row["goal"] for row in rows] == ["0.06"] * 5 + ["0.01"] * 5
    refused = batchfront("curve", "a/b/c", "--goal", "nan", "--storage", url)
    assert (refused.code, refused.out) == (2, "")
    assert "--goal nan: must be a finite number" in refused.err


def test_batch_sizes_stand_in_tokens_where_the_workload_counts_them(
    storage: Storage, batchfront: Callable[..., Result]
) -> None:
    data = {"train": {"examples": 200, "tokens": 5000, "sentences": 200}}  # 25 of each
    for size in (4, 8, 16, 32, 64, 128, 256):
        steps = round(100 * (1 + 40 / size))
        winner = {"outcome": "reached", "steps": steps, "steps_lower": steps - 1}
        add_study(storage, "a/b/c", size, [winner], identity={"data": data})
    url = storage.url.render_as_string(hide_password=False)
    text = batchfront("curve", "--storage", url).out.replace("\u00a0", " ")
    assert "In tokens, of which an example has 25 on average: near-perfect up to" in text
    (found,) = json.loads(batchfront("curve", "--format", "json", "--storage", url).out)
    assert found["tokens_per_example"] == 25
    options = ("a/b/c", "--storage", url)
    assert "in tokens" in batchfront("frontier", *options).out
    frontier = json.loads(batchfront("frontier", *options, "--format", "json").out)
    assert [point["batch_tokens"] for point in frontier["points"]][:2] == [100, 200]
    rows = csv.DictReader(io.StringIO(batchfront("frontier", *options, "--format", "csv").out))
    assert next(iter(rows))["batch_tokens"] == "100"


def test_without_measurements_there_is_no_curve_for_another_goal(
    storage: Storage, batchfront: Callable[..., Result]
) -> None:
    add_study(storage, "a/b/c", 8, [{"outcome": "reached", "steps": 9, "steps_lower": 8}])
    url = storage.url.render_as_string(hide_password=False)
    shown = batchfront("curve", "--goal", "0.2", "--storage", url)
    assert (shown.code, shown.out.strip()) == (0, "")
    assert "a/b/c: no measurements of validation error rate are kept" in shown.err


def test_a_workload_whose_points_do_not_tell_says_why(
    storage: Storage, batchfront: Callable[..., Result]
) -> None:
    planned(storage)
    url = storage.url.render_as_string(hide_password=False)
    shown = batchfront("curve", "--storage", url)
    assert shown.code == 0
    assert "0 batch sizes reached the goal, and 4 are needed" in shown.out
    rows = list(
        csv.DictReader(io.StringIO(batchfront("curve", "--storage", url, "--format", "csv").out))
    )
    assert {(row["kind"], row["value"]) for row in rows} == {("unknown", "")}


def test_what_one_finisher_cannot_tell_is_said_once(
    storage: Storage, batchfront: Callable[..., Result]
) -> None:
    planned(storage, trials=2)
    for batch_size in (4, 16):
        end(storage, batch_size, reached(40, 39), CAPPED)
    url = storage.url.render_as_string(hide_password=False)
    shown = batchfront("curve", "--storage", url).out
    more = f"`batchfront run {SPEC} --finishers 3 --storage {url}`"
    assert shown.count(f"cannot be known from one finisher. {more} would tell.") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--share", "0.7"), "--share 0.7: must be between 0 and 0.5, such as 0.1"),
        (("--extra", "0"), "--extra 0: must be above 0, such as 0.2"),
        (("x/y/z",), "no studies of 'x/y/z' in this database"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_line(
    curve: Curve, arguments: tuple[str, ...], said: str
) -> None:
    shown = curve(*arguments)
    assert (shown.code, shown.out) == (2, "")
    assert said in shown.err
    assert shown.err.count("\n") == 1
