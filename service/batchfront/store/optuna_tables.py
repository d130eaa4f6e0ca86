"""Optuna's tables, read and written inside our own transactions.

Optuna's storage API commits every attribute on its own, so that a crash can fall between a
trial's value and our record of it. Writing both in one transaction makes a trial end exactly
once, and a claim of 32 slots a handful of statements. This is the only module that knows
Optuna's columns (schema of Optuna 5); tests/batchfront/store/test_optuna_tables.py reads everything
back through Optuna's own API.

Others write here too: through Optuna and its dashboard they delete studies, enqueue trials, tell
how one ended, and set attributes. So a study of ours is known by more than its id (`is_tied`), a
trial is looked at before it is written to (`look_at_trials`), and its number follows from those
that are there.

Trials of our own are created when their slots are started, finished, and perhaps reopened. Whole
trials, `TrialCopy`, are taken elsewhere by an export, and come from elsewhere by an import.
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
    update,
)

from batchfront.errors import StudyDeleted
from batchfront.outcomes import TrialResult
from batchfront.store.bulk import fetch_columns, insert_rows, load_columns
from batchfront.store.columns import unfit
from batchfront.store.schema import slots
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

LONGEST_KEY: int = _params.c.param_name.type.length
"""Characters of the name of a metaparameter, or of an attribute, that Optuna keeps."""

_IN_A_QUERY = 500  # ids, of which SQLite takes a limited number

TABLES = tuple(models.BaseModel.metadata.tables)
"""The names of all of Optuna's tables."""
Attributes = dict[int, dict[str, Any]]
"""Id of a study to its attributes, by key."""

RESULT_ATTRIBUTES = ("outcome", "reason", "steps", "engine")
"""The attributes that a trial gets when it ends, and loses when it is begun again."""

_SLOT = "slot"
"""The attribute that says which slot a trial belongs to, where another trial has its number."""

_KEPT = "kept"
"""The attribute of a trial whose slot has not begun."""

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
    return exists().where(_trials.c.trial_id == trial_id, _trials.c.study_id == study_id)


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
    conn.execute(insert(_study_attributes), _json_rows("study_id", study_id, attributes))
    named = {"study:metric_names": ["steps to target"]}  # what the dashboard writes on its axes
    rows = _json_rows("study_id", study_id, {**named, **settings})
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
    name: str,
    space: SearchSpace,
    params: Mapping[int, Metaparameters],
    attributes: Mapping[str, Any],
    own: Mapping[int, Mapping[str, Any]] | None = None,
) -> list[int]:
    """Insert RUNNING trials for slots, by their numbers, with these metaparameters. Locks the
    study's row.

    A trial has its slot's number, unless another trial has that: then an attribute says the slot's.

    own -- further attributes, by number of the slot

    Returns their ids in the same order. Raises StudyDeleted if the study is no longer Optuna's.
    """
    _require_study(conn, study_id, name)
    made = _number_trials(conn, study_id, list(params))
    searched, (_, columns) = Searched(space), _PARTS["params"]
    rows, attrs = [], []
    for slot, point in params.items():
        number, trial_id = made[slot]
        mine = [dict(zip(columns, row, strict=True)) for row in searched.rows(point)]
        rows += [{"trial_id": trial_id, **row} for row in mine]
        told = {} if number == slot else {_SLOT: slot}
        told |= {**attributes, **(own or {}).get(slot, {})}
        attrs += _json_rows("trial_id", trial_id, told)
    insert_rows(conn, _params, rows)
    insert_rows(conn, _attributes, attrs)
    return [trial_id for _, trial_id in made.values()]


def _number_trials(
    conn: Connection, study_id: int, wanted: Sequence[int]
) -> dict[int, tuple[int, int]]:
    """Insert RUNNING trials for slots of a study whose row is locked, without any rows of theirs.

    Optuna numbers a trial by how many there are. So that none of it gets a number that one of ours
    has, ours leave no gaps: where slots before these have not begun, as other workers have them,
    their trials are inserted as well, with an attribute that says so, and taken when they begin.

    Returns number of the slot to number and id of the trial.
    """
    taken = _taken_numbers(conn, study_id)
    kept = _take_kept(conn, study_id, [number for number in wanted if number in taken])
    anew = {number for number in wanted if number not in taken}
    keep: list[int] = []
    if anew and max(anew) >= len(taken) + len(anew):
        before = _unbegun(conn, study_id, max(anew))
        keep = [number for number in before if number not in taken and number not in anew]
    used = anew.union(keep)
    free = (number for number in count() if number not in taken and number not in used)
    numbers = {slot: slot if slot in anew else next(free) for slot in wanted if slot not in kept}
    running = {"state": TrialState.RUNNING, "datetime_start": utc_now()}
    new = [*numbers.values(), *keep]
    ids = _insert_trials(conn, study_id, [{"number": number, **running} for number in new])
    marks = [
        {"trial_id": id_, "key": _KEPT, "value_json": json.dumps(f"for slot {number}")}
        for number, id_ in zip(keep, ids[len(numbers) :], strict=True)
    ]
    insert_rows(conn, _attributes, marks)
    made = {slot: (slot, trial_id) for slot, trial_id in kept.items()}
    made |= {slot: (numbers[slot], id_) for slot, id_ in zip(numbers, ids, strict=False)}
    return {slot: made[slot] for slot in wanted}


