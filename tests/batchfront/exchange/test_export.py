"""What is exported and imported is what it was: in another database, and of another kind."""

import csv as plain_csv
import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from sqlalchemy import select, update

from batchfront.errors import DataError, IdentityError, UsageError
from batchfront.exchange.export import export
from batchfront.exchange.points import import_points
from batchfront.exchange.points_file import read_points
from batchfront.exchange.restore import check_export, restore
from batchfront.exchange.tables import SCHEMAS
from batchfront.frontier.frontier import load_frontiers
from batchfront.frontier.queries import load_trials
from batchfront.outcomes import Evaluation, TrialResult
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import slots, studies
from batchfront.store.url import Storage, open_storage
from batchfront.study.study import Filter
from tests.batchfront.test_table import FORMULAS, HARMLESS
from tests.reading import load_curves
from tests.searches import worker
from tests.toy import POISONED, SPEC, clouds, poisoned

WORST = 5e-324  # the smallest number above 0
LOOKS = (Evaluation(1, math.inf, 0.1 + 0.2), Evaluation(32, math.nan, WORST))


def ending(outcome: str, metric: float, **more: Any) -> TrialResult:
    reason = 'é "said", 1\n  File "x.py", line 2\n\ttab 日本 \\N \r\n'
    return TrialResult(outcome, reason, 40, LOOKS, metric=metric, metric_step=40, **more)  # type: ignore[arg-type]


ENDINGS = (
    ending("reached", 1 / 3, steps_to_target=40, steps_lower=39, test_metric=0.1),
    ending("diverged", math.nan),
    ending("exhausted", math.inf),
    TrialResult("failed", "", 0),
    ending("capped", -0.0, micro_batch=2),
)


@pytest.fixture
def filled(storage: Storage, tmp_path: Path) -> Storage:
    """Studies of three workloads: done, held and free trials, an adaptive sampler, and points."""
    plan(storage, SPEC, clouds(), SearchOptions(trials=8, batch_sizes=(4, 16)))
    plan(storage, POISONED, poisoned(), SearchOptions(trials=3, batch_sizes=(4,), sampler="tpe"))
    ledger = worker(storage, "worker-é")
    claimed = ledger.claim(Filter(("clouds/mlp/momentum",)), lambda _: len(ENDINGS) + 1)
    assert claimed is not None
    study, taken = claimed
    ours = ledger.start(study, taken, study.space, {"torch": "2", "source": "é"})
    assert ledger.finish(study, list(zip(ours[:-1], ENDINGS, strict=True))) == []
    with storage.write() as conn:
        conn.execute(update(slots).where(slots.c.id == ours[-1].id).values(steps=30, deaths=2))
    points = tmp_path / "points.csv"
    points.write_text("workload,batch_size,steps,goal\nnet/π/sgd,8,30,75 %\nnet/π/sgd,8,inf,75 %\n")
    import_points(storage, read_points(points))
    return storage


def written(storage: Storage, folder: Path, format_: str, *workloads: str) -> Path:
    export(storage, workloads, folder, format_, lambda _: None)
    return folder


def tables(folder: Path, format_: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of each table; what is JSON as what it says, in which -0.0, that SQLite doesn't
    keep, is 0.0."""
    found = _tables(folder, format_)
    for row in (*found["studies"], *found["trials"]):
        row["optuna"] = row["optuna"] and json.loads(row["optuna"])
    return found


def _tables(folder: Path, format_: str) -> dict[str, list[dict[str, Any]]]:
    found = {}
    for name, wanted in SCHEMAS.items():
        path = folder / f"{name}.{format_}"
        if format_ == "parquet":
            found[name] = parquet.read_table(path).to_pylist()
            continue
        options = csv.ConvertOptions(
            column_types=wanted, strings_can_be_null=True, quoted_strings_can_be_null=False
        )
        parse = csv.ParseOptions(newlines_in_values=True)
        found[name] = csv.read_csv(path, None, parse, options).to_pylist()
    return found


def without_code(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The tables as they are after an import, which takes nobody's word for what is to be run."""
    return {**found, "studies": [{**row, "spec": ""} for row in found["studies"]]}


def optunas(storage: Storage) -> dict[str, Any]:
    """All that Optuna's own API says of all studies, but for ids."""
    rdb = optuna.storages.RDBStorage(storage.url.render_as_string(hide_password=False))
    found: dict[str, Any] = {}
    for study in rdb.get_all_studies():
        trials = []
        for trial in sorted(rdb.get_all_trials(study._study_id), key=lambda t: t.number):
            kept = {k: v for k, v in vars(trial).items() if k != "_trial_id"}
            trials.append({k: _in_order(v) for k, v in kept.items()})
        about = (study.direction, study.user_attrs, study.system_attrs)
        found[study.study_name] = (*about, trials)
    rdb.engine.dispose()
    return found


def _in_order(value: Any) -> Any:
    """A dictionary as text, in which a NaN is equal to itself, and -0.0 is 0.0."""
    if not isinstance(value, dict):
        return value
    return repr(sorted((k, v + 0.0 if isinstance(v, float) else v) for k, v in value.items()))


def seen(storage: Storage) -> dict[str, Any]:
    """What batchfront itself says of all studies: points, trials that are done, and curves."""
    found = {}
    for point in (point for frontier in load_frontiers(storage) for point in frontier.points):
        done = [t for t in load_trials(storage, point.study.id) if t.outcome]
        curves = load_curves(storage, point.study.id)
        found[point.study.name] = point.to_dict(), done, {n: set(c) for n, c in curves.items()}
    return found


@pytest.fixture
def other(empty_database: str) -> Iterator[Storage]:
    """A database of the other kind or of the same, with nothing in it."""
    opened = open_storage(empty_database, create=True)
    yield opened
    opened.close()


KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]


