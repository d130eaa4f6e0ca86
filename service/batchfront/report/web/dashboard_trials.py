"""Trials as the Optuna dashboard is to show them.

Its plots leave out a trial that was pruned unless it has a value, and those of a race are pruned
but for the ones that reach the goal. So a pruned trial is shown with the steps by which it had not
reached it. Nothing of this is written: a value in Optuna's own tables is steps to target.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from warnings import catch_warnings, simplefilter

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import Connection, select

from batchfront.store.optuna_trials import MOST_SHOWN, spread
from batchfront.store.schema import measurements, slots, studies
from batchfront.vocabulary import Outcome

_ALONE = Lock()

_FEWEST = 2
"""Trials with a value, without which no importance is told."""


@dataclass(frozen=True)
class _Known:
    """What is known of a study beside its trials."""

    metric: str
    step_budget: int | None


def show(moment: Connection, study_id: int, trials: Sequence[FrozenTrial]) -> None:
    """Complete a study's trials by what batchfront knows of them, where it is one of its own: the
    learning curves of those that run, and of those that ended before Optuna was told curves, and
    the values of those that were pruned."""
    identity = moment.execute(
        select(studies.c.identity).where(studies.c.id == study_id)
    ).scalar_one_or_none()
    if identity is None:
        return
    said = json.loads(identity)
    known = _Known(said["goal"]["metric"], said.get("step_budget"))
    lacking = {t._trial_id: t for t in trials if len(t.intermediate_values) < 2}
    for trial_id, curve in _curves(moment, study_id, known.metric, lacking).items():
        trial = lacking[trial_id]
        last = max(trial.intermediate_values, default=None)
        before = [one for one in curve if last is None or one[0] < last]
        shown = spread(before, MOST_SHOWN - 1)
        trial.intermediate_values = {**dict(shown), **trial.intermediate_values}
    for trial in trials:
        if trial.state == TrialState.PRUNED and trial.values is None:
            steps = _not_by(trial, known)
            trial.values = None if steps is None else [float(steps)]


def _not_by(trial: FrozenTrial, known: _Known) -> int | None:
    """The steps by which a pruned trial has not reached the goal; of one that was given up, the
    step budget. None of one that an option dropped, which tells no such steps."""
    match trial.user_attrs.get("outcome"):
        case Outcome.CAPPED | Outcome.EXHAUSTED:
            steps: int | None = trial.user_attrs.get("steps")
            return steps
        case Outcome.DIVERGED | Outcome.STALLED:
            return known.step_budget
    return None


def _curves(
    moment: Connection, study_id: int, metric: str, trials: dict[int, FrozenTrial]
) -> dict[int, list[tuple[int, float]]]:
    """The goal metric at what is kept of these trials, by their ids."""
    if not trials:
        return {}
    query = (
        select(slots.c.trial_id, measurements.c.step, measurements.c.value)
        .select_from(measurements.join(slots, measurements.c.slot_id == slots.c.id))
        .where(
            slots.c.study_id == study_id,
            measurements.c.split == "validation",
            measurements.c.metric == metric,
            measurements.c.value.is_not(None),
        )
        .order_by(slots.c.trial_id, measurements.c.step)
    )
    found: dict[int, list[tuple[int, float]]] = {}
    for trial_id, step, value in moment.execute(query):
        if trial_id in trials:
            found.setdefault(trial_id, []).append((step, value))
    return found


def importances(trials: Sequence[FrozenTrial]) -> list[dict[str, object]] | None:
    """How much each metaparameter matters for a value among the best, by PED-ANOVA (Watanabe et
    al. 2023) as the dashboard has it, of all trials that are shown with a value. None where there
    are too few, or Optuna can't tell."""
    valued = [one for one in trials if one.values is not None]
    if len(valued) < _FEWEST:
        return None
    study = optuna.create_study(storage=None)
    study.add_trials(
        create_trial(value=one.values[0], params=one.params, distributions=one.distributions)
        for one in valued
    )
    try:
        # Of where all trials are among the best and all importances equal; filters are everybody's.
        with _ALONE, catch_warnings():
            simplefilter("ignore")
            found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    except (ValueError, RuntimeError):
        return None
    kinds = {n: type(kind).__name__ for one in valued for n, kind in one.distributions.items()}
    return [
        {"name": name, "importance": importance, "distribution": kinds[name]}
        for name, importance in found.items()
    ]
