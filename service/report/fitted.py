"""The curve through a workload's frontier, as the page words it."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from service.answers import doubts, estimate_text, number, size
from service.curve import BATCH_SIZES, QUANTITIES, fit_curve
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

    found -- the curve, which may be refused; None where nothing has reached the goal, or the points
             can't be
    error -- why they can't
    """

    found: Curve | None = None
    error: str = ""

    @property
    def curve(self) -> Curve | None:
        """The curve, if it is one that can be drawn."""
        return None if self.found is None or self.found.refusal else self.found

    @property
    def refusal(self) -> str:
        """Why there is none to be drawn; empty where there is, or nothing to ask about."""
        return self.error or (self.found.refusal or "" if self.found else "")

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
        return tuple(
            _fact(name, getattr(self.curve, field), size if field in BATCH_SIZES else number)
            for field, name in QUANTITIES.items()
        )

    @property
    def doubts(self) -> tuple[str, ...]:
        """The points that don't look like a curve, a sentence for each."""
        return () if self.curve is None else doubts(self.curve)


def fitted(frontier: Frontier) -> Fitted:
    """The curve through the frontier's points. Never fails: a curve may be refused."""
    if not frontier.reached:
        return Fitted()
    try:
        return Fitted(fit_curve(frontier))
    except BatchfrontError as error:
        return Fitted(error=str(error))


def _fact(name: str, estimate: Estimate, shown: Callable[[float], str]) -> Fact:
    value = estimate_text(estimate, shown) if estimate.value is None else shown(estimate.value)
    interval = estimate.reason
    if estimate.low is not None and estimate.high is not None:
        interval = f"{shown(estimate.low)} to {shown(estimate.high)}"
    evidence = listed([count(batch_size) for batch_size in estimate.evidence])
    named = re.sub(r"_(\w+)", r"<sub>\1</sub>", name)  # B_c, S_min
    return Fact(named, value, interval, evidence or "–")


def _until(estimate: Estimate) -> str:
    if estimate.kind == "unknown":
        return "up to a batch size that these points do not determine"
    return f"up to batch size {estimate_text(estimate, size)}"
