"""How numbers and names are written in the report."""

import html
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from batchfront.errors import BatchfrontError
from batchfront.frontier.code_versions import mixed
from batchfront.frontier.curve import USUAL, Asked
from batchfront.frontier.curve.answers import BATCH_SIZES, ask_curve, quantities
from batchfront.frontier.curve.curve import Curve
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.curve.text import count as count
from batchfront.frontier.curve.text import estimate_text, number, percent, size
from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.intervals import apart
from batchfront.frontier.next_commands import wider_space
from batchfront.frontier.queries import Trial
from batchfront.frontier.warnings import outlier_warnings
from batchfront.outcomes import in_words
from batchfront.phrases import listed
from batchfront.printable import LINES, printable
from batchfront.vocabulary import Outcome
from batchfront.workload.search_space import Value


def perfect_steps(first: Point, batch_size: int) -> float:
    """The steps at a batch size if it needed as many examples as the first point does."""
    return (first.examples or 0) / batch_size


def short_count(number: float) -> str:
    """A number for a label beside a point: 1,841, then 18.4k and 1.84M."""
    if number < 10_000:
        return count(number)
    for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        # 999,950 would round up to 1000k, so each unit begins where the one below rounds up
        if number >= 0.9995 * scale:
            return f"{number / scale:#.3g}".rstrip(".") + unit
    return count(number)


def significant(value: Value | None) -> str:
    """A metaparameter with 3 significant digits; just below 1, those of its distance to 1."""
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return count(value)
    if not math.isfinite(value):
        return str(value)
    if 0.9 < value < 1:
        return f"{value:.{max(3, 1 - math.floor(math.log10(1 - value)))}f}"
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        text = f"{value:#.3g}"
        return f"{value:,.0f}" if "e" in text else text.rstrip(".")
    return power(f"{value:.2e}")


def power(text: str) -> str:
    """Scientific notation without padding: 1e-05 becomes 1e-5."""
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def rounded(value: float) -> float:
    """A number as the page's data keeps it: more digits than anyone can see."""
    return float(f"{value:.4g}")


def words(name: str) -> str:
    """A metaparameter's name as words: learning_rate becomes learning rate."""
    return name.replace("_", " ")


def in_figure(text: str) -> str:
    """Text for a figure, where Plotly reads a few tags."""
    return html.escape(printable(text), quote=False)


def escape(text: str) -> str:
    """Text for HTML, in which all can be seen: a browser, too, turns what follows an override."""
    return html.escape(printable(text, LINES))


def params_in_figure(params: dict[str, Value]) -> str:
    """Metaparameters for a hover label, one a line."""
    lines = (f"{words(name)} {significant(value)}" for name, value in params.items())
    return "<br>".join(in_figure(line) for line in lines)


@dataclass(frozen=True)
class Fact:
    """One number of the curve in words: what it is, as HTML, its value, its interval, and the
    batch sizes that decide it."""

    name: Markup
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
        start = self.curve.asked.perfect_from
        scaling = "scaling" if start is None else f"scaling from batch size {size(start)}"
        return f"Useful {_until(useful)}, and {scaling} is near-perfect {_until(perfect)}."

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Its numbers, those that decide first."""
        if self.curve is None:
            return ()
        return tuple(
            _fact(name, getattr(self.curve, field), size if field in BATCH_SIZES else number)
            for field, name in quantities(self.curve).items()
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """The points that lie off the curve, a sentence for each."""
        return () if self.curve is None else outlier_warnings(self.curve)


def fitted(frontier: Frontier, asked: Asked = USUAL) -> Fitted:
    """The curve through the frontier's points. Never fails: a curve may be refused."""
    if not frontier.reached:
        return Fitted()
    try:
        return Fitted(ask_curve(frontier, asked))
    except BatchfrontError as error:
        return Fitted(error=str(error))


def _fact(name: str, estimate: Estimate, shown: Callable[[float], str]) -> Fact:
    value = estimate_text(estimate, shown) if estimate.value is None else shown(estimate.value)
    low, high = estimate.low, estimate.high
    if low is not None and high is not None:
        interval = f"{shown(low)} to {shown(high)}"
    else:
        ends = (("at least", low), ("at most", high))
        bounds = [f"{side} {shown(end)}" for side, end in ends if end is not None]
        interval = ": ".join(filter(None, (*bounds, estimate.reason)))
    evidence = listed([count(batch_size) for batch_size in estimate.evidence])
    named = Markup(re.sub(r"_(\w+)", r"<sub>\1</sub>", name))  # B_c, S_min; escapes nothing
    return Fact(named, value, interval, evidence or "–")


