"""A study that can't be read is named, with the command that removes it, and left out everywhere:
what any command says of the others is what it said before."""

import json
import math
import re
import shlex
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batchfront.frontier.dataframes import load_measurements_frame, load_trials_frame
from batchfront.store.url import Storage, open_storage
from batchfront.study.study import _warn
from batchfront.workload.search_space import Dimension, restore_space
from tests.batchfront.cli.conftest import Result
from tests.batchfront.frontier.analysis.studies import curve, ended, reached
from tests.batchfront.report.rows import GOAL, SPACE, add_study

GOOD = "good/net/momentum"


def _identity(**changed: Any) -> str:
    whole = {"batch_size": 8, "step_budget": 10_000, "goal": GOAL, "search_space": SPACE}
    return json.dumps({**whole, **changed})


def _rate(**dimension: Any) -> str:
    return _identity(search_space={**SPACE, "learning_rate": dimension})


STUDY = {
    "identity-not-json": ("identity", "{"),
    "identity-empty": ("identity", "{}"),
    "identity-a-list": ("identity", "[1]"),
    "identity-a-blob": ("identity", b"\xff\x00"),
    "identity-deep": ("identity", "[" * 100_000),
    "goal-without-metric": ("identity", _identity(goal={"better": "lower", "value": 1})),
    "goal-better-odd": ("identity", _identity(goal={**GOAL, "better": "sideways"})),
    "goal-a-text": ("identity", _identity(goal={**GOAL, "value": "low"})),
    "goal-nan": ("identity", _identity(goal={**GOAL, "value": float("nan")})),
    "goal-a-number": ("identity", _identity(goal=3)),
    "space-a-list": ("identity", _identity(search_space=[1])),
    "space-of-an-unknown-kind": ("identity", _rate(kind="Cubic", low=1, high=2)),
    "space-upside-down": ("identity", _rate(kind="Log", low=2, high=1)),
    "space-of-text": ("identity", _rate(kind="Log", low="a", high="b")),
    "space-of-nan": ("identity", _rate(kind="Linear", low=float("nan"), high=1)),
    "space-endless": ("identity", _rate(kind="Linear", low=0, high=float("inf"))),
    "space-too-wide-for-floats": ("identity", _rate(kind="Linear", low=0, high=10**400)),
    "space-of-endless-integers": ("identity", _rate(kind="Integer", low=1, high=1e308, log=True)),
    "space-with-no-number": ("identity", _rate(kind="Choice", values=[1, math.nan, 2])),
    "space-of-lists": ("identity", _identity(search_space={**SPACE, "x": [1]})),
    "budget-negative": ("identity", _identity(step_budget=-1)),
    "budget-a-text": ("identity", _identity(step_budget="many")),
    "other-batch-size": ("identity", _identity(batch_size=9)),
    "code-a-number": ("identity", _identity(code=7)),
    "search-a-list": ("identity", _identity(search=[])),
    "program-without-a-command": ("identity", _identity(kind="program", output={"kind": "json"})),
    "program-without-output": ("identity", _identity(kind="program", command=["train"])),
    "kind-odd": ("identity", _identity(kind="poem")),
    "batch-size-zero": ("batch_size", 0),
    "batch-size-huge": ("batch_size", 2**62),
    "batch-size-a-text": ("batch_size", "eight"),
    "sampler-unknown": ("sampler", "dice"),
    "schedule-unknown": ("schedule", "never"),
    "count-unknown": ("count", "some"),
    "purpose-unknown": ("purpose", "fun"),
    "seed-a-text": ("seed", "seed"),
    "trials-negative": ("trials", -4),
    "finishers-negative": ("finishers", -1),
    "examples-a-text": ("train_examples", "all"),
    "goal-value-endless": ("goal_value", float("inf")),
    "extensions-not-json": ("extensions", "{"),
    "extensions-odd": ("extensions", '[{"first": -1}]'),
    "extensions-unfinished": ("extensions", '[{"first": 2, "space": {}}]'),
    "checksums-not-json": ("checksums", "x"),
    "checksums-a-list": ("checksums", "[1]"),
}

