"""What trials have shown and how they ended, written and read; inside a transaction."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, delete, select

from batchfront.outcomes import CurvePoint, Evaluation, LearningCurve, TrialResult
from batchfront.store.bulk import finite, insert_rows
from batchfront.store.schema import measurements, slots
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.vocabulary import Outcome


def with_crossing(result: TrialResult, slot: Any) -> TrialResult:
    """The result of a slot (its row), `reached` if it is written there that the goal was passed:
    a trial that goes on after that may raise an error, or round otherwise on another device."""
    if slot.steps_to_target is None or result.steps_to_target == slot.steps_to_target:
        return result
    return replace(
        result,
        outcome=Outcome.REACHED,
        reason=f"goal passed at step {slot.steps_to_target}, and then: {result.reason}",
        steps_to_target=slot.steps_to_target,
        steps_lower=slot.steps_lower,
        metric=slot.metric,
        metric_step=slot.steps_to_target,
    )


def with_engine(versions: str | None, engine: str | None) -> str | None:
    """A slot's versions (JSON) with what has computed it, which is known at its end alone."""
    if versions is None or engine is None:
        return versions
    return json.dumps({**json.loads(versions), "engine": engine})


def write_measurements(
    conn: Connection, study: Study, written: Sequence[tuple[Slot, TrialResult]]
) -> None:
    """Store every full evaluation, and what was measured at the step that passed the goal."""
    rows = [
        {"slot_id": slot.id, "step": step, "split": split, "metric": metric, "value": finite(value)}
        for slot, result in written
        for (step, split, metric), value in _measured(study.metric, result).items()
    ]
    # What trials are compared by on their way stays. Where they aren't, what was written while one
    # ran may be from an earlier try, which came to something else.
    compared = study.halving or study.extrapolate
    if not compared:
        of_these = measurements.c.slot_id.in_([slot.id for slot, _ in written])
        conn.execute(delete(measurements).where(of_these))
    insert_rows(conn, measurements, rows, anew=not compared)


def write_evaluations(
    conn: Connection,
    metric: str,
    evaluated: Sequence[tuple[int, Sequence[Evaluation]]],
    *,
    over: bool = False,
) -> None:
    """Store full evaluations of trials (by id of the slot) that go on; those that are there
    stay, or are written `over`."""
    rows = [
        {"slot_id": slot_id, "step": step, "split": split, "metric": name, "value": finite(value)}
        for slot_id, evaluations in evaluated
        for (step, split, name), value in _shown(metric, evaluations).items()
    ]
    key = [column.name for column in measurements.primary_key] if over else []
    insert_rows(conn, measurements, rows, anew=False, over=key)


def read_learning_curves(conn: Connection, study: Study, step: int) -> dict[int, LearningCurve]:
    """The goal metric of a study's trials up to a step, of those that have been evaluated there: by
    number of the slot, without evaluations at which it was not finite."""
    query = (
        select(slots.c.number, measurements.c.step, measurements.c.value)
        .select_from(measurements.join(slots, measurements.c.slot_id == slots.c.id))
        .where(
            slots.c.study_id == study.id,
            measurements.c.split == "validation",
            measurements.c.metric == study.metric,
            measurements.c.step <= step,
            measurements.c.value.is_not(None),
        )
        .order_by(slots.c.number, measurements.c.step)
    )
    curves: dict[int, list[CurvePoint]] = {}
    for number, at, value in conn.execute(query):
        curves.setdefault(number, []).append(CurvePoint(at, value))
    return {number: curve for number, curve in curves.items() if curve[-1].step == step}


_Measured = dict[tuple[int, str, str], float | None]  # by step, split and metric


def _shown(metric: str, evaluations: Sequence[Evaluation]) -> _Measured:
    found: _Measured = {}
    for one in evaluations:
        if one.loss is not None:  # a row without a value says that it wasn't finite
            found[one.step, "train", "loss"] = one.loss
        found |= _of_validation(one.step, metric, one.metric, one.measures)
    return found


def _of_validation(
    step: int, metric: str, value: float | None, measures: Mapping[str, float]
) -> _Measured:
    return {(step, "validation", name): one for name, one in {**measures, metric: value}.items()}


def _measured(metric: str, result: TrialResult) -> _Measured:
    found = _shown(metric, result.evaluations)
    if result.steps_to_target is not None:
        step = int(result.steps_to_target)
        found |= _of_validation(step, metric, result.metric, result.measures)
        if result.test_metric is not None:
            found[step, "test", metric] = result.test_metric
    return found
