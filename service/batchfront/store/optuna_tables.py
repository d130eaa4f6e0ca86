"""Optuna's tables, read and written inside our own transactions.

Optuna's storage API commits every attribute on its own, so that a crash can fall between a
trial's value and our record of it. Writing both in one transaction makes a trial end exactly
once, and a claim of 32 slots a handful of statements. Nothing but this module and
`optuna_trials`, which has the trials of our own, knows Optuna's columns (schema of Optuna 5);
tests/batchfront/store/test_optuna_tables.py reads everything back through Optuna's own API.

Others write here too: through Optuna and its dashboard they delete studies, enqueue trials, tell
how one ended, and set attributes. So a study of ours is known by more than its id (`is_tied`).

Whole trials, `TrialCopy`, are taken elsewhere by an export, and come from elsewhere by an import.
"""

import json
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from types import MappingProxyType
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    type_coerce,
)

from batchfront.errors import StudyDeleted
from batchfront.store.bulk import fetch_columns, load_columns
from batchfront.store.columns import unfit
from batchfront.store.schema import slots
from batchfront.workload.search_space import (
    Choice,
    Dimension,
    Integer,
    Log,
    SearchSpace,
    Value,
    dimensions,
)

_studies: Any = models.StudyModel.__table__
_directions: Any = models.StudyDirectionModel.__table__
_study_attributes: Any = models.StudyUserAttributeModel.__table__
_study_settings: Any = models.StudySystemAttributeModel.__table__
trials: Any = models.TrialModel.__table__
trial_params: Any = models.TrialParamModel.__table__
trial_values: Any = models.TrialValueModel.__table__
intermediate_values: Any = models.TrialIntermediateValueModel.__table__
trial_attributes: Any = models.TrialUserAttributeModel.__table__
_settings: Any = models.TrialSystemAttributeModel.__table__

PARTS: Mapping[str, tuple[Any, tuple[str, ...]]] = {
    "params": (trial_params, ("param_name", "param_value", "distribution_json")),
    "values": (trial_values, ("objective", "value", "value_type")),
    "looks": (intermediate_values, ("step", "intermediate_value", "intermediate_value_type")),
    "attributes": (trial_attributes, ("key", "value_json")),
    "settings": (_settings, ("key", "value_json")),
}
"""The tables whose rows belong to a trial, and their columns but for ids. Exports hold these
names."""

LONGEST_KEY: int = trial_params.c.param_name.type.length
"""Characters of the name of a metaparameter, or of an attribute, that Optuna keeps."""

_IN_A_QUERY = 500  # ids, of which SQLite takes a limited number

TABLES = tuple(models.BaseModel.metadata.tables)
"""The names of all of Optuna's tables."""
Attributes = dict[int, dict[str, Any]]
"""Id of a study to its attributes, by key."""

MARK = "batchfront"
"""The attribute that tells a study of ours from another of the same id and name: the version that
made it."""


def is_tied(study_id: ColumnElement[int], name: ColumnElement[str]) -> ColumnElement[bool]:
    """The condition on a study of ours that Optuna's of this id is the one that was made with it.

    Whoever works with Optuna may delete a study, and SQLite gives its id to the next one.
    """
    mine = and_(_studies.c.study_id == study_id, _studies.c.study_name == name)
    marked = and_(_study_attributes.c.study_id == study_id, _study_attributes.c.key == MARK)
    return and_(exists().where(mine), exists().where(marked))


def has_trial(trial_id: ColumnElement[int], study_id: ColumnElement[int]) -> ColumnElement[bool]:
    """The condition on a slot that the trial of this id is one of this study."""
    return exists().where(trials.c.trial_id == trial_id, trials.c.study_id == study_id)


def optuna_studies(conn: Connection, name: str, study_id: int | None = None) -> dict[int, str]:
    """Optuna's studies of this name, or of this id: id to name."""
    meant = or_(_studies.c.study_name == name, _studies.c.study_id == study_id)
    rows = conn.execute(select(_studies.c.study_id, _studies.c.study_name).where(meant))
    return {row.study_id: row.study_name for row in rows}


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
    *,
    taken: Container[int],
) -> int:
    """Insert a study that minimizes. The caller has made sure that the name is new.

    attributes -- for users of the study
    settings   -- for Optuna and its dashboard
    taken      -- ids that it can't have

    Returns its id.
    """
    study_id = _insert_study(conn, name, taken)
    direction = {"study_id": study_id, "direction": StudyDirection.MINIMIZE, "objective": 0}
    conn.execute(insert(_directions).values(**direction))
    conn.execute(insert(_study_attributes), json_rows("study_id", study_id, attributes))
    named = {"study:metric_names": ["steps to target"]}  # what the dashboard writes on its axes
    rows = json_rows("study_id", study_id, {**named, **settings})
    conn.execute(insert(_study_settings), rows)
    return study_id


