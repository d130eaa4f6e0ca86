"""Rows written in bulk are read back as they were, on every storage."""

import math
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from batchfront.errors import StorageError
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.bulk import insert_rows, load_columns, update_rows
from batchfront.store.database import Storage
from batchfront.store.schema import measurements, slots
from tests.toy import SPEC, clouds

pytestmark = pytest.mark.every_storage


def read(storage: Storage, query: Any) -> list[dict[str, Any]]:
    with storage.read() as conn:
        return [dict(row._mapping) for row in conn.execute(query)]


def test_numbers_text_and_nothing_are_inserted_as_they_are(storage: Storage) -> None:
    values = [0.1, math.pi * 1e-300, 1e300, -0.0, None, 2.0**53 - 1]
    text = 'it\'s "said" \\ %s :b {} ☃'
    rows = [
        {"slot_id": 1, "step": step, "split": "train", "metric": text, "value": value}
        for step, value in enumerate(values)
    ]
    with storage.write() as conn:
        insert_rows(conn, measurements, rows)
        insert_rows(conn, measurements, [])
    assert read(storage, select(measurements).order_by(measurements.c.step)) == rows


def test_each_row_is_given_its_own_values_and_all_of_them_the_others(storage: Storage) -> None:
    plan(storage, SPEC, clouds(), SearchOptions((4,), 3))
    query = select(slots.c.id, slots.c.state, slots.c.metric, slots.c.reason, slots.c.fence)
    one, two, three = read(storage, query.order_by(slots.c.id))
    changed = [
        {"id": one["id"], "metric": 0.25, "reason": None},
        {"id": two["id"], "metric": None, "reason": "it's %s"},
    ]
    with storage.write() as conn:
        update_rows(conn, slots, changed, state="done", fence=slots.c.fence + 2)
        update_rows(conn, slots, [], state="done")
    first, second = ({**row, "state": "done", "fence": 2} for row in changed)
    assert read(storage, query.order_by(slots.c.id)) == [first, second, three]


def test_columns_are_loaded_as_they_are(storage: Storage) -> None:
    texts = ['it\'s "said", \\ %s :b {} ☃', "", "\\N", "NULL", "two\nlines\r\n\t"]
    values = [0.1, math.pi * 1e-300, 5e-324, math.nan, -0.0]
    columns = {
        "slot_id": [1] * 5,
        "step": np.arange(5),
        "split": np.array(["train"] * 5, dtype=object),
        "metric": texts,
        "value": np.array(values),
    }
    with storage.write() as conn:
        load_columns(conn, measurements, columns)
        load_columns(conn, measurements, {name: column[:0] for name, column in columns.items()})
    rows = read(storage, select(measurements).order_by(measurements.c.step))
    assert [row["metric"] for row in rows] == texts
    assert [row["value"] for row in rows] == [0.1, math.pi * 1e-300, 5e-324, None, 0.0]
    assert [row["step"] for row in rows] == list(range(5))


def test_columns_that_a_table_cannot_hold_are_a_storage_error(storage: Storage) -> None:
    twice = {"slot_id": [1, 1], "step": [1, 1], "split": ["a"] * 2, "metric": ["b"] * 2}
    refused = pytest.raises(StorageError, match=r"database .*(duplicate key|UNIQUE)")
    with refused, storage.write() as conn:
        load_columns(conn, measurements, twice)
    assert read(storage, select(measurements)) == []
