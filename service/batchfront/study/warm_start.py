"""A study's first slots at what its neighbours in batch size have found (`--warm-start`).

Ours, from how the best learning rate moves with the batch size: not at all, with its square root,
or linearly, as the rules say that Shallue et al. 2018 (section 4.6) compare. Whoever plans this
buys other points, not other stopping: each study's result is what it is of a search, but another
search than the plain one's.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import select

from batchfront.store.database import Storage
from batchfront.store.schema import slots, studies
from batchfront.study import adaptive_sampler, joint_sampler
from batchfront.study.points import quasi_random
from batchfront.study.study import SCALINGS, Study
from batchfront.vocabulary import Purpose
from batchfront.workload.search_space import Choice, Dimension, Integer, Metaparameters, Value


class Sampled(NamedTuple):
    """Metaparameters of a slot, and where they come from if from a neighbour."""

    params: Metaparameters
    origin: str | None = None


class _Winner(NamedTuple):
    study: str
    batch_size: int
    number: int
    params: Mapping[str, Any]


def sample_late(storage: Storage, study: Study, numbers: Sequence[int]) -> list[Sampled]:
    """Sample the metaparameters of slots for which that is left until they are started.

    The first of a study with warm start belong to its nearest smaller neighbour that has a winner
    at this time, the next to the nearest larger one; each takes the winner's metaparameters, the
    learning rate scaled by the ratio of the batch sizes to one of the powers in `SCALINGS`, within
    the study's search space. Where there is no winner, or the space makes two of them the same,
    the slot has the point that it has without warm start.
    """
    own = _own(storage, study, numbers)
    pairs = zip(numbers, own, strict=True)
    return [_sample(storage, study, number, params) for number, params in pairs]


def _sample(storage: Storage, study: Study, number: int, own: Metaparameters) -> Sampled:
    if number >= study.warm_slots:
        return Sampled(own)
    winner = _winner(storage, study, larger=number >= len(SCALINGS))
    if winner is None:
        return Sampled(own)
    ratio = study.batch_size / winner.batch_size
    turn = number % len(SCALINGS)
    *before, params = (_moved(study, winner, ratio**power, own) for power in SCALINGS[: turn + 1])
    if params in before:
        return Sampled(own)
    factor = float(params["learning_rate"]) / winner.params["learning_rate"]
    return Sampled(
        params, f"trial {winner.number} of {winner.study}, learning rate times {factor:.4g}"
    )


def _own(storage: Storage, study: Study, numbers: Sequence[int]) -> Sequence[Metaparameters]:
    if study.in_rounds:
        return joint_sampler.sample(storage, study, numbers)
    if study.adaptive:
        return adaptive_sampler.sample(storage, study, numbers)
    return [quasi_random(study, number, 1)[0] for number in numbers]


def _winner(storage: Storage, study: Study, *, larger: bool) -> _Winner | None:
    """The best trial so far of the nearest batch size, on one side, that has reached the goal."""
    size = studies.c.batch_size
    query = (
        select(studies.c.name, size, slots.c.number, slots.c.params)
        .select_from(slots.join(studies))
        .where(
            studies.c.workload == study.workload,
            studies.c.purpose == Purpose.SEARCH,
            size > study.batch_size if larger else size < study.batch_size,
            slots.c.steps_to_target.is_not(None),
            slots.c.params.is_not(None),
        )
        .order_by(size if larger else size.desc(), slots.c.steps_to_target, slots.c.number)
        .limit(1)
    )
    with storage.read() as conn:
        row = conn.execute(query).first()
    if row is None:
        return None
    return _Winner(row.name, row.batch_size, row.number, json.loads(row.params))


def _moved(study: Study, winner: _Winner, factor: float, own: Metaparameters) -> dict[str, Value]:
    """The winner's metaparameters, its learning rate scaled, within the study's space."""
    found = {**winner.params, "learning_rate": winner.params["learning_rate"] * factor}
    return {
        name: _within(entry, found.get(name, own[name]), own[name])
        if isinstance(entry, Dimension)
        else entry
        for name, entry in study.space.items()
    }


def _within(dimension: Dimension, value: Any, own: Value) -> Value:
    """The nearest value of a range, or of a choice of numbers; of another choice that lacks the
    value, the slot's own."""
    if isinstance(dimension, Choice):
        if value in dimension.values:
            return value  # type: ignore[no-any-return]
        numbers = [v for v in dimension.values if isinstance(v, int | float)]
        if len(numbers) < len(dimension.values) or not isinstance(value, int | float):
            return own
        return min(numbers, key=lambda number: abs(number - value))
    low, high = dimension.low, dimension.high  # type: ignore[attr-defined]
    inside = min(max(value, low), high)
    return round(inside) if isinstance(dimension, Integer) else float(inside)
