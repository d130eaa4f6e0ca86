"""A study that can't be read is named, with the command that removes it, and left out everywhere:
what any command says of the others is what it said before."""

import json
import logging
import re
import shlex
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner

from batchfront.cli.main import cli
from batchfront.errors import BatchfrontError
from batchfront.frontier.dataframes import load_measurements_frame, load_trials_frame
from batchfront.store.url import open_storage
from tests.batchfront.frontier.analysis.studies import curve, ended, reached
from tests.batchfront.report.rows import GOAL, SPACE, add_study

GOOD, BAD = "good/net/momentum", "zero/net/momentum"
VICTIM = f"{BAD}/b8"


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
    "space-of-lists": ("identity", _identity(search_space={**SPACE, "x": [1]})),
    "budget-negative": ("identity", _identity(step_budget=-1)),
    "budget-a-text": ("identity", _identity(step_budget="many")),
    "other-batch-size": ("identity", _identity(batch_size=9)),
    "code-a-number": ("identity", _identity(code=7)),
    "search-a-list": ("identity", _identity(search=[])),
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
    f"analyze effect {GOOD} momentum",
    f"analyze goals {GOOD}",
    f"analyze budget {GOOD}",
    f"recipe {GOOD} --batch-size 8",
)


def _damage(file: Path, kind: str) -> None:
    db = sqlite3.connect(file)
    if kind in OPTUNA:
        db.execute(OPTUNA[kind], {"name": VICTIM})
    elif kind in STUDY:
        column, value = STUDY[kind]
        db.execute(f"UPDATE bf_studies SET {column} = ? WHERE name = ?", (value, VICTIM))
    else:
        column, value = TRIAL[kind]
        victim = "(SELECT id FROM bf_studies WHERE name = ?)"
        first = f"UPDATE bf_slots SET {column} = ? WHERE number = 0 AND study_id = {victim}"
        db.execute(first, (value, VICTIM))
    db.commit()
    db.close()


@pytest.fixture(scope="module")
def whole(made_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two workloads, of which the second is to be damaged."""
    file = tmp_path_factory.mktemp("whole") / "trials.db"
    shutil.copy(made_database, file)
    storage = open_storage(f"sqlite:///{file}")
    rate = {"params": {"learning_rate": 0.1, "momentum": 0.9}, "training_seconds": 1.0}
    for workload in (GOOD, BAD):
        for batch_size in (4, 8, 16, 32) if workload == GOOD else (8,):
            steps = 1000 // batch_size + 10
            looks = curve((1, 0.9), (steps // 2, 0.5), (steps, 0.02))
            won = reached(steps, curve=looks, metric=0.02, **rate)
            lost = ended("capped", steps, curve=curve((1, 0.9), (steps, 0.1)), metric=0.1, **rate)
            add_study(storage, workload, batch_size, [won, lost, ended("diverged", 3, **rate)])
    storage.close()
    return file


@pytest.fixture
def file(whole: Path, folder: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copy(whole, folder / "trials.db"))


@pytest.fixture
def run(file: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., Any]:
    """Runs a command on the file; its exit code, what it printed, and what it warned of."""

    def one(line: str) -> tuple[Any, str, str]:
        caplog.clear()
        given = ["--storage", f"sqlite:///{file}"]
        done = CliRunner().invoke(cli, [*shlex.split(line), *given])
        code = error.exit_code if isinstance(error := done.exception, BatchfrontError) else None
        if done.exception and code is None and not isinstance(done.exception, SystemExit):
            raise done.exception
        warned = "\n".join(r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING)
        return code or done.exit_code, done.stdout, f"{warned}\n{done.exception or ''}"

    return one


def _without_victim(out: str) -> str:
    """What was printed of the good one; a time and what is left out are no part of it."""
    if out.startswith("{"):
        found = json.loads(out)
        found.pop("left_out"), found.pop("at")
        found["studies"] = [one for one in found["studies"] if one["name"] != VICTIM]
        return json.dumps(found)
    lines = [line for line in out.splitlines() if BAD not in line and "trials done" not in line]
    return re.sub(r" +|─+|┼", " ", "\n".join(lines))


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    return {}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_study_is_named_and_left_out_by_every_reader(
    run: Callable[..., Any], file: Path, kind: str, before: dict[str, str], folder: Path
) -> None:
    if not before:
        for line in COMMANDS:
            code, out, warned = run(line)
            assert code == 0 and "left out" not in warned, (line, warned)
            before[line] = out
    _damage(file, kind)
    for line in COMMANDS:
        code, out, warned = run(line)
        assert code == 0, (line, warned)
        assert _without_victim(out) == _without_victim(before[line])
        if GOOD not in line:
            assert VICTIM not in _without_victim(out)
        if line == "status --format json":
            (left,) = json.loads(out)["left_out"]
            assert left["study"] == VICTIM and left["why"]
    code, _, warned = run("export --output out")
    assert code == 0
    manifest = json.loads((folder / "out" / "export.json").read_text())
    assert manifest["rows"]["studies"] == 4
    assert VICTIM in manifest["left_out"][0]
    code, _, warned = run(f"frontier {BAD}")
    assert code == (2 if kind == "purpose-unknown" else 1)
    code, out, warned = run(f"report --output {folder / 'page.html'}")
    assert code == 0
    page = (folder / "page.html").read_text()
    assert GOOD in page
    assert page.count(VICTIM) == 1
