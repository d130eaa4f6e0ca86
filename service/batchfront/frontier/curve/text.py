"""What a frontier and the curve through it say, in plain sentences, for a terminal and for the page
alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import isclose
from typing import TYPE_CHECKING

from batchfront.frontier.frontier import Frontier, Point
from batchfront.outcomes import in_words
from batchfront.phrases import count as count
from batchfront.phrases import listed

if TYPE_CHECKING:  # which bring scipy, and much of what is printed needs no curve
    from batchfront.frontier.curve.curve import Curve
    from batchfront.frontier.curve.estimates import Estimate

SPACE = "\u00a0"  # between a number and its unit, so that no line breaks there


def answers(frontier: Frontier, curve: Curve) -> tuple[str, ...]:
    """The answers of a curve: how far scaling is near-perfect, how far a larger batch is useful,
    and what is left; or the one reason why there is no curve. Then what the curve doesn't fit, and
    the batch sizes that have not reached the goal."""
    missed = tuple(unreached_answers(frontier, curve))
    if curve.refusal:
        why = f"No curve can be drawn through these points: {curve.refusal}."
        return why, *curve.warnings, *missed
    asked = perfect_answer(curve), useful_answer(curve), fewest_answer(curve)
    tokens = filter(None, [in_tokens(frontier, curve)])
    return *asked, *tokens, *curve.warnings, *missed


_IN_TOKENS = {
    "perfect_until": "near-perfect up to",
    "useful_until": "useful up to",
    "half_efficiency": "half-efficiency at",
}


def in_tokens(frontier: Frontier, curve: Curve) -> str | None:
    """The batch sizes of a curve's answers in tokens, in a sentence; None where examples aren't
    counted in them, and where no answer is a number."""
    each = frontier.tokens_per_example
    found = {name: getattr(curve, name).value for name in _IN_TOKENS}
    said = [f"{_IN_TOKENS[n]} {number(each * b)}" for n, b in found.items() if each and b]
    if not said:
        return None
    return f"In tokens, of which an example has {number(each or 0)} on average: {listed(said)}."


def unreached_answers(frontier: Frontier, curve: Curve | None) -> Iterator[str]:
    """Where the goal was not reached, by any trial or by some of the seeds."""
    if frontier.unreached:
        some = any(point.finishers for point in frontier.unreached)
        why = "; a batch size reaches it where more than half of its seeds do" if some else ""
        yield f"The goal was not reached {_at(frontier.unreached)}{why}."
    beyond = frontier.unreached_beyond
    if beyond and curve is not None and not curve.refusal:
        largest = frontier.reached[-1].batch_size
        yield (
            f"What the curve says beyond batch size {largest:,} is what would hold if the goal "
            "could be reached there."
        )
    if frontier.failed:
        sizes = listed([f"{point.batch_size:,}" for point in frontier.failed])
        yield f"Nothing is known of batch size {sizes}, where every trial ended in an error."
    partly = [point for point in frontier.reached if len(point.finishers) < len(point.seeds)]
    if partly:
        yield f"Not all seeds reached the goal {_at(partly)}; the others count as the slowest."


def _at(points: Sequence[Point]) -> str:
    """Batch sizes, each with what became of its trials; what neighbours have in common is said
    once: "at batch sizes 64 and 128 (1 of 20 seeds did)"."""
    said: list[tuple[list[str], str]] = []
    for point in points:
        if said and said[-1][1] == _ended(point):
            said[-1][0].append(f"{point.batch_size:,}")
        else:
            said.append(([f"{point.batch_size:,}"], _ended(point)))
    sizes = f"batch size{'s' if len(points) > 1 else ''}"
    return f"at {sizes} " + ", ".join(f"{listed(mine)}{ended}" for mine, ended in said)


def _ended(point: Point) -> str:
    if not point.measured_elsewhere:
        return f" ({in_words(point.outcomes)})"
    there, of = len(point.finishers), point.trials
    return f" ({there or 'none'} of {of} seeds did)" if of > 1 else ""


def perfect_answer(curve: Curve) -> str:
    """How far a larger batch costs hardly any more examples."""
    start = size(curve.perfect_from)
    scaling = "scaling" if curve.asked.perfect_from is None else f"scaling from batch size {start}"
    more = percent(curve.asked.extra)
    return _answer(
        f"{scaling.capitalize()} is near-perfect up to",
        f"How far {scaling} is near-perfect",
        curve.perfect_until,
        f"beyond it training takes over {more} more examples than at {start}",
    )


def useful_answer(curve: Curve) -> str:
    """How far a larger batch saves steps."""
    return _answer(
        "A larger batch is useful up to",
        "How far a larger batch is useful",
        curve.useful_until,
        f"beyond it a doubling saves less than {percent(curve.asked.share)} of the steps",
    )


def fewest_answer(curve: Curve) -> str:
    """The steps that the curve levels off at, and where they are twice that."""
    fewest, half = curve.s_min, curve.half_efficiency
    if fewest.kind != "number" or half.kind != "number":
        return f"The fewest steps that a large batch can reach are not known: {_why(fewest, half)}."
    return (
        f"Large batches level off at about {estimate_text(fewest)} steps, and batch size "
        f"{estimate_text(half, size)} takes twice as many."
    )


def size(value: float) -> str:
    """A batch size, which is a whole number: 3, 1,840, 24,760; in full where it is one that was
    measured, or a multiple of it."""
    whole = max(round(value), 1)
    return f"{whole if isclose(value, whole) else _rounded(value):,}"


def number(value: float) -> str:
    """A number with the digits that a fit may claim: 2.6, 41, 1,841, 24,760, 3.02e+11."""
    if value >= 1e9:
        return f"{value:.3g}"
    return f"{_rounded(value):,}" if value >= 10 else f"{value:.2g}"


def _rounded(value: float) -> int:
    """Whole, to four digits, which is more than any fit is sure of."""
    return max(round(value), 1) if value < 10_000 else round(float(f"{value:.4g}"))


def percent(share: float) -> str:
    """A share as percent: "20 %"."""
    return f"{100 * share:.3g}{SPACE}%"


def estimate_text(estimate: Estimate, shown: Callable[[float], str] = number) -> str:
    """An estimate in words: "64 (90 % interval 41 to 97)", "512 at least"; `shown` writes its
    numbers, by default `number`."""
    low, high = estimate.low, estimate.high
    if estimate.value is None:
        bound = low if estimate.kind == "at least" else high
        return "unknown" if bound is None else f"{shown(bound)} {estimate.kind}"
    value = shown(estimate.value)
    if low is not None and high is not None:
        return f"{value} (90{SPACE}% interval {shown(low)} to {shown(high)})"
    bound, side = (high, "at most") if low is None else (low, "at least")
    if bound is None or shown(bound) == value:
        return value if bound is None else f"{value} {side}"
    return f"{value} (90{SPACE}% sure: {side} {shown(bound)})"


def _answer(begins: str, asked: str, estimate: Estimate, beyond: str) -> str:
    if estimate.kind == "unknown":
        return f"{asked} cannot be told from these points: {estimate.reason}."
    if estimate.kind != "number":
        return f"{begins} batch size {estimate_text(estimate, size)}; {estimate.reason}."
    return f"{begins} batch size {estimate_text(estimate, size)}: {beyond}."


def _why(*estimates: Estimate) -> str:
    return next(filter(None, (estimate.reason for estimate in estimates)), "")