def _insert_study(conn: Connection, name: str, taken: Container[int]) -> int:
    new = insert(_studies).returning(_studies.c.study_id)
    if conn.dialect.name == "sqlite":  # which gives the id of a deleted study to the next
        last = conn.execute(select(func.coalesce(func.max(_studies.c.study_id), 0))).scalar_one()
        free = next(id_ for id_ in count(last + 1) if id_ not in taken)
        return int(conn.execute(new.values(study_id=free, study_name=name)).scalar_one())
    while True:
        study_id = int(conn.execute(new.values(study_name=name)).scalar_one())
        if study_id not in taken:
            return study_id
        conn.execute(delete(_studies).where(_studies.c.study_id == study_id))  # a sequence goes on


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
    conn.execute(insert(_study_settings), json_rows("study_id", study_id, settings))


def lock_study(conn: Connection, study_id: int) -> None:
    """Hold a study's row until the transaction ends, as Optuna does to number its trials."""
    lock_studies(conn, [study_id])


def lock_studies(conn: Connection, study_ids: Collection[int]) -> None:
    """The same of several, which are locked by id: whoever holds some waits for none before
    them."""
    mine = select(_studies.c.study_id).where(_studies.c.study_id.in_(study_ids))
    conn.execute(mine.order_by(_studies.c.study_id).with_for_update())


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


def taken_numbers(conn: Connection, study_id: int) -> Collection[int]:
    """The numbers of a study's trials, of which an earlier batchfront may have left out some."""
    mine = trials.c.study_id == study_id
    there = select(func.count(), func.max(trials.c.number)).where(mine)
    number, highest = conn.execute(there).one()
    if not number or highest == number - 1:
        return range(number)
    return set(conn.execute(select(trials.c.number).where(mine)).scalars())


def delete_study(conn: Connection, study_id: int) -> None:
    """Delete a study with its trials, and all that anyone has written about them."""
    tables = models.BaseModel.metadata.sorted_tables
    mine = select(trials.c.trial_id).where(trials.c.study_id == study_id)
    for table in reversed(tables):  # those that refer to others first
        if "trial_id" in table.c and table is not trials:
            conn.execute(delete(table).where(table.c.trial_id.in_(mine)))
        elif "study_id" in table.c:
            conn.execute(delete(table).where(table.c.study_id == study_id))


def utc_now() -> datetime:
    """The time as Optuna 5 keeps it: naive, in UTC."""
    return datetime.now(UTC).replace(tzinfo=None)


def require_study(conn: Connection, study_id: int, name: str) -> None:
    """Hold the row of a study of ours. Raises StudyDeleted if Optuna has no such study."""
    ours = _studies.c.study_id == study_id, is_tied(literal(study_id), literal(name))
    if conn.execute(select(_studies.c.study_id).where(*ours).with_for_update()).first() is None:
        raise StudyDeleted(f"study {name} is given up: it has been deleted through Optuna")