def _taken_numbers(conn: Connection, study_id: int) -> Collection[int]:
    """The numbers of a study's trials, of which an earlier batchfront may have left out some."""
    mine = _trials.c.study_id == study_id
    there = select(func.count(), func.max(_trials.c.number)).where(mine)
    number, highest = conn.execute(there).one()
    if not number or highest == number - 1:
        return range(number)
    return set(conn.execute(select(_trials.c.number).where(mine)).scalars())


def _take_kept(conn: Connection, study_id: int, numbers: Sequence[int]) -> dict[int, int]:
    """Those of these numbers that are kept for their slots: to the ids of the trials, which are
    then theirs."""
    if not numbers:
        return {}
    mark = _attributes.c.key == _KEPT
    found = (
        select(_trials.c.number, _trials.c.trial_id)
        .join(_attributes, _attributes.c.trial_id == _trials.c.trial_id)
        .where(_trials.c.study_id == study_id, _trials.c.number.in_(numbers), mark)
    )
    kept = {row.number: row.trial_id for row in conn.execute(found)}
    if kept:
        ids = list(kept.values())
        conn.execute(delete(_attributes).where(_attributes.c.trial_id.in_(ids), mark))
        begun = update(_trials).where(_trials.c.trial_id.in_(ids))
        conn.execute(begun.values(datetime_start=utc_now()))
    return kept


def _unbegun(conn: Connection, study_id: int, number: int) -> Sequence[int]:
    """The numbers of a study's slots before one that have no trial."""
    earlier = slots.c.study_id == study_id, slots.c.number < number, slots.c.trial_id.is_(None)
    query = select(slots.c.number).where(*earlier).order_by(slots.c.number)
    return conn.execute(query).scalars().all()


def look_at_trials(
    conn: Connection, study_id: int, name: str, trial_ids: Sequence[int]
) -> dict[int, bool]:
    """Those of these trials that are this study's, locked: whether each has been written to by
    others since it began, who have told Optuna how it ended, say."""
    told = or_(
        _trials.c.state != TrialState.RUNNING,
        *(exists().where(t.c.trial_id == _trials.c.trial_id) for t in (_values, _intermediate)),
        exists().where(
            _attributes.c.trial_id == _trials.c.trial_id, _attributes.c.key.in_(RESULT_ATTRIBUTES)
        ),
    )
    query = select(_trials.c.trial_id, told.label("told")).where(
        _trials.c.trial_id.in_(trial_ids),
        _trials.c.study_id == study_id,
        is_tied(literal(study_id), literal(name)),
    )
    locked = query.order_by(_trials.c.trial_id).with_for_update(of=_trials)
    return {row.trial_id: bool(row.told) for row in conn.execute(locked)}


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
    # Others may have written the same since it was looked at.
    insert_rows(conn, _values, values, over=("trial_id", "objective"))
    insert_rows(conn, _intermediate, shown, over=("trial_id", "step"))
    insert_rows(conn, _attributes, attrs, over=("trial_id", "key"))


def reopen_trials(conn: Connection, trial_ids: Iterable[int]) -> None:
    """Take back how trials, which `look_at_trials` has found, ended, whoever says so: they are
    RUNNING again, as `create_trials` left them."""
    trial_ids = list(trial_ids)
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


def _require_study(conn: Connection, study_id: int, name: str) -> None:
    """Hold the row of a study of ours. Raises StudyDeleted if Optuna has no such study."""
    ours = _studies.c.study_id == study_id, is_tied(literal(study_id), literal(name))
    if conn.execute(select(_studies.c.study_id).where(*ours).with_for_update()).first() is None:
        raise StudyDeleted(f"study {name} is given up: it has been deleted through Optuna")


def _insert_trials(conn: Connection, study_id: int, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Returns the trials' ids in the same order."""
    if not rows:
        return []
    new = insert(_trials).returning(_trials.c.trial_id, sort_by_parameter_order=True)
    made = conn.execute(new, [{"study_id": study_id, **row} for row in rows])
    return [int(trial_id) for trial_id in made.scalars()]


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
        parts = {name: tuple(map(tuple, read[name])) for name in _PARTS}
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
    named = {"state", "started", "completed", *_PARTS}
    if not (isinstance(read, dict) and {*read} == named):
        raise ValueError(f"must be an object of {', '.join(sorted(named))}")
    _require_fit(_trials.c.state, read["state"], "state")
    for name in ("started", "completed"):
        try:
            at = _time(read[name])
        except (TypeError, ValueError):
            raise ValueError(f"{name} is {read[name]!r}, and no time") from None
        if at is not None and at.tzinfo is not None:
            raise ValueError(f"{name} is {read[name]!r}; times are in UTC, without saying so")
    for name, (table, columns) in _PARTS.items():
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


def other_numbers(conn: Connection, study_ids: Sequence[int]) -> dict[int, dict[int, int]]:
    """Of studies in which others' trials stand among ours: id of the study to the numbers of slots
    whose trials have other numbers, and to these."""
    tied = slots.c.trial_id == _trials.c.trial_id, slots.c.study_id == _trials.c.study_id
    query = (
        select(slots.c.study_id, slots.c.number, _trials.c.number.label("theirs"))
        .join(_trials, and_(*tied))
        .where(slots.c.study_id.in_(study_ids), slots.c.number != _trials.c.number)
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
    taken = set(_taken_numbers(conn, study_id))
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
    ids = _insert_trials(conn, study_id, rows)
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