TRIAL = {
    "outcome-unknown": ("outcome", "splendid"),
    "outcome-missing": ("outcome", None),
    "state-unknown": ("state", "asleep"),
    "steps-negative": ("steps", -5),
    "steps-huge": ("steps", 2**60),
    "steps-a-text": ("steps", "few"),
    "target-negative": ("steps_to_target", -3.0),
    "target-endless": ("steps_to_target", float("inf")),
    "target-a-text": ("steps_to_target", "soon"),
    "target-missing": ("steps_to_target", None),
    "lower-beyond": ("steps_lower", 1e6),
    "metric-endless": ("metric", float("-inf")),
    "metric-a-text": ("metric", "good"),
    "seconds-negative": ("training_seconds", -1.0),
    "seconds-huge": ("evaluation_seconds", 1e300),
    "micro-batch-zero": ("micro_batch", 0),
    "examples-negative": ("evaluated_examples", -1),
    "number-negative": ("number", -7),
    "params-not-json": ("params", "{'learning_rate'"),
    "params-a-list": ("params", "[0.1]"),
    "params-nan": ("params", '{"learning_rate": NaN}'),
    "params-negative": ("params", '{"learning_rate": -1.0}'),
    "params-a-text": ("params", '{"learning_rate": "fast"}'),
    "params-nested": ("params", '{"extra": {"a": 1}}'),
    "versions-not-json": ("versions", "torch"),
    "versions-nested": ("versions", '{"torch": [2]}'),
    "trial-gone": ("trial_id", 12345),
}

OPTUNA = {
    "deleted": "DELETE FROM studies WHERE study_name = :name",
    "id-another's": "UPDATE studies SET study_name = 'of-another-user' WHERE study_name = :name",
    "mark-gone": (
        "DELETE FROM study_user_attributes WHERE key = 'batchfront' AND study_id = "
        "(SELECT study_id FROM studies WHERE study_name = :name)"
    ),
}

DAMAGES = [*STUDY, *TRIAL, *OPTUNA]

COMMANDS = (
    "status",
    "status --format json",
    f"frontier {GOOD}",
    f"frontier {GOOD} --format csv",
    f"curve {GOOD}",
    f"analyze effect {GOOD} --metaparameter momentum",
    f"analyze goals {GOOD}",
    f"analyze budget {GOOD}",
    f"analyze outcomes {GOOD}",
    f"recipe {GOOD} --batch-size 8",
)


def _bad(kind: str) -> str:
    return f"zero/{kind}/momentum"


def _victim(kind: str) -> str:
    return f"{_bad(kind)}/b8"


def _damage(file: Path, kind: str) -> None:
    db = sqlite3.connect(file)
    if kind in OPTUNA:
        db.execute(OPTUNA[kind], {"name": _victim(kind)})
    elif kind in STUDY:
        column, value = STUDY[kind]
        db.execute(f"UPDATE bf_studies SET {column} = ? WHERE name = ?", (value, _victim(kind)))
    else:
        column, value = TRIAL[kind]
        victim = "(SELECT id FROM bf_studies WHERE name = ?)"
        first = f"UPDATE bf_slots SET {column} = ? WHERE number = 0 AND study_id = {victim}"
        db.execute(first, (value, _victim(kind)))
    db.commit()
    db.close()


