"""What an export says is checked before any of it is stored; what can't be is refused in a line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from batchfront.errors import DataError
from batchfront.exchange.export import export
from batchfront.exchange.restore import check_export
from batchfront.exchange.tables import MANIFEST, SCHEMAS
from batchfront.outcomes import Evaluation, TrialResult
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.url import open_storage
from batchfront.study.study import Filter
from tests.searches import worker
from tests.toy import SPEC, clouds

Damage = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of two studies, one of which has run a trial."""
    folder = tmp_path_factory.mktemp("made")
    storage = open_storage(f"sqlite:///{folder}/made.db", create=True)
    plan(storage, SPEC, clouds(), SearchOptions(trials=2, batch_sizes=(4, 16)))
    ledger = worker(storage, "one")
    claimed = ledger.claim(Filter((), (4,)), lambda _: 1)
    assert claimed is not None
    started = ledger.start(*claimed, claimed[0].space, {"torch": "2"})
    shown = (Evaluation(1, 0.9, 0.5), Evaluation(40, 0.1, 0.05))
    reached = TrialResult("reached", "", 40, shown, 40, 39, 0.05, 40)  # type: ignore[arg-type]
    ledger.finish(claimed[0], [(started[0], reached)])
    export(storage, (), folder / "export", "parquet", lambda _: None)
    storage.close()
    return folder / "export"


def damaged(made: Path, folder: Path, table: str, row: int, damage: Damage) -> Path:
    """A copy of an export in which one row of a table is another; a copy of it for each `again`."""
    folder.mkdir()
    for name in SCHEMAS:
        rows = parquet.read_table(made / f"{name}.parquet").to_pylist()
        if name == table:
            damage(rows[row])
            rows[row + 1 : row + 1] = [dict(rows[row])] * rows[row].pop("again", 0)
        written = pa.Table.from_pylist(rows, SCHEMAS[name])
        parquet.write_table(written, folder / f"{name}.parquet")
    about = json.loads((made / MANIFEST).read_text())
    about["rows"][table] = len(parquet.read_table(folder / f"{table}.parquet"))
    (folder / MANIFEST).write_text(json.dumps(about))
    return folder


def sets(**values: Any) -> Damage:
    return lambda row: row.update(values)


def sets_in(column: str, **values: Any) -> Damage:
    """Other entries of a column of JSON."""
    return lambda row: row.update({column: json.dumps({**json.loads(row[column]), **values})})


DEEP = '{"a":' * 2_000 + "1" + "}" * 2_000

STUDIES = {
    "an identity without anything": (sets(identity="{}"), "identity: its identity's step_budget"),
    "an identity without a goal": (sets_in("identity", goal=None), "identity: .* no goal"),
    "a goal that isn't finite": (
        sets_in("identity", goal={"metric": "m", "better": "lower", "value": 1e999}),
        "identity: its goal's value is inf",
    ),
    "another space": (sets_in("identity", search_space={"lr": {"kind": "X"}}), "identity: .*space"),
    "deep JSON": (sets(identity=DEEP), "identity: .* more than 100 levels deep"),
    "a key twice": (sets(identity='{"goal": 1, "goal": 2}'), "identity: the key 'goal' .* twice"),
    "no JSON": (sets(identity="{"), "identity: "),
    "extensions": (sets(extensions="[1]"), "extensions: "),
    "a long name": (sets(name="a/" + "b" * 600), "name: has 602 characters, more than 512"),
    "a name with NUL": (sets(name="clouds/mlp/momentum/\0"), "name: is .* with a NUL character"),
    "another workload's name": (sets(name="other/b4"), "name: .* begin with its workload"),
    "no name": (sets(name=None), "name: is empty"),
    "a batch size of 0": (sets(batch_size=0), "identity: its batch size is 0"),
    "trials below 0": (sets(trials=-1), "identity: its trials is -1"),
    "a large number": (sets(trials=2**40), "trials: is 1099511627776, beyond 2147483647"),
    "a time that isn't finite": (sets(created_at=float("nan")), "created_at: is nan"),
    "a sampler": (sets(sampler="magic"), "identity: its sampler is 'magic'"),
    "twice": (sets(again=1), "name: 'clouds/mlp/momentum/b4' stands twice"),
    "attributes": (sets(optuna="[]"), "optuna: must be an object of attributes and settings"),
    "no mark": (sets(optuna='{"attributes": {}, "settings": {}}'), "optuna: .* lack 'batchfront'"),
}


