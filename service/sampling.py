"""Optuna's adaptive samplers, drawing in the unit cube from a study's results so far."""

import json
import math
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial
from sqlalchemy import select, true

from service.database import Storage
from service.generations import start_of
from service.points import quasi_random
from service.schema import slots
from service.search_space import Choice, Dimension, SearchSpace, Value, dimensions
from service.slots import Study
from service.training.seeds import mix


def draw(storage: Storage, study: Study, numbers: Sequence[int]) -> list[dict[str, Value]]:
    """The metaparameters of slots, drawn by the study's sampler.

    Of a study in generations, the first one's are quasi-random, and a later one's are drawn from
    what those before it have shown, in the order of their numbers, each knowing of the points of
    those before it. Of any other the slots are drawn from all results there are.

    The sampler sees a copy of the study in memory, whose parameters are positions in the unit
    cube: scales that Optuna has no distribution for (1 - momentum on a log scale) cost nothing,
    and nothing is written before the slot's own transaction writes it.

    It is told the logarithm of the steps to target; of a trial that missed the goal, of the steps
    that it may have needed (`_needed`). Optuna itself would leave such trials out (GP), or rank
    them by how far they went (TPE), which in a search that stops at the best so far says when they
    ran.
    """
    found: dict[int, dict[str, Value]] = {}
    for start in sorted({_start(study, number) for number in numbers}):
        here = [number for number in numbers if _start(study, number) == start]
        if study.generation and start == 0:
            found |= {number: quasi_random(study, number, 1)[0] for number in here}
        else:
            drawn = _ask(storage, study, start, max(here) - start + 1)
            found |= {number: drawn[number - start] for number in here}
    return [found[number] for number in numbers]


def _start(study: Study, number: int) -> int:
    return start_of(study, number) if study.generation else number


def _ask(storage: Storage, study: Study, start: int, count: int) -> list[dict[str, Value]]:
    """What the sampler proposes for slots `start .. start + count - 1`."""
    space = study.space
    searched = dimensions(space)
    seed = mix(study.points_seed, start) % 2**32
    copy = optuna.create_study(sampler=_sampler(study, seed))
    copy.add_trials(_history(storage, study, space, start))
    axes = {name: _axis(dimension) for name, dimension in searched.items()}
    return [
        {
            name: searched[name].at(_position(searched[name], trial.params[name]))
            if name in searched
            else entry  # type: ignore[misc]
            for name, entry in space.items()
        }
        for trial in (copy.ask(axes) for _ in range(count))
    ]


def _sampler(study: Study, seed: int) -> optuna.samplers.BaseSampler:
    # The first generation is random enough to begin with; otherwise Optuna's own number.
    start_up = 1 if study.generation else 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if study.sampler == "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=start_up)
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=start_up, multivariate=True, constant_liar=True
        )


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


def _history(
    storage: Storage, study: Study, space: SearchSpace, start: int
) -> list[optuna.trial.FrozenTrial]:
    """The study's drawn slots as trials of the unit cube; of one in generations, those before
    slot `start`."""
    searched = dimensions(space)
    axes = {name: _axis(dimension) for name, dimension in searched.items()}
    known = slots.c.number < start if study.generation else true()
    query = (
        select(slots)
        .where(slots.c.study_id == study.id, slots.c.params.is_not(None), known)
        .order_by(slots.c.number)
    )
    with storage.read() as conn:
        rows = conn.execute(query).all()
    trials = []
    for row in rows:
        params = json.loads(row.params)
        state = _state(row.outcome, row.steps_to_target)
        trials.append(
            create_trial(
                state=state,
                value=math.log(_needed(study, row)) if state == TrialState.COMPLETE else None,
                params={name: _coordinate(searched[name], params[name]) for name in searched},
                distributions=axes,
            )
        )
    return trials


def _needed(study: Study, row: Any) -> float:
    """The steps to target of a slot's row. Of one that missed the goal, the steps that it had (or,
    if it was given up as diverged or stalled, the step budget), times 1 + what its metric lacked in
    multiples of the goal: those it would need if an error fell as 1 / steps."""
    if row.steps_to_target is not None:
        return float(row.steps_to_target)
    given_up = row.outcome in ("diverged", "stalled")
    steps = study.identity["step_budget"] if given_up else max(row.steps, 1)
    goal = float(study.identity["goal"]["value"])
    lacked = 0.0 if row.metric is None else abs(row.metric - goal)
    return float(steps * (1 + lacked / max(abs(goal), 1e-12)))


def _state(outcome: str | None, steps_to_target: int | None) -> TrialState:
    if outcome is None and steps_to_target is None:
        return TrialState.RUNNING
    # One that goes on has its steps; only an error tells nothing.
    return TrialState.FAIL if outcome == "failed" else TrialState.COMPLETE
