"""`batchfront confirm` runs winners again and prints them; `plan --extend` widens their space."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from batchfront.store.schema import slots
from batchfront.store.url import open_storage
from tests.batchfront.cli.conftest import Result
from tests.batchfront.cli.test_bad_input import refused
from tests.batchfront.plan.test_confirmation import CAPPED
from tests.searches import NAME, end, planned, reached, stored

Run = Callable[..., Result]
Write = Callable[..., str]

B4, B16 = f"{NAME}/b4", f"{NAME}/b16"
URL = "sqlite:///batchfront.db"


@pytest.fixture
def searched(folder: Path, made_database: Path) -> Any:
    """At batch size 4 trial 2 has won before 0, and at 16 trial 1; the rest was capped."""
    (folder / "batchfront.db").write_bytes(made_database.read_bytes())
    storage = open_storage(URL)
    planned(storage, trials=3)
    end(storage, B4, {0: reached(50), 1: CAPPED, 2: reached(40)})
    end(storage, B16, {0: CAPPED, 1: reached(20), 2: CAPPED})
    yield storage
    storage.close()


@pytest.fixture
def confirmed(searched: Any, batchfront: Run) -> Any:
    """Each run again with three seeds: the runner-up at 4 is better, and at 16 one is missing."""
    assert batchfront("confirm", NAME, "--plan-only", "--seeds", "3").code == 0
    steps = dict(enumerate(map(reached, (44, 41, 71, 42, 43, 45))))
    end(searched, f"{B4}/confirm", steps)
    missed = {**dict.fromkeys(range(3), reached(1030)), 2: CAPPED}
    end(searched, f"{B16}/confirm", missed)
    return searched


def test_studies_can_be_planned_alone_for_other_workers(searched: Any, batchfront: Run) -> None:
    planned = batchfront("confirm", NAME, "--plan-only", "--seeds", "3")
    assert planned.code == 0
    assert planned.out == f"{B4}/confirm: 6 trials, 6 new\n{B16}/confirm: 3 trials, 3 new\n"
    again = batchfront("confirm", NAME, "--plan-only", "--seeds", "3", "--batch-sizes", "16")
    assert again.out == f"{B16}/confirm: 3 trials, 0 new\n"
    rule = batchfront("confirm", NAME, "--plan-only", "--rule", "square-root", "--seeds", "2")
    assert f"{B16}/square-root: 2 trials, 2 new\n" in rule.out
    assert f"{B4}/confirm" in batchfront("status").out


def test_that_a_winner_is_lucky_is_said_until_it_has_run_again(
    searched: Any, batchfront: Run
) -> None:
    lucky = "The winner is the luckiest of 3 trials"
    recipe = ("recipe", NAME, "--batch-size", "16")
    assert lucky in batchfront(*recipe).out
    assert batchfront("confirm", NAME, "--plan-only", "--seeds", "3").code == 0
    assert lucky in batchfront(*recipe).out
    end(searched, f"{B16}/confirm", dict.fromkeys(range(3), reached(30)))
    assert lucky not in batchfront(*recipe).out


def test_the_median_and_range_stand_beside_the_single_best(confirmed: Any, batchfront: Run) -> None:
    shown = batchfront("confirm", NAME, "--seeds", "3")
    assert shown.code == 0, shown.err
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["4", "2", "40", "3", "44", "41..71", "1.10"] in lines
    assert ["4", "0", "50", "3", "43", "42..45", "0.86", "smallest", "median"] in lines
    range_ = ["1,030..not", "reached", "51.50", "1", "not", "reached"]
    assert ["16", "1", "20", "3", "1,030", *range_] in lines
    assert (
        "A runner-up has a smaller median than the winner at batch size 4 (trial 0)." in shown.out
    )


def test_json_and_csv_say_the_same_as_the_table(confirmed: Any, batchfront: Run) -> None:
    shown = json.loads(batchfront("confirm", NAME, "--seeds", "3", "--format", "json").out)
    assert (shown["workload"], shown["goal"]["value"]) == (NAME, 0.1)
    first, second = shown["points"]
    assert (first["batch_size"], first["smallest_median"]) == (4, 0)
    assert [c["steps"] for c in first["candidates"]] == [[41, 44, 71], [42, 43, 45]]
    (only,) = second["candidates"]
    assert (only["median"], only["low"], only["high"], only["unreached"]) == (1030, 1030, None, 1)
    out = batchfront("confirm", NAME, "--seeds", "3", "--format", "csv").out
    rows = list(csv.DictReader(io.StringIO(out)))
    candidates = [c for point in shown["points"] for c in point["candidates"]]
    assert [float(row["median"]) for row in rows] == [c["median"] for c in candidates]
    assert [row["steps"] for row in rows] == ["41 44 71", "42 43 45", "1030 1030"]
    assert [float(row["momentum"]) for row in rows] == [c["params"]["momentum"] for c in candidates]


def test_a_rule_is_shown_beside_what_was_tuned(confirmed: Any, batchfront: Run) -> None:
    rule = ("--rule", "linear", "--seeds", "2")
    assert batchfront("confirm", NAME, *rule, "--plan-only").code == 0
    end(confirmed, f"{B4}/linear", {0: reached(44), 1: reached(46)})
    end(confirmed, f"{B16}/linear", {0: reached(30), 1: CAPPED})
    shown = json.loads(batchfront("confirm", NAME, *rule, "--format", "json").out)
    assert shown["rule"] == "linear"
    first, second = shown["points"]
    assert (first["tuned"], first["tuned_median"], first["median"], first["ratio"]) == (
        40, 43, 45, 45 / 40,
    )  # fmt: skip
    assert second["learning_rate"] == pytest.approx(4 * first["learning_rate"])
    assert (second["tuned"], second["median"], second["ratio"]) == (20, None, None)
    table = batchfront("confirm", NAME, *rule)
    assert table.code == 0
    rate = f"{first['learning_rate']:.3g}"
    assert ["4", rate, "40", "43", "2", "45", "44..46", "1.12"] in [
        line.split() for line in table.out.splitlines()
    ]
    assert "those of a schedule too" in table.out
    rows = list(
        csv.DictReader(io.StringIO(batchfront("confirm", NAME, *rule, "--format", "csv").out))
    )
    assert [row["tuned"] for row in rows] == ["40", "20"]


def test_what_cannot_be_is_refused(searched: Any, batchfront: Run) -> None:
    refused(batchfront("confirm", "not/there/sgd"), "no studies of 'not/there/sgd'")
    for option, number in (("--seeds", "0"), ("--seeds", "100000"), ("--candidates", "0")):
        wrong = f"'{option}': {number} is not in the range"
        refused(batchfront("confirm", NAME, option, number), wrong)
    refused(batchfront("confirm", NAME, "--batch-sizes", "8"), "no study of it; there are: 4, 16")
    refused(batchfront("confirm", NAME, "--rule", "cubic"), "'cubic' is not one of")
    both = ("--rule", "linear", "--candidates", "2")
    refused(batchfront("confirm", NAME, *both), "--candidates 2: a rule has one")


@pytest.mark.slow
def test_winners_are_run_again_here_and_at_a_second_time_nothing_is(
    batchfront: Run, workload_file: Write
) -> None:
    name, spec = "blobs/linear/momentum", workload_file()
    assert batchfront("run", spec, "--trials", "4", "--workers", "1").code == 0
    told = ("--seeds", "3", "--candidates", "1", "--workers", "1", "--format", "json")
    first = batchfront("confirm", name, *told)
    assert first.code == 0, first.err
    points = json.loads(first.out)["points"]
    assert [point["batch_size"] for point in points] == [2, 8]
    for point in points:
        (winner,) = point["candidates"]
        assert len(winner["steps"]) + winner["unreached"] == 3
        assert (winner["open"], winner["failed"]) == (0, 0)
    assert f"{name}/b8/confirm" in first.err  # its progress
    again = batchfront("confirm", name, *told)
    assert (again.out, again.err) == (first.out, "")
    assert batchfront("run", spec, "--workers", "1").code == 0


def test_plan_extend_says_what_it_widens_and_what_it_cannot(
    batchfront: Run, workload_file: Write
) -> None:
    name = "blobs/linear/momentum"
    spec = workload_file()
    assert batchfront("plan", spec, "--trials", "12").code == 0
    storage = open_storage(URL)
    _at_an_edge(storage, f"{name}/b2", {"learning_rate": 0.99, "momentum": 0.001})
    _at_an_edge(storage, f"{name}/b8", {"learning_rate": 0.1, "momentum": 0.5})
    storage.close()
    extended = batchfront("plan", spec, "--extend")
    assert extended.code == 0, extended.err
    assert extended.out.splitlines()[2:] == [
        f"{name}/b2: learning_rate Log(0.01, 1) is Log(0.01, 10) now",
        f"{name}/b2: momentum can't go lower than it does",
        f"{name}/b2: 18 trials, 6 new",
    ]
    assert "0 new" in batchfront("plan", spec).out
    alone = batchfront("plan", spec, "--extend", "--batch-sizes", "8")
    assert alone.out == f"{name}/b8: 12 trials, 0 new\n"
    assert "No winner lies at an edge of its search space." in alone.err


def _at_an_edge(storage: Any, name: str, params: dict[str, float]) -> None:
    """Trial 0 wins, and these are its metaparameters."""
    mine = (slots.c.study_id == stored(storage, name).id, slots.c.number == 0)
    with storage.write() as conn:
        conn.execute(update(slots).where(*mine).values(params=json.dumps(params)))
    end(storage, name, {0: reached(40)})
