"""Optuna's tables, read and written inside our own transactions.

Optuna's storage API commits every attribute on its own, so that a crash can fall between a
trial's value and our record of it. Writing both in one transaction makes a trial end exactly
once, and a claim of 32 slots a handful of statements. This is the only module that knows
Optuna's columns (schema of Optuna 5); tests/batchfront/store/test_optuna_tables.py reads everything
back through Optuna's own API.

Trials of our own are created when their slots are started, finished, and perhaps reopened. Whole
trials, `TrialCopy`, are taken elsewhere by an export, and come from elsewhere by an import.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Connection, String, Table, delete, insert, select, type_coerce, update

from batchfront.outcomes import TrialResult
from batchfront.store.bulk import fetch_columns, insert_rows, load_columns
from batchfront.vocabulary import Outcome
from batchfront.workload.search_space import (
    Choice,
    Dimension,
    Integer,
    Log,
    Metaparameters,
    SearchSpace,
    Value,
    dimensions,
)

_studies: Any = models.StudyModel.__table__
_directions: Any = models.StudyDirectionModel.__table__
_study_attributes: Any = models.StudyUserAttributeModel.__table__
_study_settings: Any = models.StudySystemAttributeModel.__table__
_trials: Any = models.TrialModel.__table__
_params: Any = models.TrialParamModel.__table__
_values: Any = models.TrialValueModel.__table__
_intermediate: Any = models.TrialIntermediateValueModel.__table__
_attributes: Any = models.TrialUserAttributeModel.__table__
_settings: Any = models.TrialSystemAttributeModel.__table__

_PARTS: Mapping[str, tuple[Any, tuple[str, ...]]] = {
    "params": (_params, ("param_name", "param_value", "distribution_json")),
    "values": (_values, ("objective", "value", "value_type")),
    "looks": (_intermediate, ("step", "intermediate_value", "intermediate_value_type")),
    "attributes": (_attributes, ("key", "value_json")),
    "settings": (_settings, ("key", "value_json")),
}
"""The tables whose rows belong to a trial, and their columns but for ids. Exports hold these
names."""

_FINITE = models.TrialValueModel.TrialValueType.FINITE

_IN_A_QUERY = 500  # ids, of which SQLite takes a limited number

TABLES = tuple(models.BaseModel.metadata.tables)
"""The names of all of Optuna's tables."""
Attributes = dict[int, dict[str, Any]]
"""Id of a study to its attributes, by key."""

RESULT_ATTRIBUTES = ("outcome", "reason", "steps", "engine")
"""The attributes that a trial gets when it ends, and loses when it is begun again."""


def distribution(dimension: Dimension) -> BaseDistribution:
    """The Optuna distribution under which a dimension's values are shown and stored."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.values)
    if isinstance(dimension, Integer):
        return IntDistribution(dimension.low, dimension.high, log=dimension.log)
    low, high = float(dimension.at(0.0)), float(dimension.at(1.0))
    return FloatDistribution(low, high, log=isinstance(dimension, Log))


def create_study(
    conn: Connection,
    name: str,
    attributes: Mapping[str, Any],
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> int:
    """Insert a study that minimizes. The caller has made sure that the name is new.

    attributes -- for users of the study
    settings   -- for Optuna and its dashboard

    Returns its id.
    """
    new = insert(_studies).values(study_name=name).returning(_studies.c.study_id)
    study_id = int(conn.execute(new).scalar_one())
    direction = {"study_id": study_id, "direction": StudyDirection.MINIMIZE, "objective": 0}
    conn.execute(insert(_directions).values(**direction))
    conn.execute(insert(_study_attributes), _json_rows("study_id", study_id, attributes))
    named = {"study:metric_names": ["steps to target"]}  # what the dashboard writes on its axes
    rows = _json_rows("study_id", study_id, {**named, **settings})
    conn.execute(insert(_study_settings), rows)
    return study_id


def replace_settings(
    conn: Connection, study_id: int, prefix: str, settings: Mapping[str, Any]
) -> None:
    """Put these settings of a study in the place of all whose keys begin so."""
    mine = _study_settings.c.study_id == study_id
    conn.execute(
        delete(_study_settings).where(
            mine, _study_settings.c.key.startswith(prefix, autoescape=True)
        )
    )
    conn.execute(insert(_study_settings), _json_rows("study_id", study_id, settings))


def lock_study(conn: Connection, study_id: int) -> None:
    """Hold a study's row until the transaction ends, as Optuna does to number its trials."""
    conn.execute(
        select(_studies.c.study_id).where(_studies.c.study_id == study_id).with_for_update()
    )


