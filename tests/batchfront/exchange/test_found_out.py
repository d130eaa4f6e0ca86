"""Timings and probes are exported and imported with the studies of their workloads."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from sqlalchemy import insert, select, update

from batchfront.advice.timings import Timing, keep_timings, load_timings
from batchfront.errors import DataError, IdentityError
from batchfront.exchange.export import export
from batchfront.exchange.found_out import restore_found_out
from batchfront.exchange.restore import check_export, restore
from batchfront.exchange.tables import MANIFEST, SCHEMAS
from batchfront.plan.forget import FoundOut, delete_alone
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import probes, timings
from batchfront.store.url import Storage, open_storage
from batchfront.vocabulary import TimedPart
from tests.batchfront.exchange.test_export import KINDS
from tests.toy import SPEC, clouds

NAME = "clouds/mlp/momentum"

HERE = Timing(
    NAME, "float32", "cpu", 1, TimedPart.PASS, 16, 0.1 + 0.2, 0.2, 1 / 3, 20, {"torch": "2 é"}
)
ELSEWHERE = Timing(
    NAME, "fp4", "TPU v9", 8, TimedPart.STEP, 512, 5e-324, versions={"source": "imported"}
)
OTHER = Timing("timed/only/é", "float32", "cpu", 1, TimedPart.UPDATE, 0, 1e-5, 1e-5, 1e-5, 20)

PROBE = {
    "workload": NAME,
    "batch_size": 4,
    "trial": None,
    "params": '{"learning_rate": 0.1}',
    "seed": 2**63 - 1,
    "steps": 100,
    "readings": "[[1, 2, 4, 64, 0.30000000000000004, -1.5]]",
    "versions": "{}",
    "measured_at": 1.7e9 + 1 / 3,
}


@pytest.fixture
def filled(storage: Storage) -> Storage:
    plan(storage, SPEC, clouds(), SearchOptions(trials=1))
    keep_timings(storage, [HERE, ELSEWHERE, OTHER])
    with storage.write() as conn:
        conn.execute(insert(probes), [PROBE, {**PROBE, "trial": 0, "steps": 7}])
    return storage


@pytest.fixture
def other(empty_database: str) -> Iterator[Storage]:
    """A database of the other kind or of the same, with nothing in it."""
    opened = open_storage(empty_database, create=True)
    yield opened
    opened.close()


def rows(storage: Storage) -> list[list[Any]]:
    """All that is in both tables, but for the probes' ids."""
    with storage.read() as conn:
        timed = conn.execute(select(timings).order_by(*timings.primary_key.columns)).all()
        probed = conn.execute(select(probes).order_by(probes.c.id)).mappings().all()
    return [
        [tuple(row) for row in timed],
        [{name: value for name, value in row.items() if name != "id"} for row in probed],
    ]


def written(storage: Storage, folder: Path, format_: str, *workloads: str) -> Path:
    export(storage, workloads, folder, format_, lambda _: None)
    check_export(folder)
    return folder


def imported(storage: Storage, folder: Path) -> FoundOut:
    list(restore(storage, folder))
    return restore_found_out(storage, folder)


@pytest.mark.parametrize("format_", ["parquet", "csv", "spreadsheet"])
@pytest.mark.parametrize("empty_database", KINDS, indirect=True)
@pytest.mark.parametrize("database", KINDS, indirect=True)
def test_they_come_back_bit_by_bit_and_once(
    filled: Storage, other: Storage, tmp_path: Path, format_: str
) -> None:
    folder = written(filled, tmp_path / "out", format_)
    assert imported(other, folder) == FoundOut(3, 2)
    assert rows(other) == rows(filled)
    assert imported(other, folder) == FoundOut(0, 0)
    assert rows(other) == rows(filled)


def test_those_of_other_workloads_stay_out_of_it(filled: Storage, tmp_path: Path) -> None:
    folder = written(filled, tmp_path / "out", "parquet", NAME)
    told = parquet.read_table(folder / "timings.parquet").to_pylist()
    assert {row["workload"] for row in told} == {NAME}
    assert len(told) == 2


def test_other_numbers_of_the_same_are_refused_with_what_removes_them(
    filled: Storage, tmp_path: Path
) -> None:
    folder = written(filled, tmp_path / "out", "parquet")
    other = open_storage(f"sqlite:///{tmp_path}/other.db", create=True)
    keep_timings(other, [Timing(NAME, "float32", "cpu", 1, TimedPart.PASS, 16, 0.7)])
    says = (
        f"one of the timings of {NAME} is another in this database; `batchfront delete {NAME} --t"
    )
    with pytest.raises(IdentityError, match=says):
        imported(other, folder)
    assert len(load_timings(other, NAME)) == 1
    delete_alone(other, NAME, timed=True, probed=False)
    assert imported(other, folder) == FoundOut(3, 2)
    other.close()


