"""Trials of our own in Optuna's tables: numbered and begun, looked at, finished, and begun again.

Others write here too, so a trial is looked at before it is written to, and its number follows from
those that are there. How a study of ours is known, and whole trials that are copied, is in
`optuna_tables`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import count
from typing import Any, TypeVar

from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import Connection, delete, exists, literal, or_, select, update

from batchfront.outcomes import TrialResult
from batchfront.store.bulk import insert_rows
from batchfront.store.optuna_tables import (
    PARTS,
    Searched,
    TrialCopy,
    insert_trials,
    intermediate_values,
    is_tied,
    json_rows,
    require_study,
    taken_numbers,
    trial_attributes,
    trial_params,
    trial_values,
    trials,
    utc_now,
)
from batchfront.store.schema import slots
from batchfront.vocabulary import Outcome
from batchfront.workload.search_space import Metaparameters, SearchSpace

RESULT_ATTRIBUTES = ("outcome", "reason", "steps", "engine")
"""The attributes that a trial gets when it ends, and loses when it is begun again."""

MOST_SHOWN = 100
"""Intermediate values of a trial, at most: evaluations are 1 % apart, and Optuna's dashboard has
all of all trials in memory."""

_T = TypeVar("_T")

_SLOT = "slot"
"""The attribute that says which slot a trial belongs to, where another trial has its number."""

_KEPT = "kept"
"""The attribute of a trial whose slot has not begun."""

_FINITE = models.TrialValueModel.TrialValueType.FINITE


def create_trials(
    conn: Connection,
    study_id: int,
    name: str,
    space: SearchSpace,
    params: Mapping[int, Metaparameters],
    attributes: Mapping[int, Mapping[str, Any]],
) -> list[int]:
    """Insert RUNNING trials for slots, by their numbers, with these metaparameters. Locks the
    study's row.

    A trial has its slot's number, unless another trial has that: then an attribute says the slot's.

    attributes -- by number of the slot

    Returns their ids in the same order. Raises StudyDeleted if the study is no longer Optuna's.
    """
    require_study(conn, study_id, name)
    made = _number_trials(conn, study_id, list(params))
    searched, (_, columns) = Searched(space), PARTS["params"]
    rows, attrs = [], []
    for slot, point in params.items():
        number, trial_id = made[slot]
        mine = [dict(zip(columns, row, strict=True)) for row in searched.rows(point)]
        rows += [{"trial_id": trial_id, **row} for row in mine]
        other = {} if number == slot else {_SLOT: slot}
        attrs += json_rows("trial_id", trial_id, {**other, **attributes.get(slot, {})})
    insert_rows(conn, trial_params, rows)
    insert_rows(conn, trial_attributes, attrs)
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
    taken = taken_numbers(conn, study_id)
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
    ids = insert_trials(conn, study_id, [{"number": number, **running} for number in new])
    marks = [
        {"trial_id": id_, "key": _KEPT, "value_json": json.dumps(f"for slot {number}")}
        for number, id_ in zip(keep, ids[len(numbers) :], strict=True)
    ]
    insert_rows(conn, trial_attributes, marks)
    made = {slot: (slot, trial_id) for slot, trial_id in kept.items()}
    made |= {slot: (numbers[slot], id_) for slot, id_ in zip(numbers, ids, strict=False)}
    return {slot: made[slot] for slot in wanted}


def _take_kept(conn: Connection, study_id: int, numbers: Sequence[int]) -> dict[int, int]:
    """Those of these numbers that are kept for their slots: to the ids of the trials, which are
    then theirs."""
    if not numbers:
        return {}
    mark = trial_attributes.c.key == _KEPT
    found = (
        select(trials.c.number, trials.c.trial_id)
        .join(trial_attributes, trial_attributes.c.trial_id == trials.c.trial_id)
        .where(trials.c.study_id == study_id, trials.c.number.in_(numbers), mark)
    )
    kept = {row.number: row.trial_id for row in conn.execute(found)}
    if kept:
        ids = list(kept.values())
        conn.execute(delete(trial_attributes).where(trial_attributes.c.trial_id.in_(ids), mark))
        begun = update(trials).where(trials.c.trial_id.in_(ids))
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
    its = (t.c.trial_id == trials.c.trial_id for t in (trial_values, intermediate_values))
    ended = trial_attributes.c.key.in_(RESULT_ATTRIBUTES)
    told = or_(
        trials.c.state != TrialState.RUNNING,
        *(exists().where(mine) for mine in its),
        exists().where(trial_attributes.c.trial_id == trials.c.trial_id, ended),
    )
    query = select(trials.c.trial_id, told.label("told")).where(
        trials.c.trial_id.in_(trial_ids),
        trials.c.study_id == study_id,
        is_tied(literal(study_id), literal(name)),
    )
    locked = query.order_by(trials.c.trial_id).with_for_update(of=trials)
    return {row.trial_id: bool(row.told) for row in conn.execute(locked)}


def finish_trials(conn: Connection, results: Mapping[int, TrialResult]) -> None:
    """Write how trials ended, by their ids, in bulk.

    A trial is COMPLETE only if the goal was reached, with its steps as value, FAIL after an error
    and PRUNED otherwise. The goal metric at its full evaluations are its intermediate values, the
    last of which is what a sampler of Optuna's ranks by (`intermediate_values_of`).
    """
    states = {trial_id: _state(result) for trial_id, result in results.items()}
    for state in set(states.values()):
        ids = [trial_id for trial_id, its in states.items() if its == state]
        ended = update(trials).where(trials.c.trial_id.in_(ids))
        conn.execute(ended.values(state=state, datetime_complete=utc_now()))
    values, shown, attrs = [], [], []
    for trial_id, result in results.items():
        if result.steps_to_target is not None:
            value = {"objective": 0, "value": result.steps_to_target, "value_type": _FINITE}
            values.append({"trial_id": trial_id, **value})
        shown += [{"trial_id": trial_id, **row} for row in _intermediate_rows(result)]
        attrs += json_rows("trial_id", trial_id, _result_attributes(result))
    # Others may have written the same since it was looked at.
    insert_rows(conn, trial_values, values, over=("trial_id", "objective"))
    insert_rows(conn, intermediate_values, shown, over=("trial_id", "step"))
    insert_rows(conn, trial_attributes, attrs, over=("trial_id", "key"))


def reopen_trials(conn: Connection, trial_ids: Iterable[int]) -> None:
    """Take back how trials, which `look_at_trials` has found, ended, whoever says so: they are
    RUNNING again, as `create_trials` left them."""
    trial_ids = list(trial_ids)
    for table in (trial_values, intermediate_values):
        conn.execute(delete(table).where(table.c.trial_id.in_(trial_ids)))
    ended = trial_attributes.c.key.in_(RESULT_ATTRIBUTES)
    conn.execute(delete(trial_attributes).where(trial_attributes.c.trial_id.in_(trial_ids), ended))
    again = update(trials).where(trials.c.trial_id.in_(trial_ids))
    conn.execute(again.values(state=TrialState.RUNNING, datetime_complete=None))


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


def _state(result: TrialResult) -> TrialState:
    return TrialState[Outcome(result.outcome).optuna_state]


def intermediate_values_of(result: TrialResult) -> list[tuple[int, float]]:
    """The goal metric of a trial at its full evaluations, by step: the last, `metric_step`, and at
    most so many before that a learning curve can be drawn of them. After the goal a trial that goes
    on has more, which Optuna isn't told: the last one is that by which its samplers rank.

    Returns nothing if there was no evaluation.
    """
    if result.metric is None or result.metric_step is None:
        return []
    last = result.metric_step
    before = sorted({one.step: one.metric for one in result.evaluations if one.step < last}.items())
    return [*spread(before, MOST_SHOWN - 1), (last, result.metric)]


def spread(curve: Sequence[_T], most: int) -> Sequence[_T]:
    """At most so many of a curve's points, the first and the last among them, as evenly as it
    has them."""
    if len(curve) <= most:
        return curve
    return [curve[round(n * (len(curve) - 1) / (most - 1))] for n in range(most)]


def _intermediate_rows(result: TrialResult) -> list[dict[str, Any]]:
    """Intermediate values, finite or not, as rows of Optuna's, but for the trial's id."""
    stored = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    rows = []
    for step, metric in intermediate_values_of(result):
        value, kind = stored(metric)
        row = {"intermediate_value": value, "intermediate_value_type": kind}
        rows.append({"step": step, **row})
    return rows


def _result_attributes(result: TrialResult) -> dict[str, Any]:
    return {key: value for key in RESULT_ATTRIBUTES if (value := getattr(result, key)) is not None}