class Searched:
    """The searched metaparameters of a study, as Optuna describes each."""

    def __init__(self, space: SearchSpace) -> None:
        kinds = {name: distribution(entry) for name, entry in dimensions(space).items()}
        self._kinds = {name: (kind, distribution_to_json(kind)) for name, kind in kinds.items()}

    def rows(self, params: Mapping[str, Value]) -> list[tuple[str, float, str]]:
        """A trial's metaparameters as rows of Optuna's, but for its id."""
        return [
            (name, kind.to_internal_repr(params[name]), described)
            for name, (kind, described) in self._kinds.items()
        ]


def create_trials(
    conn: Connection,
    study_id: int,
    space: SearchSpace,
    params: Mapping[int, Metaparameters],
    attributes: Mapping[str, Any],
    own: Mapping[int, Mapping[str, Any]] | None = None,
) -> list[int]:
    """Insert RUNNING trials with these numbers and metaparameters. Locks the study's row.

    The numbers are ours, the slots', in whatever order workers come to start them.

    own -- further attributes, by number

    Returns their ids in the same order.
    """
    lock_study(conn, study_id)
    if not params:
        return []
    common = {"study_id": study_id, "state": TrialState.RUNNING, "datetime_start": utc_now()}
    ids = _insert_trials(conn, [{"number": number, **common} for number in params])
    searched, (_, columns) = Searched(space), _PARTS["params"]
    rows, attrs = [], []
    for trial_id, (number, point) in zip(ids, params.items(), strict=True):
        mine = [dict(zip(columns, row, strict=True)) for row in searched.rows(point)]
        rows += [{"trial_id": trial_id, **row} for row in mine]
        attrs += _json_rows("trial_id", trial_id, {**attributes, **(own or {}).get(number, {})})
    insert_rows(conn, _params, rows)
    insert_rows(conn, _attributes, attrs)
    return ids


def finish_trials(conn: Connection, results: Mapping[int, TrialResult]) -> None:
    """Write how trials ended, by their ids, in bulk.

    A trial is COMPLETE only if the goal was reached, with its steps as value, FAIL after an error
    and PRUNED otherwise. The goal metric of its last full evaluation is its intermediate value:
    that is what an adaptive sampler ranks by.
    """
    states = {trial_id: _state(result) for trial_id, result in results.items()}
    for state in set(states.values()):
        ids = [trial_id for trial_id, its in states.items() if its == state]
        ended = update(_trials).where(_trials.c.trial_id.in_(ids))
        conn.execute(ended.values(state=state, datetime_complete=utc_now()))
    values, shown, attrs = [], [], []
    for trial_id, result in results.items():
        if result.steps_to_target is not None:
            value = {"objective": 0, "value": result.steps_to_target, "value_type": _FINITE}
            values.append({"trial_id": trial_id, **value})
        shown += [{"trial_id": trial_id, **row} for row in _intermediate_rows(result)]
        attrs += _json_rows("trial_id", trial_id, _result_attributes(result))
    if values:
        conn.execute(insert(_values), values)
    if shown:
        conn.execute(insert(_intermediate), shown)
    insert_rows(conn, _attributes, attrs)


def reopen_trials(conn: Connection, trial_ids: Sequence[int]) -> None:
    """Take back how trials ended: they are RUNNING again, as `create_trials` left them."""
    for table in (_values, _intermediate):
        conn.execute(delete(table).where(table.c.trial_id.in_(trial_ids)))
    ended = _attributes.c.key.in_(RESULT_ATTRIBUTES)
    conn.execute(delete(_attributes).where(_attributes.c.trial_id.in_(trial_ids), ended))
    again = update(_trials).where(_trials.c.trial_id.in_(trial_ids))
    conn.execute(again.values(state=TrialState.RUNNING, datetime_complete=None))


def delete_study(conn: Connection, study_id: int) -> None:
    """Delete a study with its trials, and all that anyone has written about them."""
    tables = models.BaseModel.metadata.sorted_tables
    mine = select(_trials.c.trial_id).where(_trials.c.study_id == study_id)
    for table in reversed(tables):  # those that refer to others first
        if "trial_id" in table.c and table is not _trials:
            conn.execute(delete(table).where(table.c.trial_id.in_(mine)))
        elif "study_id" in table.c:
            conn.execute(delete(table).where(table.c.study_id == study_id))


def utc_now() -> datetime:
    """The time as Optuna 5 keeps it: naive, in UTC."""
    return datetime.now(UTC).replace(tzinfo=None)


