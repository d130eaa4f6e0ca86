"""The answers of the likely curves, none of which contradicts the points."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import exp, inf

import numpy as np

from service.scaling.bracket import Bracket, perfect_bracket, useful_bracket
from service.scaling.estimate import Estimate, Question, answer
from service.scaling.misfit import contradiction, drops, lies_off, rises_again
from service.scaling.observation import Observation, logs
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
    questions = _questions(reading, seen, extra, share, margin, inf)
    if dropped:
        questions |= {name: replace(questions[name], alone=True) for name in _ASKED}
    otherwise = () if dropped or off else tuple(_contradictions(reading, questions))
    estimates = _answer(reading, seen, questions)
    if dropped or otherwise:
        none = Estimate(None, None, None, reason="the points follow no such curve")
        estimates |= {"e_min": none, "half_efficiency": none}
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
    why = f"steps rise again from batch size {worse:,} on"
    none = Estimate(None, None, None, reason=why)
    fewest = Estimate(None, None, exp(reading.log_steps[best]), (round(exp(most)),), why)
    estimates |= {"s_min": fewest, "e_min": none, "half_efficiency": none}
    return _in_order(estimates), (rises_again(seen, worse),)


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
