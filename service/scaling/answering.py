"""The answers of the likely curves, none of which contradicts the points."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import exp, inf, sqrt

import numpy as np

from service.scaling.bracket import Bracket, perfect_bracket, useful_bracket
from service.scaling.estimate import Estimate, Question, answer
from service.scaling.misfit import contradiction, drops, lies_off, rises_again
from service.scaling.noise import FINEST
from service.scaling.observation import Observation, logs
from service.scaling.oddities import STANDS_OUT
from service.scaling.questions import ask
from service.scaling.reading import Reading
from service.scaling.replicates import Replicates

Answers = tuple[Estimate, Estimate, Estimate, Estimate, Estimate]
"""Of s_min, e_min, half_efficiency, perfect_until and useful_until."""

_ASKED = {
    "perfect_until": "scaling is near-perfect",
    "useful_until": "a larger batch is useful",
}


def along(
    reading: Reading,
    seen: Sequence[Observation],
    repeated: Replicates | None,
    extra: float,
    share: float,
) -> tuple[Answers, tuple[str, ...]]:
    """The answers, none of which contradicts the points, and the warnings."""
    dropped, off = tuple(drops(reading)), tuple(lies_off(reading, repeated))
    # Where the curves are no guide the likelier answer of the points is better than a sure one.
    margin = reading.margin / 3 if dropped else reading.margin
    if off and repeated is not None:  # then what the points differ by is no noise
        margin = min(margin, STANDS_OUT * sqrt(2) * max(repeated.error, FINEST))
    questions = _questions(reading, seen, extra, share, margin, inf)
    if dropped:
        questions |= {name: replace(questions[name], alone=True) for name in _ASKED}
    otherwise = () if dropped or off else tuple(_contradictions(reading, questions))
    estimates = _answer(reading, seen, questions)
    if dropped or off or otherwise:
        estimates |= _without_curve(reading, "the points follow no such curve")
    return _in_order(estimates), (*dropped, *off, *otherwise)


def while_falling(
    reading: Reading,
    seen: Sequence[Observation],
    kept: Sequence[Observation],
    worse: int,
    extra: float,
    share: float,
) -> tuple[Answers, tuple[str, ...]]:
    """The answers where steps rise again: those of the smaller batch sizes, up to the best one."""
    best = int(np.argmin(reading.log_steps))
    most = float(reading.log_batch[best])
    estimates = _answer(
        reading, kept, _questions(reading, kept, extra, share, reading.margin, most)
    )
    estimates |= _without_curve(reading, f"steps rise again from batch size {worse:,} on")
    return _in_order(estimates), (rises_again(seen, worse),)


def _without_curve(reading: Reading, why: str) -> dict[str, Estimate]:
    """The answers that only a curve gives, but for the fewest steps measured."""
    best = int(np.argmin(reading.log_steps))
    size, steps = (exp(one[best]) for one in (reading.log_batch, reading.log_steps))
    none = Estimate(None, None, None, reason=why)
    return {
        "s_min": Estimate(None, None, steps, (round(size),), why),
        "e_min": none,
        "half_efficiency": none,
    }


def _questions(
    reading: Reading,
    seen: Sequence[Observation],
    extra: float,
    share: float,
    margin: float,
    most: float,
) -> dict[str, Question]:
    points = reading.log_batch, reading.log_steps
    brackets = {
        "perfect_until": perfect_bracket(*points, extra, margin).capped(most),
        "useful_until": useful_bracket(*points, share, margin).capped(most),
        "s_min": Bracket(cap=float(reading.log_steps.min()) + margin),
    }
    return ask(reading.sample, logs(seen)[0], extra, share, brackets)


def _contradictions(reading: Reading, questions: dict[str, Question]) -> Iterable[str]:
    for name, asked in _ASKED.items():
        if questions[name].agreeing(reading.sample) is None:
            yield contradiction(asked, questions[name], reading.sample)


def _answer(
    reading: Reading, seen: Sequence[Observation], questions: dict[str, Question]
) -> dict[str, Estimate]:
    at = tuple(one.batch_size for one in seen)
    return {name: answer(question, reading.sample, at) for name, question in questions.items()}


def _in_order(estimates: dict[str, Estimate]) -> Answers:
    return (
        estimates["s_min"],
        estimates["e_min"],
        estimates["half_efficiency"],
        estimates["perfect_until"],
        estimates["useful_until"],
    )


def unknown(why: str) -> Answers:
    """No answer, for this reason."""
    none = Estimate(None, None, None, reason=why)
    return none, none, none, none, none
