"""Optuna's adaptive samplers, drawing in the unit cube from a study's results so far."""

import json
import warnings
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial
from sqlalchemy import select

from service.database import Storage
from service.schema import slots
from service.search_space import Choice, Dimension, SearchSpace, Value, dimensions
from service.slots import Study
from service.training.seeds import mix


def draw(storage: Storage, study: Study, number: int) -> dict[str, Value]:
    """The metaparameters of slot `number`, drawn by the study's sampler.

    The sampler sees a copy of the study in memory, whose parameters are positions in the unit
    cube: scales that Optuna has no distribution for (1 - momentum on a log scale) cost nothing,
    and nothing is written before the slot's own transaction writes it.

    What Optuna makes of trials that missed the goal: TPE ranks them behind those that reached it,
    by how many steps they went, most first, and only then by their last metric; GP fits those that
    reached it, and leaves the others out.
    """
    space = study.space
    searched = dimensions(space)
    seed = mix(study.points_seed, number) % 2**32
    copy = optuna.create_study(sampler=_sampler(study.sampler, seed))
    copy.add_trials(_history(storage, study, space))
    trial = copy.ask({name: _axis(dimension) for name, dimension in searched.items()})
    return {
        name: searched[name].at(_position(searched[name], trial.params[name]))
        if name in searched
        else entry  # type: ignore[misc]
        for name, entry in space.items()
    }


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "gp":
            return optuna.samplers.GPSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _axis(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Choice):
        return CategoricalDistribution(range(len(dimension.values)))
    return FloatDistribution(0.0, 1.0)


def _position(dimension: Dimension, coordinate: Any) -> float:
    if isinstance(dimension, Choice):
        return float(coordinate + 0.5) / len(dimension.values)
    return float(coordinate)


def _coordinate(dimension: Dimension, value: Value) -> float | int:
    if isinstance(dimension, Choice):
        return dimension.values.index(value)
    return min(max(dimension.position(value), 0.0), 1.0)


def _history(storage: Storage, study: Study, space: SearchSpace) -> list[optuna.trial.FrozenTrial]:
    """The study's drawn slots as trials of the unit cube."""
    searched = dimensions(space)
    axes = {name: _axis(dimension) for name, dimension in searched.items()}
    query = (
        select(slots)
        .where(slots.c.study_id == study.id, slots.c.params.is_not(None))
        .order_by(slots.c.number)
    )
    with storage.read() as conn:
        rows = conn.execute(query).all()
    trials = []
    for row in rows:
        params = json.loads(row.params)
        looked = row.metric is not None
        sign = 1 if study.identity["goal"]["better"] == "lower" else -1
        trials.append(
            create_trial(
                state=_state(row.outcome, row.steps_to_target),
                value=row.steps_to_target,
                params={name: _coordinate(searched[name], params[name]) for name in searched},
                distributions=axes,
                intermediate_values={row.steps: sign * row.metric} if looked else {},
            )
        )
    return trials


def _state(outcome: str | None, steps_to_target: int | None) -> TrialState:
    if steps_to_target is not None:  # also of one that goes on
        return TrialState.COMPLETE
    if outcome is None:
        return TrialState.RUNNING
    return TrialState.FAIL if outcome == "failed" else TrialState.PRUNED