@pytest.mark.parametrize("format_", ["parquet", "csv"])
@pytest.mark.parametrize("empty_database", KINDS, indirect=True)
@pytest.mark.parametrize("database", KINDS, indirect=True)
def test_an_export_imported_is_the_same_database(
    filled: Storage, other: Storage, tmp_path: Path, format_: str
) -> None:
    first = written(filled, tmp_path / "first", format_)
    results = list(restore(other, first))
    assert [(r.name, r.made) for r in results] == [
        ("clouds/mlp/momentum/b16", True),
        ("clouds/mlp/momentum/b4", True),
        ("clouds/poisoned/momentum/b4", True),
        ("net/π/sgd/b8", True),
    ]
    again = written(other, tmp_path / "again", format_)
    assert tables(again, format_) == without_code(tables(first, format_))
    assert optunas(other) == optunas(filled)
    assert seen(other) == seen(filled)


@pytest.mark.every_storage
def test_what_is_not_done_comes_back_free_and_no_worker_runs_it(
    filled: Storage, tmp_path: Path
) -> None:
    folder = written(filled, tmp_path / "out", "parquet")
    other = open_storage(f"sqlite:///{tmp_path}/other.db", create=True)
    list(restore(other, folder))
    with other.read() as conn:
        rows = conn.execute(select(slots).where(slots.c.state != "done")).all()
    assert {(r.state, r.worker_id, r.steps, r.attempts, r.deaths) for r in rows} == {
        ("free", None, 0, 0, 0)
    }
    assert worker(other, "another").claim(Filter(), lambda _: 10) is None
    other.close()


def test_numbers_and_texts_are_exact_in_csv_too(filled: Storage, tmp_path: Path) -> None:
    out = written(filled, tmp_path / "out", "csv")
    same = written(filled, tmp_path / "same", "parquet")
    assert tables(out, "csv") == tables(same, "parquet")
    trials = tables(out, "csv")["trials"]
    reached = next(t for t in trials if t["outcome"] == "reached")
    assert reached["metric"] == 1 / 3
    assert reached["reason"] == ENDINGS[0].reason
    failed = next(t for t in trials if t["outcome"] == "failed")
    assert (failed["reason"], failed["metric"]) == ("", None)
    values = {m["value"] for m in tables(out, "csv")["measurements"]}
    assert {None, 0.1 + 0.2, WORST} <= values


def test_only_the_workloads_asked_for_are_exported(filled: Storage, tmp_path: Path) -> None:
    found = tables(written(filled, tmp_path / "out", "parquet", "net/π/sgd"), "parquet")
    assert [row["name"] for row in found["studies"]] == ["net/π/sgd/b8"]
    assert {row["study"] for row in found["trials"]} == {"net/π/sgd/b8"}
    (point,) = found["frontier"]
    assert (point["workload"], point["steps"], point["trials"]) == ("net/π/sgd", None, 2)


def test_the_same_import_again_changes_nothing(filled: Storage, tmp_path: Path) -> None:
    folder = written(filled, tmp_path / "out", "parquet")
    assert {result.made for result in restore(filled, folder)} == {False}
    assert len(optunas(filled)) == 4


def test_an_interrupted_import_goes_on_where_it_was(filled: Storage, tmp_path: Path) -> None:
    folder = written(filled, tmp_path / "out", "csv")
    other = open_storage(f"sqlite:///{tmp_path}/other.db", create=True)
    going = restore(other, folder)
    next(going), next(going)
    del going
    assert [result.made for result in restore(other, folder)] == [False, False, True, True]
    assert optunas(other) == optunas(filled)
    other.close()


def test_a_study_with_other_content_is_refused(filled: Storage, tmp_path: Path) -> None:
    folder = written(filled, tmp_path / "out", "parquet")
    with filled.write() as conn:
        conn.execute(update(studies).where(studies.c.batch_size == 16).values(trials=9))
    with pytest.raises(IdentityError, match="momentum/b16 is in this database with other content"):
        list(restore(filled, folder))