def _add(storage: Storage, workload: str, batch_size: int) -> None:
    rate = {"params": {"learning_rate": 0.1, "momentum": 0.9}, "training_seconds": 1.0}
    steps = 1000 // batch_size + 10
    looks = curve((1, 0.9), (steps // 2, 0.5), (steps, 0.02))
    won = reached(steps, curve=looks, metric=0.02, **rate)
    lost = ended("capped", steps, curve=curve((1, 0.9), (steps, 0.1)), metric=0.1, **rate)
    add_study(storage, workload, batch_size, [won, lost, ended("diverged", 3, **rate)])


@pytest.fixture
def file(made_database: Path, folder: Path) -> Path:
    """A database with one workload."""
    made = Path(shutil.copy(made_database, folder / "trials.db"))
    storage = open_storage("sqlite:///trials.db")
    for batch_size in (4, 8, 16, 32):
        _add(storage, GOOD, batch_size)
    storage.close()
    return made


def _add_damaged(file: Path, kinds: Iterable[str]) -> None:
    storage = open_storage(f"sqlite:///{file}")
    for kind in kinds:
        _add(storage, _bad(kind), 8)
    storage.close()
    for kind in kinds:
        _damage(file, kind)


@pytest.fixture
def run(
    file: Path, batchfront: Callable[..., Result], caplog: pytest.LogCaptureFixture
) -> Callable[[str], Result]:
    """Runs a command on the database, as a process of its own would warn."""

    def one(line: str) -> Result:
        _warn.cache_clear()
        caplog.clear()
        done = batchfront(*shlex.split(line), "--storage", "sqlite:///trials.db")
        warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        return replace(done, err="".join(f"{line}\n" for line in warned) + done.err)

    return one


def _of_good(out: str) -> str:
    """What was printed, but for the time and the list of what is left out."""
    if not out.startswith("{"):
        return out
    found = json.loads(out)
    return json.dumps({k: v for k, v in found.items() if k not in ("at", "left_out")})


def test_damaged_studies_are_named_and_left_out_by_every_reader(
    run: Callable[[str], Result], file: Path
) -> None:
    before = {line: run(line) for line in COMMANDS}
    assert {(done.code, done.err) for done in before.values()} == {(0, "")}
    _add_damaged(file, DAMAGES)
    for line, was in before.items():
        done = run(line)
        assert (done.code, _of_good(done.out)) == (0, _of_good(was.out)), line
    left = json.loads(run("status --format json").out)["left_out"]
    assert sorted(one["study"] for one in left) == sorted(map(_victim, DAMAGES))
    said = [line for line in run("status").err.splitlines() if "is left out: " in line]
    assert len(said) == len(DAMAGES)
    for line in said:
        assert re.fullmatch(r"study (\S+) is left out: .+; `.+` removes it", line), line


def test_damaged_studies_are_left_out_of_exports_and_pages_which_say_so(
    run: Callable[[str], Result], file: Path, folder: Path
) -> None:
    _add_damaged(file, DAMAGES)
    assert run("export --output out").code == 0
    manifest = json.loads((folder / "out" / "export.json").read_text())
    assert manifest["rows"]["studies"] == 4
    assert len(manifest["left_out"]) == len(DAMAGES)
    assert run("report --output page.html").code == 0
    page = (folder / "page.html").read_text()
    for kind in {*STUDY, *TRIAL} - {"purpose-unknown"}:
        assert f"study {_victim(kind)} is left out" in page


@pytest.mark.parametrize("kind", ["identity-empty", "params-nan", "deleted", "id-another's"])
def test_a_workload_of_which_nothing_can_be_read_fails_in_one_line_that_says_why(
    run: Callable[[str], Result], file: Path, kind: str
) -> None:
    _add_damaged(file, [kind])
    for line in (f"frontier {_bad(kind)}", f"curve {_bad(kind)}", f"status {_bad(kind)}"):
        done = run(shlex.join(line.split(" ")))
        assert done.code == 1, done
        assert "unexpected" not in done.err
        assert f"study {_victim(kind)} is left out" in done.err.splitlines()[-1]


@pytest.mark.parametrize(
    "kind",
    [*OPTUNA, "identity-a-blob", "batch-size-a-text", "purpose-unknown", "number-negative"],
)
def test_the_command_that_is_advised_removes_a_damaged_study_and_nothing_else(
    run: Callable[[str], Result],
    batchfront: Callable[..., Result],
    file: Path,
    kind: str,
) -> None:
    _add_damaged(file, [kind])
    theirs = _optuna_rows(file, kind)
    (line,) = run("status").err.splitlines()
    advised = shlex.split(line.split("`")[1])
    assert advised[0] == "batchfront"
    done = batchfront(*advised[1:], "--yes")
    assert done.code == 0, done.err
    assert (run("status").err, json.loads(run("status --format json").out)["left_out"]) == ("", [])
    assert run(f"frontier {GOOD}").code == 0
    assert _optuna_rows(file, kind) == (theirs if kind in OPTUNA else [])
    with sqlite3.connect(file) as db:
        assert db.execute("SELECT count(*) FROM bf_slots").fetchone() == (12,)


def _optuna_rows(file: Path, kind: str) -> list[Any]:
    """Optuna's studies that aren't of the good workload."""
    with sqlite3.connect(file) as db:
        return db.execute(
            "SELECT * FROM studies WHERE study_name NOT LIKE ?", (f"{GOOD}%",)
        ).fetchall()


@pytest.mark.parametrize(("column", "value"), [("value", "high"), ("value", 9e999), ("step", -4)])
def test_learning_curves_of_nonsense_are_named_and_left_out_while_the_point_stands(
    run: Callable[[str], Result], file: Path, folder: Path, column: str, value: Any
) -> None:
    storage = open_storage("sqlite:///trials.db")
    _add(storage, "other/net/momentum", 8)
    storage.close()
    before = {line: run(line) for line in (*COMMANDS, "frontier other/net/momentum")}
    with sqlite3.connect(file) as db:
        last = "SELECT max(slot_id) FROM bf_measurements"
        db.execute(
            f"UPDATE bf_measurements SET {column} = ? WHERE slot_id = ({last}) AND step = 1 "
            "AND split = 'validation'",
            (value,),
        )
    db.close()
    for line, was in before.items():
        done = run(line)
        assert (done.code, _of_good(done.out)) == (0, _of_good(was.out)), line
    named = "the learning curves of study other/net/momentum/b8 are left out"
    for line in ("analyze goals other/net/momentum", "report --output page.html"):
        done = run(line)
        assert (done.code, named in done.err) == (0, True), done
    assert named in run("export --output out").err
    assert named in (folder / "out" / "export.json").read_text()
    assert load_measurements_frame("sqlite:///trials.db", "other/net/momentum").empty
    assert len(load_trials_frame("sqlite:///trials.db", "other/net/momentum")) == 3


UNUSUAL = {
    "an-endless-choice": {"kind": "Choice", "values": [1.0, math.inf, None, "none"]},
    "an-endless-limit": math.inf,
    "the-widest-range": {"kind": "Log", "low": 1e-300, "high": 1e300},
    "huge-integers": {"kind": "Integer", "low": 1, "high": 10**18, "log": True},
    "a-range-near-one": {"kind": "ReverseLog", "low": 0.0, "high": 1 - 1e-15},
    "both-signs": {"kind": "Linear", "low": -1e-300, "high": 1e-300},
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_what_is_unusual_and_can_be_planned_is_left_out_nowhere(
    run: Callable[[str], Result], file: Path, folder: Path, kind: str
) -> None:
    workload, entry = f"odd/{kind}/momentum", UNUSUAL[kind]
    storage = open_storage("sqlite:///trials.db")
    _add(storage, workload, 8)
    storage.close()
    found = restore_space({"clip": entry})["clip"]
    value = found.at(1.0) if isinstance(found, Dimension) else found
    identity = _identity(search_space={**SPACE, "clip": entry})
    params = json.dumps({"learning_rate": 0.1, "momentum": 0.9, "clip": value})
    with sqlite3.connect(file) as db:
        db.execute("UPDATE bf_studies SET identity = ? WHERE workload = ?", (identity, workload))
        mine = "study_id = (SELECT id FROM bf_studies WHERE workload = ?)"
        db.execute(f"UPDATE bf_slots SET params = ? WHERE {mine}", (params, workload))
    db.close()
    for line in ("status", f"frontier {workload}", "export --output out"):
        done = run(line)
        assert (done.code, done.err) == (0, ""), line
    assert run("report --output page.html").code == 0
    assert "is left out" not in (folder / "page.html").read_text()
