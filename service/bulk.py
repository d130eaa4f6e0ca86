"""Many rows in one statement, at a tenth of what their own values in it would cost PostgreSQL."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    Connection,
    Table,
    TableValuedAlias,
    bindparam,
    cast,
    column,
    func,
    insert,
    literal,
    select,
    update,
)

Rows = Sequence[Mapping[str, Any]]


def insert_rows(conn: Connection, table: Table, rows: Rows) -> None:
    """Insert rows, each with the same columns, of numbers and text."""
    if not rows:
        return
    if conn.dialect.name != "postgresql":
        conn.execute(insert(table), rows)
        return
    source = _source(table, rows)
    conn.execute(insert(table).from_select(list(rows[0]), select(*source.c)))


def update_rows(conn: Connection, table: Table, rows: Rows, **values: Any) -> None:
    """Give rows, found by `id`, each its own values and all of them those in `values`."""
    if not rows:
        return
    names = [name for name in rows[0] if name != "id"]
    if conn.dialect.name != "postgresql":
        values |= {name: bindparam(f"b_{name}") for name in names}
        changed = update(table).where(table.c.id == bindparam("b_id")).values(**values)
        conn.execute(changed, [{f"b_{name}": v for name, v in row.items()} for row in rows])
        return
    source = _source(table, rows)
    values |= {name: source.c[name] for name in names}
    conn.execute(update(table).where(table.c.id == source.c.id).values(**values))


def _source(table: Table, rows: Rows) -> TableValuedAlias:
    """The rows as PostgreSQL reads them from one JSON text."""
    columns = [column(name, table.c[name].type) for name in rows[0]]
    text = cast(literal(json.dumps([dict(row) for row in rows])), JSON)
    said = func.json_to_recordset(text).table_valued(*columns, name="source")
    return said.render_derived(with_types=True)
