"""What a column of a table can hold, as PostgreSQL sees it; SQLite takes anything."""

import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Column, Enum, Float, Integer, String, Table

from batchfront.store.schema import Steps


def unfit_row(table: Table, row: Mapping[Any, Any]) -> str | None:
    """The first column of a table that can't hold what a row has for it, and why, in words; None if
    all can. Columns that the row lacks aren't looked at."""
    for column in table.c:
        if column.name in row and (wrong := unfit(column, row[column.name])) is not None:
            return f"{column.name} {wrong}"
    return None


def unfit(column: Column[Any], value: Any) -> str | None:
    """Why a column can't hold a value, in words that follow its name; None if it can."""
    kind = column.type
    if value is None:
        return None if column.nullable else "is empty"
    if isinstance(kind, Enum):
        return None if value in kind.enums else f"is {_short(value)}, not {', '.join(kind.enums)}"
    if isinstance(kind, Integer):
        most = 2**63 if isinstance(kind, BigInteger) else 2**31
        if isinstance(value, bool) or not isinstance(value, int):
            return f"is {_short(value)}, and no whole number"
        return None if -most <= value < most else f"is {_short(value)}, beyond {most - 1}"
    if isinstance(kind, Float | Steps):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return None if number and _is_finite(value) else f"is {_short(value)}, and no finite number"
    if isinstance(kind, String):
        return _unfit_text(value, kind.length)
    raise TypeError(f"{column}: {kind}")


def longest(column: Column[str]) -> int:
    """How many characters a column of text of limited length holds."""
    assert isinstance(column.type, String)
    assert column.type.length is not None
    return column.type.length


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _unfit_text(value: Any, length: int | None) -> str | None:
    if not isinstance(value, str):
        return f"is {_short(value)}, and no text"
    if length is not None and len(value) > length:
        return f"has {len(value)} characters, more than {length}"
    if "\0" in value:
        return f"is {_short(value)}, with a NUL character"
    if not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value):
        return f"is {_short(value)}, with half of a surrogate pair"
    return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
