"""Many rows in one statement, at a tenth of what their own values in it would cost PostgreSQL."""

import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
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
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

Rows = Sequence[Mapping[str, Any]]


def finite(value: float | None) -> float | None:
    """The value, or None for what a database should not be asked to keep as a number."""
    return value if value is not None and math.isfinite(value) else None


def insert_rows(
    conn: Connection, table: Table, rows: Rows, *, anew: bool = True, over: Sequence[str] = ()
) -> None:
    """Insert rows, each with the same columns, of numbers, text and members of enumerations.

    anew -- False: some may be there, by their primary key, and stay as they are
    over -- the columns of a unique key: those that are there by it are written over
    """
    if not rows:
        return
    on_postgresql = conn.dialect.name == "postgresql"
    one: Any = (postgresql if on_postgresql else sqlite).insert(table)
    if on_postgresql:
        source = _source(table, rows)
        one = one.from_select(list(rows[0]), select(*source.c))
    if over:
        changed = {name: one.excluded[name] for name in rows[0] if name not in over}
        one = one.on_conflict_do_update(index_elements=over, set_=changed)
    elif not anew:
        one = one.on_conflict_do_nothing()
    conn.execute(one, None if on_postgresql else rows)


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
    said = json.dumps([dict(row) for row in rows], default=lambda member: member.name)
    text = cast(literal(said), JSON)
    source = func.json_to_recordset(text).table_valued(*columns, name="source")
    return source.render_derived(with_types=True)


def fetch_columns(
    conn: Connection, table: Table, names: Sequence[str], key: str, values: Iterable[int]
) -> list[tuple[Any, ...]]:
    """Fetch these columns of the rows whose `key` is one of some numbers, by primary key, for whole
    exports: as the database's driver gives them, which takes a third less than rows of SQLAlchemy.
    Of an enumeration it gives the members' names."""
    said = ", ".join(f'"{name}"' for name in names)
    order = ", ".join(f'"{column.name}"' for column in table.primary_key)
    wanted = ", ".join(map(str, map(int, values)))
    found = conn.exec_driver_sql(
        f'SELECT {said} FROM "{table.name}" WHERE "{key}" IN ({wanted}) ORDER BY {order}'
    )
    rows: list[tuple[Any, ...]] = list(found.cursor.fetchall())
    found.close()
    return rows


def load_columns(conn: Connection, table: Table, columns: Mapping[str, Any]) -> None:
    """Append rows by column, for whole imports: sequences or numpy arrays, all of one length.

    PostgreSQL takes them as a COPY. A NaN of a numpy array becomes NULL.
    """
    if conn.dialect.name == "postgresql":
        _copy(conn, table, columns)
        return
    names, marks = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
    plain = [v.tolist() if hasattr(v, "tolist") else v for v in columns.values()]
    rows = list(zip(*plain, strict=True))
    if rows:  # SQLite itself stores a NaN as NULL
        conn.exec_driver_sql(f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})', rows)


def _copy(conn: Connection, table: Table, columns: Mapping[str, Any]) -> None:
    import pyarrow as pa  # not at the top: workers load no columns
    from pyarrow import csv

    arrays = {name: pa.array(v, from_pandas=hasattr(v, "dtype")) for name, v in columns.items()}
    text = io.BytesIO()
    # Arrow quotes every text and leaves a null empty, which is how COPY tells them apart.
    csv.write_csv(pa.table(arrays), text, csv.WriteOptions(include_header=False))
    text.seek(0)
    names = ", ".join(f'"{name}"' for name in columns)
    statement = f'COPY "{table.name}" ({names}) FROM STDIN WITH (FORMAT csv)'
    try:
        conn.connection.cursor().copy_expert(statement, text)
    except conn.dialect.dbapi.Error as error:  # type: ignore[union-attr]
        raise DBAPIError.instance(statement, None, error, Exception, dialect=conn.dialect) from None
