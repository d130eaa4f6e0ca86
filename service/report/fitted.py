"""The curve through a workload's frontier, as the page words it."""

import re
from dataclasses import dataclass
from functools import lru_cache

from service.answers import doubts, estimate_text, number
from service.curve import QUANTITIES, fit_curve
from service.errors import BatchfrontError
from service.frontier import Frontier
from service.report.notation import count, listed
from service.scaling import Curve, Estimate


@dataclass(frozen=True)
class Fact:
    """One number of the curve in words: what it is, as HTML, its value, its interval, and the
    batch sizes that decide it."""

    name: str
    value: str
    interval: str
    evidence: str


@dataclass(frozen=True)
class Fitted:
    """What the curve says, or why there is none.

    curve   -- None where there is none
    refusal -- why; empty where there is one, or no winner to ask about
    """

    curve: Curve | None = None
    refusal: str = ""

    @property
    def answer(self) -> str:
        """In one sentence: how far a larger batch is useful, and how sure that is."""
        if self.curve is None:
            return ""
        useful, perfect = self.curve.useful_until, self.curve.perfect_until
        return f"Useful {_until(useful)}, and scaling is near-perfect {_until(perfect)}."

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Its numbers, those that decide first."""
        if self.curve is None:
            return ()
        return tuple(_fact(name, getattr(self.curve, field)) for field, name in QUANTITIES.items())

    @property
    def doubts(self) -> tuple[str, ...]:
        """The points that don't look like a curve, a sentence for each."""
        return () if self.curve is None else doubts(self.curve)


def fitted(frontier: Frontier) -> Fitted:
    """The curve through the frontier's points. Never fails: a curve may be refused."""
    return _fitted(_Points(frontier)) if frontier.reached else Fitted()


class _Points:
    """A frontier that equals every other one with the same points."""

    def __init__(self, frontier: Frontier) -> None:
        self.frontier = frontier
        self.key = tuple((p.batch_size, p.steps, p.steps_lower) for p in frontier.reached)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Points) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=64)  # a served page is made again and again, mostly of the same points
def _fitted(points: _Points) -> Fitted:
    try:
        curve = fit_curve(points.frontier)
    except BatchfrontError as error:
        return Fitted(refusal=str(error))
    return Fitted(refusal=curve.refusal) if curve.refusal else Fitted(curve)


def _fact(name: str, estimate: Estimate) -> Fact:
    value = estimate_text(estimate) if estimate.value is None else number(estimate.value)
    interval = estimate.reason
    if estimate.low is not None and estimate.high is not None:
        interval = f"{number(estimate.low)} to {number(estimate.high)}"
    evidence = listed([count(size) for size in estimate.evidence])
    named = re.sub(r"_(\w+)", r"<sub>\1</sub>", name)  # B_c, S_min
    return Fact(named, value, interval, evidence or "–")


def _until(estimate: Estimate) -> str:
    if estimate.kind == "unknown":
        return "up to a batch size that these points do not determine"
    return f"up to batch size {estimate_text(estimate)}"
