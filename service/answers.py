"""What a curve says, in plain sentences, for a terminal and for the page alike."""

from service.scaling import Curve, Estimate

SPACE = "\u00a0"  # between a number and its unit, so that no line breaks there


def answers(curve: Curve, extra: float, share: float) -> tuple[str, ...]:
    """The answers of a curve that was asked with these shares: how far scaling is near-perfect,
    how far a larger batch is useful, and what is left; or the one reason why there is no curve."""
    if curve.refusal:
        return (f"No curve can be drawn through these points: {curve.refusal}.",)
    return perfect_answer(curve, extra), useful_answer(curve, share), fewest_answer(curve)


def perfect_answer(curve: Curve, extra: float) -> str:
    """How far a larger batch costs hardly any more examples."""
    smallest = number(curve.observations[0].batch_size)
    return _answer(
        "Scaling is near-perfect up to",
        "How far scaling is near-perfect",
        curve.perfect_until,
        f"beyond it training takes over {percent(extra)} more examples than at {smallest}",
    )


def useful_answer(curve: Curve, share: float) -> str:
    """How far a larger batch saves steps."""
    return _answer(
        "A larger batch is useful up to",
        "How far a larger batch is useful",
        curve.useful_until,
        f"beyond it a doubling saves less than {percent(share)} of the steps",
    )


def fewest_answer(curve: Curve) -> str:
    """The steps that the curve levels off at, and where they are twice that."""
    fewest, half = curve.s_min, curve.half_efficiency
    if fewest.kind != "number" or half.kind != "number":
        return f"The fewest steps that a large batch can reach are not known: {_why(fewest, half)}."
    return (
        f"Large batches level off at about {estimate_text(fewest)} steps, and batch size "
        f"{estimate_text(half)} takes twice as many."
    )


def doubts(curve: Curve) -> tuple[str, ...]:
    """The points that lie far from the curve, a sentence for each."""
    return tuple(
        f"Batch size {one.batch_size:,} lies {abs(one.sigmas):.1f} standard deviations "
        f"{'above' if one.sigmas > 0 else 'below'} the curve."
        for one in curve.outliers
    )


def estimate_text(estimate: Estimate) -> str:
    """An estimate in words: "64 (90 % interval 41 to 97)", "512 at least"."""
    low, high = estimate.low, estimate.high
    if estimate.value is None:
        bound = low if estimate.kind == "at least" else high
        return "unknown" if bound is None else f"{number(bound)} {estimate.kind}"
    value = number(estimate.value)
    if low is not None and high is not None:
        return f"{value} (90{SPACE}% interval {number(low)} to {number(high)})"
    if low is not None:
        return f"{value} (90{SPACE}% sure: at least {number(low)})"
    return value if high is None else f"{value} (90{SPACE}% sure: at most {number(high)})"


def number(value: float) -> str:
    """A number with the digits that a fit may claim: 41, 1,840, 2.6."""
    return f"{round(value):,}" if value >= 10 else f"{value:.2g}"


def percent(share: float) -> str:
    """A share as percent: "20 %"."""
    return f"{100 * share:.3g}{SPACE}%"


def _answer(begins: str, asked: str, estimate: Estimate, beyond: str) -> str:
    if estimate.kind == "unknown":
        return f"{asked} cannot be told from these points: {estimate.reason}."
    if estimate.kind != "number":
        return f"{begins} batch size {estimate_text(estimate)}; {estimate.reason}."
    return f"{begins} batch size {estimate_text(estimate)}: {beyond}."


def _why(*estimates: Estimate) -> str:
    return next(filter(None, (estimate.reason for estimate in estimates)), "")
