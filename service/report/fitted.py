"""The curve through a workload's frontier, as the page draws and words it."""

from dataclasses import dataclass
from functools import lru_cache

from service.errors import BatchfrontError
from service.frontier import Frontier
from service.report.notation import approximately, count, listed
from service.scaling import Curve, Estimate, Observation, fit_curve


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
        return tuple(_fact(name, getattr(self.curve, field)) for field, name in _FACTS.items())


_FACTS = {
    "perfect_until": "near-perfect scaling until batch size",
    "useful_until": "useful up to batch size",
    "half_efficiency": "half-efficiency batch size, B<sub>c</sub>",
    "s_min": "fewest steps, S<sub>min</sub>",
    "e_min": "fewest examples, E<sub>min</sub>",
}


def fitted(frontier: Frontier) -> Fitted:
    """The curve through the frontier's points. Never fails: a curve may be refused."""
    points = tuple((p.batch_size, p.steps or 0, p.steps_lower) for p in frontier.reached)
    return _fitted(points) if points else Fitted()


@lru_cache(maxsize=64)  # a served page is made again and again, mostly of the same points
def _fitted(points: tuple[tuple[int, int, int | None], ...]) -> Fitted:
    try:
        curve = fit_curve(Observation(*point) for point in points)
    except BatchfrontError as error:
        return Fitted(refusal=str(error))
    return Fitted(refusal=curve.refusal) if curve.refusal else Fitted(curve)


def _fact(name: str, estimate: Estimate) -> Fact:
    evidence = listed([count(size) for size in estimate.evidence])
    return Fact(name, _value(estimate), _interval(estimate), evidence or "–")


def _value(estimate: Estimate) -> str:
    if estimate.value is not None:
        return approximately(estimate.value)
    bound = estimate.low if estimate.kind == "at least" else estimate.high
    return "not determined" if bound is None else f"{estimate.kind} {approximately(bound)}"


def _interval(estimate: Estimate) -> str:
    low, high = estimate.low, estimate.high
    if low is not None and high is not None:
        return f"{approximately(low)}–{approximately(high)}"
    return estimate.reason


def estimate_text(estimate: Estimate) -> str:
    """An estimate in words: "41 (90 % interval 26–62)", "at least 512"."""
    value, low, high = _value(estimate), estimate.low, estimate.high
    if estimate.kind != "number":
        return value
    if low is not None and high is not None:
        return f"{value} (90\u00a0% interval {_interval(estimate)})"
    if low is not None:
        return f"{value} (at least {approximately(low)})"
    return f"{value} (at most {approximately(high)})" if high is not None else value


def _until(estimate: Estimate) -> str:
    if estimate.kind == "unknown":
        return "up to a batch size that these points do not determine"
    return f"up to batch size {estimate_text(estimate)}"