def _until(estimate: Estimate) -> str:
    if estimate.kind == "unknown":
        return "up to a batch size that these points do not determine"
    return f"up to batch size {estimate_text(estimate, size)}"


@dataclass(frozen=True)
class OutcomeStyle:
    """How one outcome is drawn, and what it means. `color` is one of the page's CSS colours."""

    name: str
    color: str
    symbol: str
    meaning: str


_SYMBOLS = {
    Outcome.REACHED: "circle",
    Outcome.CAPPED: "square",
    Outcome.DROPPED: "triangle-down",
    Outcome.DIVERGED: "triangle-up",
    Outcome.STALLED: "diamond",
    Outcome.EXHAUSTED: "cross",
    Outcome.FAILED: "x",
}

OUTCOME_STYLES = (
    *(OutcomeStyle(o, f"var(--{o})", _SYMBOLS[o], o.meaning) for o in Outcome),
    OutcomeStyle("open", "var(--open)", "circle-open", "not done yet"),
)
"""In the order in which outcomes stand everywhere."""

WINNER = "var(--accent)"
"""The winners' colour, in every figure."""


def outcome_of(trial: Trial) -> str:
    """A trial's outcome, `open` while it has none."""
    return trial.outcome or "open"


def by_points(frontier: Frontier, asked: Asked = USUAL) -> str:
    """The same as `reading`, with whose steps these are."""
    said = reading(frontier, asked)
    points = "points" if frontier.measured_elsewhere else "fastest trials"
    return f"By the {points} alone: {said[0].lower() + said[1:]}" if said else ""


def reading(frontier: Frontier, asked: Asked = USUAL) -> str:
    """The curve in one or two sentences. Only ratios of its points: no fit, no certainty. Empty if
    there is none, and never will be.

    asked -- near-perfect scaling is measured from the first point at or beyond the batch size that
             it says
    """
    start = asked.perfect_from or 0
    reached = tuple(point for point in frontier.reached if point.batch_size >= start)
    reached = reached if len(reached) > 1 else frontier.reached
    if not reached:
        over = frontier.unreached == frontier.points
        return "" if over else "No trial has reached the goal yet."
    first = reached[0]
    if len(reached) == 1:
        return (
            f"One batch size has reached the goal: {count(first.batch_size)}, in "
            f"{_steps(first)} ({count(first.examples or 0)} examples)."
        )
    near = [point for point in reached if ratio_to_perfect(point, first) <= 1 + asked.extra][-1]
    said = _near(first, near, reached[1], asked)
    return f"{said} {_beyond(near, reached)}".strip()


def ratio_to_perfect(point: Point, first: Point) -> float:
    """A point's steps as a multiple of what perfect scaling from the first point would need."""
    return (point.steps or 0) / perfect_steps(first, point.batch_size)


def _near(first: Point, near: Point, second: Point, asked: Asked) -> str:
    if near is first:
        more = 100 * (ratio_to_perfect(second, first) - 1)
        return (
            f"No larger batch comes within {percent(asked.extra)} of perfect scaling: batch size "
            f"{count(second.batch_size)} already needs {more:,.0f}\u00a0% more examples "
            f"than {count(first.batch_size)}."
        )
    return (
        f"From batch size {count(first.batch_size)} to {count(near.batch_size)} the steps fall "
        f"{_fold((first.steps or 0) / (near.steps or 1))}, from {count(first.steps or 0)} to "
        f"{count(near.steps or 0)}, where perfect scaling would be "
        f"{_fold(near.batch_size / first.batch_size)}."
    )


def _beyond(near: Point, reached: tuple[Point, ...]) -> str:
    larger = [point for point in reached if point.batch_size > near.batch_size]
    if not larger:
        return f"{count(near.batch_size)} is the largest batch size that reached the goal."
    fewest = min(larger, key=lambda point: point.steps or 0)
    saved = 100 * (1 - (fewest.steps or 0) / (near.steps or 1))
    if saved <= 0:
        return f"No larger batch size, up to {count(larger[-1].batch_size)}, takes fewer steps."
    where = f"{count(fewest.steps or 0)} at {count(fewest.batch_size)}"
    ratio = (near.steps or 0) / (fewest.steps or 1)
    if ratio >= 2:  # a share saved says little where most of the steps are
        return (
            f"Beyond {count(near.batch_size)} the steps fall {_fold(ratio)}, to {where}, where "
            f"perfect scaling would be {_fold(fewest.batch_size / near.batch_size)}."
        )
    return (
        f"Beyond {count(near.batch_size)}, up to {count(larger[-1].batch_size)}, the steps fall "
        f"by at most another {saved:.0f}\u00a0%, to {where}."
    )


