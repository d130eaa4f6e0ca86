"""What is unlike a curve: points that stand out, and steps that rise with the batch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp, log, sqrt

import numpy as np
from scipy.special import fdtrc

from batchfront.frontier.curve.deviation import Replicates
from batchfront.frontier.curve.estimates import Question
from batchfront.frontier.curve.fit import Observation, logs
from batchfront.frontier.curve.forms import Array, Form
from batchfront.frontier.curve.noise import STANDS_OUT
from batchfront.frontier.curve.posterior import Sample
from batchfront.frontier.curve.reading import Reading


@dataclass(frozen=True)
class Outlier:
    """A point that lies `sigmas` standard deviations above the curve (below: negative)."""

    batch_size: int
    sigmas: float


@dataclass(frozen=True)
class Rise:
    """The larger batch size took more steps, by `sigmas` standard deviations of the difference
    of two points: a sign that it was tuned less well."""

    batch_size: int
    larger: int
    sigmas: float


def outliers(
    observations: Sequence[Observation], curve: Array, noise: float
) -> tuple[Outlier, ...]:
    """The points further than STANDS_OUT from the curve's log steps at them, (n,)."""
    sigmas = (logs(observations)[1] - curve) / noise
    found = [Outlier(s.batch_size, float(z)) for s, z in zip(observations, sigmas, strict=True)]
    return tuple(outlier for outlier in found if abs(outlier.sigmas) > STANDS_OUT)


def rises(observations: Sequence[Observation], noise: float) -> tuple[Rise, ...]:
    """Every batch size that took more steps than the best smaller one, by more than STANDS_OUT."""
    found = []
    for index, seen in enumerate(observations):
        smaller = [other for other in observations[:index] if other.batch_size < seen.batch_size]
        if smaller:
            best = min(smaller, key=lambda other: other.middle)
            sigmas = log(seen.middle / best.middle) / (noise * sqrt(2))
            if sigmas > STANDS_OUT:
                found.append(Rise(best.batch_size, seen.batch_size, sigmas))
    return tuple(found)


def fall(log_batch: Array, log_steps: Array) -> float:
    """The median fall of log steps per log batch size over all pairs of points (Theil and Sen)."""
    slopes = [
        (log_steps[i] - log_steps[j]) / (log_batch[j] - log_batch[i])
        for i, j in combinations(range(len(log_batch)), 2)
        if log_batch[j] > log_batch[i]
    ]
    return float(np.median(slopes))


MATTERS = 0.1
"""Of log steps: a smaller distance from the curve hardly changes an answer."""

WILD = 0.5
"""A standard deviation of log steps that the luck of a search, of 0.13 to 0.3, does not explain."""

_STRONG = 20.0  # evidence, as of Kass and Raftery (1995)

_CHANCE = 0.001

_NEVER = log(1e15)  # no batch size is as large

_DROP = log(1.5)  # beyond perfect scaling


def rises_again(seen: Sequence[Observation], worse: int) -> str:
    """That steps rise again from the batch size `worse` on."""
    best = min(seen, key=lambda one: one.middle)
    return (
        f"Larger is worse from batch size {worse:,} on: steps rise again, from {_count(best)} at "
        f"{best.batch_size:,} to {_count(seen[-1])} at {seen[-1].batch_size:,}."
    )


def drops(reading: Reading) -> Iterable[str]:
    """That most of the fall is between two neighbours, by more than perfect scaling explains."""
    falls = -np.diff(reading.log_steps)
    at = int(np.argmax(falls))
    total = reading.log_steps[0] - reading.log_steps[-1]
    beyond = falls[at] - (reading.log_batch[at + 1] - reading.log_batch[at])
    if beyond > max(_DROP, reading.margin) and falls[at] > total / 2:
        steps, sizes = (
            [f"{exp(one):,.0f}" for one in both[at : at + 2]]
            for both in (reading.log_steps, reading.log_batch)
        )
        yield (
            f"Steps drop in one place, from {steps[0]} at batch size {sizes[0]} to {steps[1]} at "
            f"{sizes[1]}, which no such curve does."
        )


def lies_off(reading: Reading, repeated: Replicates | None) -> Iterable[str]:
    """That the points lie off every such curve: further than repeated measurements lie apart,
    together with their neighbours, or further than luck explains."""
    beside = reading.deviation
    freedom = len(reading.log_batch) - Form.THREE_PARAMETERS.parameters + 1
    if repeated is not None and freedom > 0 and beside.total > MATTERS:
        ratio = (beside.total / max(repeated.error, 1e-9)) ** 2
        if fdtrc(freedom, repeated.freedom, ratio) < _CHANCE:
            yield (
                f"The points lie {_percent(beside.total)} off the curve, where repeated "
                f"measurements explain {_percent(repeated.error)}: they follow no such curve."
            )
            return
    if beside.evidence > _STRONG and beside.shared > MATTERS:
        yield (
            f"Neighbouring points lie {_percent(beside.shared)} to the same side of the curve: "
            "they follow no such curve."
        )
    elif repeated is None and reading.scatter > WILD:
        yield (
            f"The points scatter by {_percent(reading.scatter)} around the curve, which luck "
            "does not explain."
        )


def contradiction(asked: str, question: Question, sample: Sample) -> str:
    """That the curve would answer otherwise than the points allow."""
    value = float(sample.quantiles(np.clip(question.draws, -_NEVER, _NEVER), (0.5,))[0])
    said = f"up to batch size {exp(value):,.0f}" if value > 0 else "at no batch size"
    bracket = question.bracket
    end = "beyond" if value < bracket.floor else "only below"
    limit = bracket.floor if value < bracket.floor else bracket.cap
    return (
        f"By the curve {asked} {said}, by the points {end} {exp(limit):,.0f}: the answer is that "
        "of the points."
    )


def _count(seen: Observation) -> str:
    return f"{seen.steps:,.0f}"


def _percent(deviation: float) -> str:
    return f"{100 * (exp(deviation) - 1):.0f}\u00a0%"
