"""Optuna's trials as a whole: read as plain data, written as they were, and taken away.

Beside service/optuna_tables.py, which writes trials as they run, this is for those that ran
elsewhere: those of another database, and those of none.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import Connection, Table, delete, insert, select

from service.bulk import load_columns
from service.optuna_tables import distribution, intermediate_row, lock_study
from service.search_space import SearchSpace, Value, dimensions

_trials: Any = models.TrialModel.__table__
_FINITE = models.TrialValueModel.TrialValueType.FINITE.name

_PARTS: Mapping[str, tuple[Any, tuple[str, ...]]] = {
    "params": (
        models.TrialParamModel.__table__,
        ("param_name", "param_value", "distribution_json"),
    ),
    "values": (models.TrialValueModel.__table__, ("objective", "value", "value_type")),
    "looks": (
        models.TrialIntermediateValueModel.__table__,
        ("step", "intermediate_value", "intermediate_value_type"),
    ),
    "attributes": (models.TrialUserAttributeModel.__table__, ("key", "value_json")),
    "settings": (models.TrialSystemAttributeModel.__table__, ("key", "value_json")),
}
"""The tables whose rows belong to a trial, and their columns but for ids."""

_IN_A_QUERY = 500  # ids, of which SQLite takes a limited number


@dataclass(frozen=True)
class TrialCopy:
    """A trial as Optuna keeps it.

    started, completed -- naive UTC
    parts -- name of a part to its rows; of params, values, looks (intermediate values),
             attributes (the users') and settings (the system's)
    """

    number: int
    state: str
    started: datetime | None
    completed: datetime | None
    parts: Mapping[str, Sequence[Sequence[Any]]]

    def to_json(self) -> str:
        """The copy as text, but for its number."""
        times = {"started": _iso(self.started), "completed": _iso(self.completed)}
        return json.dumps({"state": self.state, **times, **self.parts}, ensure_ascii=False)

    @classmethod
    def from_json(cls, number: int, text: str) -> "TrialCopy":
        """The copy that `to_json` wrote."""
        read = json.loads(text)
        started, completed = (_time(read[name]) for name in ("started", "completed"))
        parts = {name: tuple(map(tuple, read[name])) for name in _PARTS}
        return cls(number, read["state"], started, completed, parts)


class Searched:
    """The searched metaparameters of a study, as Optuna describes each."""

    def __init__(self, space: SearchSpace) -> None:
        kinds = {name: distribution(entry) for name, entry in dimensions(space).items()}
        self._kinds: dict[str, tuple[BaseDistribution, str]] = {
            name: (kind, distribution_to_json(kind)) for name, kind in kinds.items()
        }

    def rows(self, params: Mapping[str, Value]) -> list[tuple[str, float, str]]:
        """A trial's draw as rows of Optuna's."""
        return [
            (name, kind.to_internal_repr(params[name]), described)
            for name, (kind, described) in self._kinds.items()
        ]


def ended_trial(
    number: int,
    state: TrialState,
    params: Sequence[tuple[str, float, str]],
    value: float | None,
    last: tuple[int, float] | None,
    attributes: Mapping[str, Any],
    at: datetime,
) -> TrialCopy:
    """A trial that ended elsewhere, as Optuna would keep it; `last` is (step, goal metric)."""
    looks = []
    if last is not None:
        row = intermediate_row(0, *last)
        looks = [(row["step"], row["intermediate_value"], row["intermediate_value_type"].name)]
    parts: dict[str, Sequence[Sequence[Any]]] = {
        "params": params,
        "values": [] if value is None else [(0, value, _FINITE)],
        "looks": looks,
        "attributes": [(key, json.dumps(entry)) for key, entry in attributes.items()],
        "settings": [],
    }
    return TrialCopy(number, state.name, at, at, parts)


def read_trials(conn: Connection, study_id: int) -> dict[int, TrialCopy]:
    """A study's trials, by Optuna's id."""
    mine = _trials.c.study_id == study_id
    parts: dict[int, dict[str, list[tuple[Any, ...]]]] = {}
    rows = conn.execute(select(_trials).where(mine).order_by(_trials.c.trial_id)).all()
    for row in rows:
        parts[row.trial_id] = {name: [] for name in _PARTS}
    for name, (table, columns) in _PARTS.items():
        found = (
            select(table.c.trial_id, *(table.c[column] for column in columns))
            .select_from(table.join(_trials, table.c.trial_id == _trials.c.trial_id))
            .where(mine)
            .order_by(table.c.trial_id, *table.primary_key)
        )
        for trial_id, *values in conn.execute(found):
            parts[trial_id][name].append(tuple(getattr(v, "name", v) for v in values))
    return {
        row.trial_id: TrialCopy(
            row.number,
            row.state.name,
            row.datetime_start,
            row.datetime_complete,
            parts[row.trial_id],
        )
        for row in rows
    }


def write_trials(conn: Connection, study_id: int, copies: Sequence[TrialCopy]) -> list[int]:
    """Insert trials as they were; their ids in the same order."""
    if not copies:
        return []
    lock_study(conn, study_id)
    new = insert(_trials).returning(_trials.c.trial_id, sort_by_parameter_order=True)
    rows = [
        {
            "study_id": study_id,
            "number": copy.number,
            "state": TrialState[copy.state],
            "datetime_start": copy.started,
            "datetime_complete": copy.completed,
        }
        for copy in copies
    ]
    ids = [int(trial_id) for trial_id in conn.execute(new, rows).scalars()]
    for name, (table, columns) in _PARTS.items():
        owned = [
            (trial_id, *row)
            for trial_id, copy in zip(ids, copies, strict=True)
            for row in copy.parts[name]
        ]
        _load(conn, table, ("trial_id", *columns), owned)
    return ids


def delete_trials(conn: Connection, trial_ids: Iterable[int]) -> None:
    """Take trials away, with all that belongs to them."""
    ids = list(trial_ids)
    for at in range(0, len(ids), _IN_A_QUERY):
        some = ids[at : at + _IN_A_QUERY]
        for table in (*(table for table, _ in _PARTS.values()), _trials):
            conn.execute(delete(table).where(table.c.trial_id.in_(some)))


def read_attributes(conn: Connection, study_id: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A study's own attributes: its users', and those of Optuna and its dashboard."""
    found = []
    for model in (models.StudyUserAttributeModel, models.StudySystemAttributeModel):
        table: Any = model.__table__
        rows = select(table.c.key, table.c.value_json).where(table.c.study_id == study_id)
        ordered = conn.execute(rows.order_by(table.c.key))
        found.append({key: json.loads(text) for key, text in ordered})
    return found[0], found[1]


def _load(conn: Connection, table: Table, columns: Sequence[str], rows: Sequence[Any]) -> None:
    if rows:
        load_columns(conn, table, dict(zip(columns, zip(*rows, strict=True), strict=True)))


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