def _fold(ratio: float) -> str:
    return f"{ratio:,.0f}-fold" if ratio >= 9.95 else f"{ratio:.1f}-fold".replace(".0-", "-")


def _steps(point: Point) -> str:
    return "1 step" if point.steps == 1 else f"{count(point.steps or 0)} steps"


def goal_text(frontier: Frontier) -> str:
    """The goal as a person says it: "validation error rate below 0.03"."""
    goal = frontier.goal
    if "text" in goal:
        return str(goal["text"])
    side = "below" if goal["better"] == "lower" else "above"
    return f"validation {goal['metric']} {side} {goal['value']:g}"


def batch_sizes_text(frontier: Frontier) -> str:
    """How many batch sizes, and which: "10, from 2 to 1,024"."""
    batches = [point.batch_size for point in frontier.points]
    if len(batches) == 1:
        return f"1, namely {count(batches[0])}"
    return f"{len(batches)}, from {count(batches[0])} to {count(batches[-1])}"


def trials_text(frontier: Frontier) -> str:
    """How many trials, and how they ended: "320: 10 reached, 258 capped, 52 stalled"."""
    total = frontier.outcomes
    everyone = sum(total.values())
    return f"{count(everyone)}: {in_words(total)}" if everyone else "none"


def notes(frontier: Frontier) -> list[str]:
    """What a reader must know before trusting the curve; empty when there is nothing."""
    found = []
    open_trials = sum(point.outcomes.get("open", 0) for point in frontier.points)
    if open_trials:
        fewer = [count(point.batch_size) for point in frontier.points if point.outcomes.get("open")]
        are = "1 trial is" if open_trials == 1 else f"{count(open_trials)} trials are"
        where = "" if len(fewer) == len(frontier.points) else f", at {_batch_sizes(fewer)}"
        lower = ": points may still move down" if frontier.reached else ""
        by = sorted({p.study.stopped_by for p in frontier.points if p.study.stopped_by})
        stopped = f", as {listed(by)} stopped the last run" if by else ""
        found.append(f"{are} not done yet{where}{stopped}{lower}.")
    found += frontier.nothing_trains
    shared = [point.study for point in frontier.points if point.study.max_trials is not None]
    if shared:
        why = next((study.settled for study in shared if study.settled), None)
        until = f", until {why}" if why else "; they aren't all run yet"
        found.append(
            "The trials were shared out between the batch sizes to where they were expected to "
            f"tell the most{until}."
        )
    over = (*frontier.unreached, *frontier.failed)
    pending = [p for p in frontier.points if p.best is None and p not in over]
    if pending and frontier.reached:
        found.append(f"No winner yet at {_batch_sizes([count(p.batch_size) for p in pending])}.")
    different = {kind: found for kind, found in frontier.versions.items() if len(found) > 1}
    code = mixed(frontier)
    if code is not None:
        found.append(code)
        different.pop("source", None)
    if different.pop("engine", None):
        found.append(
            "Some trials were computed one after another, others as one model: rounding may have "
            "moved the steps at which they pass the goal."
        )
    found += [
        f"The trials ran with different versions of {kind}: {listed(versions)}."
        for kind, versions in different.items()
    ]
    goals = {json.dumps(point.study.identity["goal"], sort_keys=True) for point in frontier.points}
    if len(goals) > 1:
        found.append("The studies have different goals: their steps can't be compared.")
    far = apart(frontier)
    if far is not None:
        found.append(far)
    inexact = [count(point.batch_size) for point in frontier.points if point.inexact]
    if inexact:
        found.append(
            f"At {_batch_sizes(inexact)} trials were dropped by an option of the search, so "
            "another than the winner may have been faster."
        )
    edged = [count(point.batch_size) for point in frontier.points if point.edges]
    if edged:
        widens = wider_space(frontier)
        found.append(
            f"At {_batch_sizes(edged)} the winner lies at an edge of the search space: "
            f"a wider space may hold a faster one{f'; {widens} widens it' if widens else ''}."
        )
    return found


def _batch_sizes(shown: list[str]) -> str:
    return f"batch size{'s' if len(shown) > 1 else ''} {listed(shown)}"