def test_a_batch_size_of_a_workload_defined_otherwise_is_refused(
    filled: Storage, storage: Storage, tmp_path: Path
) -> None:
    folder = written(filled, tmp_path / "out", "parquet")
    other = open_storage(f"sqlite:///{tmp_path}/other.db", create=True)
    plan(other, SPEC, clouds(), SearchOptions(trials=1, batch_sizes=(8,), goal=0.3))
    with pytest.raises(IdentityError, match=r"goal\.value was 0\.3, is 0\.1"):
        list(restore(other, folder))
    other.close()


def cut(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-40])


def without(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def no_column(folder: Path) -> None:
    table = parquet.read_table(folder / "trials.parquet").drop_columns(["reason"])
    parquet.write_table(table, folder / "trials.parquet")


def unordered(folder: Path) -> None:
    table = parquet.read_table(folder / "trials.parquet")
    swapped = pa.concat_tables([table.slice(8), table.slice(0, 8)])
    parquet.write_table(swapped, folder / "trials.parquet")


def other_version(folder: Path) -> None:
    about = json.loads((folder / "export.json").read_text())
    (folder / "export.json").write_text(json.dumps({**about, "version": 99}))


DAMAGE = {
    "not whole": (without("export.json"), r"export\.json: is missing, so .* holds no whole export"),
    "no trials": (without("trials.parquet"), r"trials\.parquet: is missing"),
    "cut off": (cut("measurements.parquet"), r"measurements\.parquet: "),
    "bad JSON": (cut("export.json"), r"export\.json: is damaged"),
    "no column": (no_column, r"trials\.parquet: lacks the column reason"),
    "out of order": (unordered, r"studies\.parquet, row 1: trials: .* out of place"),
    "another version": (other_version, r"export\.json: was written by batchfront"),
}


@pytest.mark.parametrize(("damage", "says"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_export_is_refused_with_its_file(
    filled: Storage, tmp_path: Path, damage: Callable[[Path], object], says: str
) -> None:
    folder = written(filled, tmp_path / "out", "parquet")
    damage(folder)
    with pytest.raises(DataError, match=says) as refused:
        check_export(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("format_", "table", "column"),
    [
        ("parquet", "studies", "precision"),
        ("csv", "studies", "precision"),
        ("parquet", "trials", "seed"),
    ],
)
def test_an_export_from_before_a_column_was_there_is_imported(
    filled: Storage, tmp_path: Path, format_: str, table: str, column: str
) -> None:
    folder = written(filled, tmp_path / "export", format_)
    path = folder / f"{table}.{format_}"
    if format_ == "parquet":
        parquet.write_table(parquet.read_table(path).drop_columns([column]), path)
    else:
        csv.write_csv(csv.read_csv(path).drop_columns([column]), path)
    other = open_storage(f"sqlite:///{tmp_path}/other.db", create=True)
    assert all(found.made for found in restore(other, folder))
    again = written(other, tmp_path / "again", format_)
    before = without_code(tables(written(filled, folder, format_), format_))
    assert tables(again, format_)["studies"] == before["studies"]
    other.close()


def test_an_earlier_export_is_replaced_and_nothing_else(filled: Storage, tmp_path: Path) -> None:
    folder = written(filled, tmp_path / "out", "csv")
    written(filled, folder, "parquet")
    assert {path.suffix for path in folder.iterdir()} == {".parquet", ".json"}
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds mine\.txt, which is no part of an export"):
        written(filled, folder, "parquet")
    shutil.rmtree(folder)
    folder.write_text("mine")
    with pytest.raises(UsageError, match="is a file; name a folder"):
        written(filled, folder, "parquet")


def test_tables_for_spreadsheets_hold_no_formula_and_come_back_bit_by_bit(
    storage: Storage, tmp_path: Path
) -> None:
    texts = [*FORMULAS, *HARMLESS]
    points = [
        {"workload": f"{t}/{n}/x", "batch_size": 8, "steps": 1, "goal": t, "param:x": t}
        for n, t in enumerate(texts)
    ]
    file = tmp_path / "points.json"
    file.write_text(json.dumps([point for point in points if point["workload"][:1] != "/"]))
    import_points(storage, read_points(file))
    with storage.write() as conn:
        for n, text in enumerate(texts):
            conn.execute(update(slots).where(slots.c.id == n).values(reason=text))
    folder = written(storage, tmp_path / "out", "spreadsheet")
    with (folder / "trials.csv").open(newline="") as lines:
        cells = [cell for row in plain_csv.reader(lines) for cell in row]
    assert not any(cell[:1] in tuple("=@\t\r\n＝") for cell in cells if cell)
    other = open_storage(f"sqlite:///{tmp_path}/other.db", create=True)
    check_export(folder)
    assert all(result.made for result in restore(other, folder))
    again = written(other, tmp_path / "again", "parquet")
    before = written(storage, tmp_path / "before", "parquet")
    assert tables(again, "parquet") == tables(before, "parquet")
    other.close()
