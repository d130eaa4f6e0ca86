"""Writing Optuna's tables inside our own transactions.

Optuna's storage API commits every attribute on its own, so that a crash can fall between a
trial's value and our record of it. Writing both in one transaction makes a trial end exactly
once, and a claim of 32 slots a handful of statements. This is the only module that knows
Optuna's columns (schema of Optuna 5); tests/batchfront/store/test_optuna_tables.py reads everything
back through Optuna's own API.
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
from sqlalchemy import Connection, Table, delete, insert, select, update

from batchfront.store.bulk import insert_rows, load_columns
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

_studies = models.StudyModel.__table__


_directions = models.StudyDirectionModel.__table__


_study_attributes = models.StudyUserAttributeModel.__table__


_study_settings = models.StudySystemAttributeModel.__table__


_trials = models.TrialModel.__table__


_params = models.TrialParamModel.__table__


_values = models.TrialValueModel.__table__


_intermediate = models.TrialIntermediateValueModel.__table__


_attributes = models.TrialUserAttributeModel.__table__


_FINITE = models.TrialValueModel.TrialValueType.FINITE


TOLD = ("outcome", "reason", "steps", "engine")
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
    """Insert a study that minimizes; its id. The caller has made sure that the name is new.

    attributes -- for users of the study;  settings -- for Optuna and its dashboard
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


def create_trials(
    conn: Connection,
    study_id: int,
    space: SearchSpace,
    draws: Mapping[int, Metaparameters],
    attributes: Mapping[str, Any],
    own: Mapping[int, Mapping[str, Any]] | None = None,
) -> list[int]:
    """Insert RUNNING trials with these numbers and parameters; their ids in the same order.

    The numbers are ours, the slots', in whatever order workers come to start them.

    own -- further attributes, by number
    """
    lock_study(conn, study_id)
    kinds = {name: distribution(d) for name, d in dimensions(space).items()}
    if not draws:
        return []
    common = {"study_id": study_id, "state": TrialState.RUNNING, "datetime_start": utc_now()}
    new = insert(_trials).returning(_trials.c.trial_id, sort_by_parameter_order=True)
    rows = [{"number": number, **common} for number in draws]
    ids = [int(trial_id) for trial_id in conn.execute(new, rows).scalars()]
    params, attrs = [], []
    for trial_id, (number, draw) in zip(ids, draws.items(), strict=True):
        params += [_param_row(trial_id, name, kinds[name], draw[name]) for name in kinds]
        told = {**attributes, **(own or {}).get(number, {})}
        attrs += _json_rows("trial_id", trial_id, told)
    insert_rows(conn, _params, params)
    insert_rows(conn, _attributes, attrs)
    return ids


def finish_trials(conn: Connection, endings: Sequence["TrialEnding"]) -> None:
    """Write final states, values, last intermediate values and attributes, in bulk."""
    for state in {ending.state for ending in endings}:
        ids = [ending.trial_id for ending in endings if ending.state == state]
        conn.execute(
            update(_trials)
            .where(_trials.c.trial_id.in_(ids))
            .values(state=state, datetime_complete=utc_now())
        )
    values = [
        {"trial_id": e.trial_id, "objective": 0, "value": e.value, "value_type": _FINITE}
        for e in endings
        if e.value is not None
    ]
    if values:
        conn.execute(insert(_values), values)
    shown = [intermediate_row(e.trial_id, *e.last) for e in endings if e.last is not None]
    if shown:
        conn.execute(insert(_intermediate), shown)
    attrs = [row for e in endings for row in _json_rows("trial_id", e.trial_id, e.attributes)]
    insert_rows(conn, _attributes, attrs)


def reopen_trials(conn: Connection, trial_ids: Sequence[int]) -> None:
    """Take back how trials ended: they are RUNNING again, as `create_trials` left them."""
    for table in (_values, _intermediate):
        conn.execute(delete(table).where(table.c.trial_id.in_(trial_ids)))
    told = _attributes.c.key.in_(TOLD)
    conn.execute(delete(_attributes).where(_attributes.c.trial_id.in_(trial_ids), told))
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


class TrialEnding:
    """How a trial ended, in Optuna's terms.

    value -- steps to target, of COMPLETE trials only; last -- (step, goal metric) when last looked
    """

    def __init__(
        self,
        trial_id: int,
        state: TrialState,
        value: float | None,
        last: tuple[int, float] | None,
        attributes: Mapping[str, Any],
    ) -> None:
        self.trial_id, self.state, self.value = trial_id, state, value
        self.last, self.attributes = last, attributes


def utc_now() -> datetime:
    """The time as Optuna 5 keeps it: naive, in UTC."""
    return datetime.now(UTC).replace(tzinfo=None)


def _param_row(trial_id: int, name: str, kind: BaseDistribution, value: Value) -> dict[str, Any]:
    return {
        "trial_id": trial_id,
        "param_name": name,
        "param_value": kind.to_internal_repr(value),
        "distribution_json": distribution_to_json(kind),
    }


def intermediate_row(trial_id: int, step: int, value: float) -> dict[str, Any]:
    """A metric at a step, finite or not, as a row of Optuna's table."""
    stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
    return {
        "trial_id": trial_id,
        "step": step,
        "intermediate_value": stored,
        "intermediate_value_type": kind,
    }


def _json_rows(owner: str, owner_id: int, entries: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{owner: owner_id, "key": k, "value_json": json.dumps(v)} for k, v in entries.items()]


_trials_of_optuna_copies: Any = models.TrialModel.__table__


_FINITE_of_optuna_copies = models.TrialValueModel.TrialValueType.FINITE.name


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
        "values": [] if value is None else [(0, value, _FINITE_of_optuna_copies)],
        "looks": looks,
        "attributes": [(key, json.dumps(entry)) for key, entry in attributes.items()],
        "settings": [],
    }
    return TrialCopy(number, state.name, at, at, parts)


def read_trials(conn: Connection, study_id: int) -> dict[int, TrialCopy]:
    """A study's trials, by Optuna's id."""
    mine = _trials_of_optuna_copies.c.study_id == study_id
    parts: dict[int, dict[str, list[tuple[Any, ...]]]] = {}
    rows = conn.execute(
        select(_trials_of_optuna_copies).where(mine).order_by(_trials_of_optuna_copies.c.trial_id)
    ).all()
    for row in rows:
        parts[row.trial_id] = {name: [] for name in _PARTS}
    for name, (table, columns) in _PARTS.items():
        found = (
            select(table.c.trial_id, *(table.c[column] for column in columns))
            .select_from(
                table.join(
                    _trials_of_optuna_copies,
                    table.c.trial_id == _trials_of_optuna_copies.c.trial_id,
                )
            )
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
    new = insert(_trials_of_optuna_copies).returning(
        _trials_of_optuna_copies.c.trial_id, sort_by_parameter_order=True
    )
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
        for table in (*(table for table, _ in _PARTS.values()), _trials_of_optuna_copies):
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
