"""Writing how slots ended: the slot, its Optuna trial and its measurements in one transaction."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from optuna.trial import TrialState
from sqlalchemy import Connection, select

from batchfront.outcomes import STATES, CurvePoint, Evaluation, LearningCurve, TrialResult
from batchfront.store.bulk import insert_rows
from batchfront.store.optuna_tables import TOLD, TrialEnding, finish_trials
from batchfront.store.schema import measurements, slots
from batchfront.study.slots import Slot
from batchfront.study.study import Study


def finite(value: float | None) -> float | None:
    """The value, or None for what a database should not be asked to keep as a number."""
    return value if value is not None and math.isfinite(value) else None


def upheld(ending: TrialResult, slot: Any) -> TrialResult:
    """The ending of a slot (its row), of which it stands that the goal was passed, if it was:
    a trial that goes on after that may raise an error, or round otherwise on another device."""
    if slot.steps_to_target is None or ending.steps_to_target == slot.steps_to_target:
        return ending
    return replace(
        ending,
        outcome="reached",
        reason=f"goal passed at step {slot.steps_to_target}, and then: {ending.reason}",
        steps_to_target=slot.steps_to_target,
        steps_lower=slot.steps_lower,
        metric=slot.metric,
        metric_step=slot.steps_to_target,
    )


def end_trials(conn: Connection, written: Sequence[tuple[int | None, TrialResult]]) -> None:
    """End the Optuna trials (by id; None for a slot that never had one) of ended slots.

    COMPLETE only if the goal was reached, FAIL after an error, PRUNED otherwise, with the goal
    metric of the last full look as intermediate value: that is what an adaptive sampler ranks by.
    """
    endings = []
    for trial_id, ending in written:
        if trial_id is None:
            continue
        looked = ending.metric is not None and ending.metric_step is not None
        endings.append(
            TrialEnding(
                trial_id,
                STATES.get(ending.outcome, TrialState.PRUNED),
                ending.steps_to_target,
                (ending.metric_step, ending.metric) if looked else None,  # type: ignore[arg-type]
                _told(ending),
            )
        )
    finish_trials(conn, endings)


def _told(ending: TrialResult) -> dict[str, Any]:
    """What Optuna's trial says of it."""
    return {key: value for key in TOLD if (value := getattr(ending, key)) is not None}


def with_engine(versions: str | None, engine: str | None) -> str | None:
    """A slot's versions (JSON) with what has computed it, which is known at its end alone."""
    if versions is None or engine is None:
        return versions
    return json.dumps({**json.loads(versions), "engine": engine})


def write_measurements(
    conn: Connection, study: Study, written: Sequence[tuple[Slot, TrialResult]]
) -> None:
    """Store every full look, and the metrics at the step that passed the goal."""
    rows = [
        {"slot_id": slot.id, "step": step, "split": split, "metric": metric, "value": finite(value)}
        for slot, ending in written
        for (step, split, metric), value in _measured(study.metric, ending).items()
    ]
    # Of a study whose trials are compared on their way, some are there.
    insert_rows(conn, measurements, rows, anew=not (study.halving or study.extrapolate))


def write_looks(
    conn: Connection, metric: str, looked: Sequence[tuple[int, Sequence[Evaluation]]]
) -> None:
    """Store full looks of trials (by id of the slot) that go on; those that are there stay."""
    rows = [
        {"slot_id": slot_id, "step": step, "split": split, "metric": name, "value": finite(value)}
        for slot_id, looks in looked
        for (step, split, name), value in _looks(metric, looks).items()
    ]
    insert_rows(conn, measurements, rows, anew=False)


def read_curves(conn: Connection, study: Study, step: int) -> dict[int, LearningCurve]:
    """The goal metric of a study's trials up to a step, of those that have been looked at there:
    by number of the slot, without looks at which it was not finite."""
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


def _looks(metric: str, looks: Sequence[Evaluation]) -> dict[tuple[int, str, str], float | None]:
    found: dict[tuple[int, str, str], Any] = {}
    for look in looks:
        found[look.step, "train", "loss"] = look.loss
        found[look.step, "validation", metric] = look.metric
    return found


def _measured(metric: str, ending: TrialResult) -> dict[tuple[int, str, str], float | None]:
    found = _looks(metric, ending.evaluations)
    if ending.steps_to_target is not None:
        found[ending.steps_to_target, "validation", metric] = ending.metric
        if ending.test_metric is not None:
            found[ending.steps_to_target, "test", metric] = ending.test_metric
    return found