def _insert_trials(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Returns the trials' ids in the same order."""
    new = insert(_trials).returning(_trials.c.trial_id, sort_by_parameter_order=True)
    return [int(trial_id) for trial_id in conn.execute(new, rows).scalars()]


def _state(result: TrialResult) -> TrialState:
    return TrialState[Outcome(result.outcome).optuna_state]


def _intermediate_rows(result: TrialResult) -> list[dict[str, Any]]:
    """The metric of the last full evaluation, finite or not, as a row of Optuna's, but for the
    trial's id; none if there was no evaluation."""
    if result.metric is None or result.metric_step is None:
        return []
    stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(
        result.metric
    )
    row = {"intermediate_value": stored, "intermediate_value_type": kind}
    return [{"step": result.metric_step, **row}]


def _result_attributes(result: TrialResult) -> dict[str, Any]:
    return {key: value for key in RESULT_ATTRIBUTES if (value := getattr(result, key)) is not None}


def _json_rows(owner: str, owner_id: int, entries: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{owner: owner_id, "key": k, "value_json": json.dumps(v)} for k, v in entries.items()]


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


def ended_trial(
    number: int, params: Sequence[tuple[str, float, str]], result: TrialResult, at: datetime
) -> TrialCopy:
    """A trial that ended elsewhere, as Optuna would keep it."""
    value = result.steps_to_target
    parts: dict[str, Sequence[Sequence[Any]]] = {
        "params": params,
        "values": [] if value is None else [(0, value, _FINITE.name)],
        "looks": [
            (row["step"], row["intermediate_value"], row["intermediate_value_type"].name)
            for row in _intermediate_rows(result)
        ],
        "attributes": [(k, json.dumps(v)) for k, v in _result_attributes(result).items()],
        "settings": [],
    }
    return TrialCopy(number, _state(result).name, at, at, parts)


def read_trials(conn: Connection, owners: Mapping[int, int]) -> dict[int, TrialCopy]:
    """Trials by Optuna's id, those of them that are there.

    owners -- a trial's id to the study's that it must be of
    """
    read: dict[int, TrialCopy] = {}
    ids = list(owners)
    for at in range(0, len(ids), _IN_A_QUERY):
        read |= _read_trials(conn, ids[at : at + _IN_A_QUERY], owners)
    return read


def _read_trials(
    conn: Connection, ids: Sequence[int], owners: Mapping[int, int]
) -> dict[int, TrialCopy]:
    parts: dict[int, dict[str, list[Any]]] = {
        trial_id: {name: [] for name in _PARTS} for trial_id in ids
    }
    for name, (table, columns) in _PARTS.items():
        owned = fetch_columns(conn, table, ("trial_id", *columns), "trial_id", ids)
        for trial_id, *row in owned:
            parts[trial_id][name].append(row)
    rows = conn.execute(
        select(
            _trials.c.trial_id,
            _trials.c.study_id,
            _trials.c.number,
            type_coerce(_trials.c.state, String),  # its name, as which the database holds it
            _trials.c.datetime_start,
            _trials.c.datetime_complete,
        ).where(_trials.c.trial_id.in_(ids))
    )
    return {
        trial_id: TrialCopy(number, state, started, completed, parts[trial_id])
        for trial_id, study_id, number, state, started, completed in rows
        if owners[trial_id] == study_id
    }


def write_trials(conn: Connection, study_id: int, copies: Sequence[TrialCopy]) -> list[int]:
    """Insert trials as they were. Locks the study's row. Returns their ids in the same order."""
    if not copies:
        return []
    lock_study(conn, study_id)
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
    ids = _insert_trials(conn, rows)
    for name, (table, columns) in _PARTS.items():
        owned = [
            (trial_id, *row)
            for trial_id, copy in zip(ids, copies, strict=True)
            for row in copy.parts[name]
        ]
        _load(conn, table, ("trial_id", *columns), owned)
    return ids


def delete_trials(conn: Connection, trial_ids: Iterable[int]) -> None:
    """Delete trials, with all that belongs to them."""
    ids = list(trial_ids)
    for at in range(0, len(ids), _IN_A_QUERY):
        some = ids[at : at + _IN_A_QUERY]
        for table in (*(table for table, _ in _PARTS.values()), _trials):
            conn.execute(delete(table).where(table.c.trial_id.in_(some)))


def read_attributes(conn: Connection, study_ids: Sequence[int]) -> tuple[Attributes, Attributes]:
    """Studies' own attributes by study: their users', and those of Optuna and its dashboard."""
    found: list[Attributes] = []
    for table in (_study_attributes, _study_settings):
        of_all: Attributes = {study_id: {} for study_id in study_ids}
        query = select(table.c.study_id, table.c.key, table.c.value_json)
        meant = query.where(table.c.study_id.in_(study_ids)).order_by(table.c.key)
        for study_id, key, text in conn.execute(meant):
            of_all[study_id][key] = json.loads(text)
        found.append(of_all)
    return found[0], found[1]


def _load(conn: Connection, table: Table, columns: Sequence[str], rows: Sequence[Any]) -> None:
    if rows:
        load_columns(conn, table, dict(zip(columns, zip(*rows, strict=True), strict=True)))


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