def insert_trials(conn: Connection, study_id: int, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Returns the trials' ids in the same order."""
    if not rows:
        return []
    new = insert(trials).returning(trials.c.trial_id, sort_by_parameter_order=True)
    made = conn.execute(new, [{"study_id": study_id, **row} for row in rows])
    return [int(trial_id) for trial_id in made.scalars()]


def json_rows(owner: str, owner_id: int, entries: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{owner: owner_id, "key": k, "value_json": json.dumps(v)} for k, v in entries.items()]


def encodable_json(data: Any) -> str:
    """Plain data as text that every file takes: half of a surrogate pair, which JSON can hold,
    stays escaped."""
    return json.dumps(data, ensure_ascii=False).encode(errors="backslashreplace").decode()


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
        return encodable_json({"state": self.state, **times, **self.parts})

    @classmethod
    def from_json(cls, number: int, text: str) -> "TrialCopy":
        """The copy that `to_json` wrote."""
        read = json.loads(text)
        started, completed = (_time(read[name]) for name in ("started", "completed"))
        parts = {name: tuple(map(tuple, read[name])) for name in PARTS}
        return cls(number, read["state"], started, completed, parts)


def check_study_attributes(read: Any) -> None:
    """Raise ValueError, in words, unless these are attributes and settings for `create_study`."""
    if not (isinstance(read, dict) and {*read} == {"attributes", "settings"}):
        raise ValueError("must be an object of attributes and settings")
    for name, entries in read.items():
        if not isinstance(entries, dict):
            raise ValueError(f"{name} must be an object")
        for key in entries:
            _require_fit(_study_attributes.c.key, key, f"a key of {name}")
    if not isinstance(read["attributes"].get(MARK), str):
        raise ValueError(f"attributes lack {MARK!r}, the version that made the study")


def check_trial(read: Any) -> None:
    """Raise ValueError, in words, unless this is what `TrialCopy.to_json` writes."""
    named = {"state", "started", "completed", *PARTS}
    if not (isinstance(read, dict) and {*read} == named):
        raise ValueError(f"must be an object of {', '.join(sorted(named))}")
    _require_fit(trials.c.state, read["state"], "state")
    for name in ("started", "completed"):
        try:
            at = _time(read[name])
        except (TypeError, ValueError):
            raise ValueError(f"{name} is {read[name]!r}, and no time") from None
        if at is not None and at.tzinfo is not None:
            raise ValueError(f"{name} is {read[name]!r}; times are in UTC, without saying so")
    for name, (table, columns) in PARTS.items():
        rows = read[name]
        if not (isinstance(rows, list) and all(_is_row(row, columns) for row in rows)):
            raise ValueError(f"{name} must be a list of lists of {', '.join(columns)}")
        for row in rows:
            for column, value in zip(columns, row, strict=True):
                _require_fit(table.c[column], value, f"{name}: {column}")
        if len({row[0] for row in rows}) < len(rows):
            raise ValueError(f"{name}: one {columns[0]} stands twice")
    for name, value, text in read["params"]:
        _check_param(name, value, text)
    for key, text in (*read["attributes"], *read["settings"]):
        try:
            json.loads(text)
        except (RecursionError, ValueError):
            raise ValueError(f"attribute {key!r} is no JSON") from None


def _check_param(name: str, value: float, text: str) -> None:
    """Raise ValueError unless Optuna can read a parameter."""
    try:
        json_to_distribution(text).to_external_repr(value)
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"parameter {name!r} is none of Optuna's: {error}") from None


def _is_row(row: Any, columns: Sequence[str]) -> bool:
    return isinstance(row, list) and len(row) == len(columns)


def _require_fit(column: Any, value: Any, called: str) -> None:
    wrong = unfit(column, value)
    if wrong is not None:
        raise ValueError(f"{called} {wrong}")


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
        trial_id: {name: [] for name in PARTS} for trial_id in ids
    }
    for name, (table, columns) in PARTS.items():
        owned = fetch_columns(conn, table, ("trial_id", *columns), "trial_id", ids)
        for trial_id, *row in owned:
            parts[trial_id][name].append(row)
    rows = conn.execute(
        select(
            trials.c.trial_id,
            trials.c.study_id,
            trials.c.number,
            type_coerce(trials.c.state, String),  # its name, as which the database holds it
            trials.c.datetime_start,
            trials.c.datetime_complete,
        ).where(trials.c.trial_id.in_(ids))
    )
    return {
        trial_id: TrialCopy(number, state, started, completed, parts[trial_id])
        for trial_id, study_id, number, state, started, completed in rows
        if owners[trial_id] == study_id
    }


def other_numbers(conn: Connection, study_ids: Sequence[int]) -> dict[int, dict[int, int]]:
    """Of studies in which others' trials stand among ours: id of the study to the numbers of slots
    whose trials have other numbers, and to these."""
    tied = slots.c.trial_id == trials.c.trial_id, slots.c.study_id == trials.c.study_id
    query = (
        select(slots.c.study_id, slots.c.number, trials.c.number.label("theirs"))
        .join(trials, and_(*tied))
        .where(slots.c.study_id.in_(study_ids), slots.c.number != trials.c.number)
    )
    found: dict[int, dict[int, int]] = {}
    for row in conn.execute(query):
        found.setdefault(row.study_id, {})[row.number] = row.theirs
    return found


def write_trials(conn: Connection, study_id: int, copies: Sequence[TrialCopy]) -> list[int]:
    """Insert trials as they were. Locks the study's row. Returns their ids in the same order."""
    if not copies:
        return []
    lock_study(conn, study_id)
    taken = set(taken_numbers(conn, study_id))
    used = taken.union(copy.number for copy in copies)
    free = (number for number in count() if number not in used)
    numbers = [next(free) if copy.number in taken else copy.number for copy in copies]
    rows = [
        {
            "number": number,
            "state": TrialState[copy.state],
            "datetime_start": copy.started,
            "datetime_complete": copy.completed,
        }
        for number, copy in zip(numbers, copies, strict=True)
    ]
    ids = insert_trials(conn, study_id, rows)
    for name, (table, columns) in PARTS.items():
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
        for table in (*(table for table, _ in PARTS.values()), trials):
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