def sets_trial(**values: Any) -> Damage:
    return sets_in("optuna", **values)


TRIALS = {
    "an outcome": (sets(outcome="won"), "outcome: 'won' must be one of reached"),
    "a state": (sets(state="leased"), "state: 'leased', which no trial of an export is"),
    "no outcome": (sets(outcome=None), "outcome: None of a trial that is done"),
    "no steps to target": (sets(steps_to_target=None), "steps_to_target: is empty"),
    "steps below 0": (sets(steps_to_target=-5), "steps_to_target: -5"),
    "infinite steps": (sets(steps_to_target=float("inf")), "steps_to_target: is inf"),
    "steps in disorder": (sets(steps_lower=50), "steps_lower: 50.* lies beyond steps_to_target"),
    "a metric": (sets(metric=float("inf")), "metric: is inf, and no finite number"),
    "seconds below 0": (sets(training_seconds=-1.0), "training_seconds: -1.0"),
    "metaparameters": (sets(params='{"learning_rate": 1e999}'), "params: "),
    "one beyond its scale": (
        sets(params='{"learning_rate": -1}'),
        "params: its learning_rate is -1",
    ),
    "deep ones": (sets(params=DEEP), "params: .* levels deep"),
    "versions": (sets(versions="[]"), "versions: "),
    "a number twice": (sets(again=1), "number: trial 0 stands twice"),
    "a NUL": (sets(reason="a\0b"), "reason: is .* with a NUL character"),
    "Optuna's state": (sets_trial(state="DONE"), "optuna: state is 'DONE', not RUNNING"),
    "Optuna's time": (sets_trial(started="noon"), "optuna: started is 'noon', and no time"),
    "Optuna's values": (sets_trial(values=[[0, "x", "FINITE"]]), "optuna: values: value is 'x'"),
    "an attribute": (sets_trial(attributes=[["x", "{"]]), "optuna: attribute 'x' is no JSON"),
    "twice an attribute": (sets_trial(attributes=[["x", "1"]] * 2), "optuna: .* key stands twice"),
    "a parameter": (sets_trial(params=[["x", 1.0, "{}"]]), "optuna: parameter 'x' is none"),
    "no part": (sets(optuna="{}"), "optuna: must be an object of"),
}

MEASUREMENTS = {
    "no such trial": (sets(number=7), "number: 7 is no trial"),
    "a step below 0": (sets(step=-1), "step: -1 must be"),
    "a split": (sets(split="nowhere"), "split: 'nowhere' must be one of train"),
    "a metric": (sets(metric=""), "metric: '' must be a name"),
    "a long metric": (sets(metric="m" * 65), "metric: .* 1 to 64"),
    "a value": (sets(value=float("-inf")), "value: -inf must be a finite number"),
    "twice": (sets(again=1), "number, step, split, metric: one stands twice"),
}

CASES = {
    f"{table}: {what}": (table, *case)
    for table, cases in (("studies", STUDIES), ("trials", TRIALS), ("measurements", MEASUREMENTS))
    for what, case in cases.items()
}


@pytest.mark.parametrize(("table", "damage", "says"), CASES.values(), ids=CASES)
def test_what_cannot_be_is_refused_by_file_row_and_column(
    made: Path, tmp_path: Path, table: str, damage: Damage, says: str
) -> None:
    # The second study, whose trial has run.
    row = {"studies": 1, "trials": 2, "measurements": 1}[table]
    folder = damaged(made, tmp_path / "damaged", table, row, damage)
    with pytest.raises(DataError, match=rf"{table}\.parquet, row \d+: {says}") as refused:
        check_export(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("table", ["studies", "trials", "measurements"])
def test_a_table_with_fewer_rows_than_it_had_is_refused(
    made: Path, tmp_path: Path, table: str
) -> None:
    folder = damaged(made, tmp_path / "damaged", table, 1, sets())
    about = json.loads((folder / MANIFEST).read_text())
    about["rows"][table] += 1
    (folder / MANIFEST).write_text(json.dumps(about))
    with pytest.raises(DataError, match=rf"{table}\.parquet: has \d rows, where export\.json says"):
        check_export(folder)


@pytest.mark.parametrize("text", ["[]", "{}", DEEP, '{"version": 1, "format": [], "rows": 1}'])
def test_a_manifest_that_says_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DataError, match=r"export\.json: (is damaged|was written by)"):
        check_export(tmp_path)