def test_when_it_was_measured_makes_no_difference(filled: Storage, tmp_path: Path) -> None:
    folder = written(filled, tmp_path / "out", "parquet")
    with filled.write() as conn:
        conn.execute(update(timings).values(measured_at=1.0))
    assert imported(filled, folder) == FoundOut(0, 0)


@pytest.mark.parametrize("format_", ["parquet", "csv"])
def test_an_export_from_before_there_were_any_is_imported(
    filled: Storage, tmp_path: Path, format_: str
) -> None:
    folder = written(filled, tmp_path / "out", format_)
    about = json.loads((folder / MANIFEST).read_text())
    for name in ("timings", "probes"):
        (folder / f"{name}.{format_}").unlink()
        del about["rows"][name]
    (folder / MANIFEST).write_text(json.dumps(about))
    check_export(folder)
    other = open_storage(f"sqlite:///{tmp_path}/other.db", create=True)
    assert imported(other, folder) == FoundOut(0, 0)
    other.close()


def test_what_cannot_be_right_is_left_out_and_said(filled: Storage, tmp_path: Path) -> None:
    with filled.write() as conn:
        conn.execute(update(timings).where(timings.c.device == "TPU v9").values(seconds=-1.0))
    folder = written(filled, tmp_path / "out", "csv")
    assert len(csv.read_csv(folder / "timings.csv")) == 2
    (said,) = json.loads((folder / MANIFEST).read_text())["left_out"]
    assert said == f"one of the timings of {NAME}: seconds is -1, not above 0 and at most 1e+07"


Damage = Callable[[dict[str, Any]], object]


def sets(**values: Any) -> Damage:
    return lambda row: row.update(values)


TIMINGS = {
    "a part": (sets(part="lunch"), "part is 'lunch'"),
    "no seconds": (sets(seconds=None), "seconds: is empty"),
    "seconds of 0": (sets(seconds=0.0), "seconds is 0"),
    "endless seconds": (sets(high=float("inf")), "high: is inf"),
    "no workload": (sets(workload=None), "workload: is empty"),
    "a NUL": (sets(device="a\0"), "device: is .* with a NUL character"),
    "a long device": (sets(device="d" * 129), "device: has 129 characters, more than 128"),
    "deep versions": (sets(versions='{"a":' * 200 + "1" + "}" * 200), "versions: .* levels deep"),
    "a key twice": (sets(versions='{"a": "1", "a": "2"}'), "versions: the key 'a' stands twice"),
    "twice": (
        sets(examples=512, part="step", precision="fp4", device="TPU v9", devices=8),
        "twice",
    ),
}

PROBES = {
    "a batch size": (sets(batch_size=0), "batch_size is 0"),
    "a trial": (sets(trial=-1), "trial is -1"),
    "readings": (sets(readings="{}"), "readings can't be what a probe writes"),
    "a reading": (sets(readings="[[1, 2, 4, 64, 1e999, 1.0]]"), "readings can't be what a probe"),
    "half a reading": (sets(readings="[[1, 2]]"), "readings can't be what a probe writes"),
    "metaparameters": (sets(params='{"learning_rate": [1]}'), "params can't be what a probe"),
    "no JSON": (sets(params="{"), "params: "),
    "twice": (sets(trial=None), "workload, batch_size, trial: one stands twice"),
}

CASES = {
    f"{table}: {what}": (table, *case)
    for table, cases in (("timings", TIMINGS), ("probes", PROBES))
    for what, case in cases.items()
}


@pytest.mark.parametrize(("table", "damage", "says"), CASES.values(), ids=CASES)
def test_what_cannot_be_is_refused_by_file_and_row(
    filled: Storage, tmp_path: Path, table: str, damage: Damage, says: str
) -> None:
    folder = written(filled, tmp_path / "out", "parquet")
    path = folder / f"{table}.parquet"
    there = parquet.read_table(path).to_pylist()
    damage(there[0] if table == "timings" else there[1])
    parquet.write_table(pa.Table.from_pylist(there, SCHEMAS[table]), path)
    with pytest.raises(DataError, match=rf"{table}\.parquet, row \d: .*{says}") as refused:
        check_export(folder)
    assert "\n" not in str(refused.value)
