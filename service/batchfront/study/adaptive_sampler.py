"""Optuna's adaptive samplers, which sample the unit cube by a study's results so far."""

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial
from sqlalchemy import select

from batchfront.store.database import Storage
from batchfront.store.schema import measurements, slots
from batchfront.study.generations import start_of
from batchfront.study.points import quasi_random
from batchfront.study.shown import Shown, as_raced, read_shown
from batchfront.study.study import Study
from batchfront.vocabulary import Outcome, Sampler
from batchfront.workload.search_space import Choice, Dimension, Value, dimensions
from batchfront.workload.seeds import mix


def sample(storage: Storage, study: Study, numbers: Sequence[int]) -> list[dict[str, Value]]:
    """Sample the metaparameters of slots by the study's sampler.

    Of a study in generations, the first one's are quasi-random, and a later one's are sampled from
    what those before it have shown, in the order of their numbers, each knowing of the points of
    those before it in its own. Of any other, from all results there are.

    The sampler sees a copy of the study in memory, whose parameters are positions in the unit
    cube: scales that Optuna has no distribution for (1 - momentum on a log scale) cost nothing,
    and nothing is written before the slot's own transaction writes it.

    Its objective is the logarithm of the steps to target; of a trial that missed the goal, of the
    steps that it may have needed (`_needed`). Optuna itself would leave such trials out (GP), or
    rank them by how far they went (TPE), which in a search that stops at the best so far says when
    they ran.
    """
    with storage.read() as conn:
        shown = read_shown(conn, study)
    if not study.generation:
        results = _trials(study, shown.values())
        return [_ask(study, number, results, []) for number in numbers]
    points = {n: one.params for n, one in shown.items()}
    known: dict[int, list[optuna.trial.FrozenTrial]] = {}  # by where a generation starts
    for number in sorted(numbers):
        start = start_of(study, number)
        if start not in known:
            earlier = [one for n, one in shown.items() if n < start]
            known[start] = _trials(study, _as_raced(storage, study, earlier))
        # Others of its generation may not be sampled yet: their points are what they will be.
        for n in range(start, number + 1):
            if n == number or n not in points:
                beside = [points[m] for m in range(start, n)]
                points[n] = _first(study, n) or _ask(study, n, known[start], beside)
    return [points[number] for number in numbers]


def _as_raced(storage: Storage, study: Study, shown: Sequence[Shown]) -> Iterator[Shown]:
    """What slots would have shown to one worker alone, with the metric that they had there."""
    for one, raced in zip(shown, as_raced(study, shown), strict=True):
        late = raced is not one
        yield replace(raced, metric=_metric_at(storage, study, raced)) if late else one


def _metric_at(storage: Storage, study: Study, one: Shown) -> float | None:
    """A slot's goal metric when last computed in full up to the steps that it had."""
    query = (
        select(measurements.c.value)
        .select_from(measurements.join(slots, measurements.c.slot_id == slots.c.id))
        .where(
            slots.c.study_id == study.id,
            slots.c.number == one.number,
            measurements.c.split == "validation",
            measurements.c.metric == study.metric,
            measurements.c.step <= one.steps,
        )
        .order_by(measurements.c.step.desc())
        .limit(1)
    )
    with storage.read() as conn:
        found: float | None = conn.execute(query).scalar_one_or_none()
    return found


def _first(study: Study, number: int) -> dict[str, Value] | None:
    """The point of a slot of the first generation; None for others."""
    return None if start_of(study, number) else quasi_random(study, number, 1)[0]


def _ask(
    study: Study,
    number: int,
    results: Sequence[optuna.trial.FrozenTrial],
    beside: Sequence[Mapping[str, Value]],
) -> dict[str, Value]:
    """What the sampler proposes for a slot, from results, and beside the points of others of its
    generation."""
    space = study.space
    searched = dimensions(space)
    with _quiet():
        copy = optuna.create_study(sampler=_sampler(study, mix(study.points_seed, number) % 2**32))
    copy.add_trials(results)
    copy.add_trials([_trial(searched, params, TrialState.RUNNING) for params in beside])
    trial = copy.ask({name: _axis(dimension) for name, dimension in searched.items()})
    return {
        name: searched[name].at(_position(searched[name], trial.params[name]))
        if name in searched
        else entry  # type: ignore[misc]
        for name, entry in space.items()
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's word on a new study: this one is nobody's."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _sampler(study: Study, seed: int) -> optuna.samplers.BaseSampler:
    # The first generation is random enough to begin with; otherwise Optuna's own number.
    start_up = 1 if study.generation else 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if study.sampler == Sampler.GP:
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


def _trials(study: Study, shown: Iterable[Shown]) -> list[optuna.trial.FrozenTrial]:
    """What slots have shown, as trials of the unit cube."""
    searched = dimensions(study.space)
    return [_trial(searched, one.params, _state(one), _value(study, one)) for one in shown]


def _trial(
    searched: Mapping[str, Dimension],
    params: Mapping[str, Value],
    state: TrialState,
    value: float | None = None,
) -> optuna.trial.FrozenTrial:
    """A sampled slot as a trial of the unit cube."""
    return create_trial(
        state=state,
        value=value,
        params={name: _coordinate(searched[name], params[name]) for name in searched},
        distributions={name: _axis(dimension) for name, dimension in searched.items()},
    )


def _value(study: Study, one: Shown) -> float | None:
    return math.log(_needed(study, one)) if _state(one) == TrialState.COMPLETE else None


def _needed(study: Study, one: Shown) -> float:
    """The steps to target of a slot. Of one that missed the goal, the steps that it had (or, if it
    was given up as diverged or stalled, the step budget), times 1 + what its metric lacked in
    multiples of the goal: those it would need if an error fell as 1 / steps."""
    if one.steps_to_target is not None:
        return float(one.steps_to_target)
    given_up = one.outcome in (Outcome.DIVERGED, Outcome.STALLED)
    steps = study.identity["step_budget"] if given_up else max(one.steps, 1)
    return float(steps * (1 + (0.0 if one.metric is None else lacked(study, one.metric))))


def lacked(study: Study, metric: float) -> float:
    """How far a value of the goal metric is from the goal, in multiples of the goal."""
    goal = float(study.identity["goal"]["value"])
    return abs(metric - goal) / max(abs(goal), 1e-12)


def _state(one: Shown) -> TrialState:
    if one.outcome is None and one.steps_to_target is None:
        return TrialState.RUNNING
    # One that goes on has its steps; only an error tells nothing.
    return TrialState.FAIL if one.outcome == Outcome.FAILED else TrialState.COMPLETE
