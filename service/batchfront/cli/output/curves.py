"""Curves on standard output: the answers, the numbers behind them, and the forms tried."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from batchfront.cli.output.tables import (
    AS_RECORDS,
    Output,
    print_output,
    print_tables,
    warn_of_mixed_code,
)
from batchfront.frontier.code_versions import mixed
from batchfront.frontier.curve.answers import (
    BATCH_SIZES,
    by_expected_steps,
    curve_dict,
    estimate_records,
    fit_curve,
    quantities,
)
from batchfront.frontier.curve.curve import Curve
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.curve.text import answers, number, size
from batchfront.frontier.expected_table import fitted_to
from batchfront.frontier.frontier import Frontier
from batchfront.frontier.next_commands import more_finishers, rerun_winners
from batchfront.frontier.recommendation import Recommendation, recommendation
from batchfront.frontier.uncertainty.points import (
    point_uncertainties,
    points_table,
    why_merged,
    why_unknown,
)
from batchfront.frontier.warnings import at_edges, outlier_warnings, point_warnings
from batchfront.report.hours import NOT_TIMED, Hours
from batchfront.table import NOTHING, Column, Table, of_records


@dataclass(frozen=True)
class Fitted:
    """A frontier and the curve through it, and what its timings say."""

    frontier: Frontier
    curve: Curve
    hours: Hours = NOT_TIMED

    @property
    def answers(self) -> tuple[str, ...]:
        """What the curve says, in sentences."""
        return answers(self.frontier, self.curve)

    @property
    def recommendation(self) -> Recommendation | None:
        """Which batch sizes to train with."""
        return recommendation(self.frontier, self.curve)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should beware of, in sentences, one for each point."""
        points = point_warnings(self.frontier, self.curve)
        return self._warnings(*(warning.text for warning in points))

    @property
    def summed_up(self) -> tuple[str, ...]:
        """The same, with what several points have in common said once."""
        points = point_warnings(self.frontier, self.curve)
        edges = [] if self.frontier.measured_elsewhere else at_edges(self.frontier)
        return self._warnings(*(one.text for one in points if one.kind != "edge"), *edges)

    def _warnings(self, *of_points: str) -> tuple[str, ...]:
        code = mixed(self.frontier)
        return *outlier_warnings(self.curve), *of_points, *([] if code is None else [code])

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        chosen = self.recommendation
        return {
            "workload": self.frontier.workload,
            "goal": self.frontier.goal,
            "recommendation": None if chosen is None else chosen.to_dict(),
            "tokens_per_example": self.frontier.tokens_per_example,
            **asdict(self.curve.asked),
            "answers": list(self.answers),
            "fitted_to": "expected steps" if by_expected_steps(self.frontier) else "fastest trials",
            "why_fitted_to": fitted_to(self.frontier),
            "expected": self.frontier.expected.to_dict(),
            "doubts": list(self.warnings),
            "not_reached": [
                {"batch_size": point.batch_size, "outcomes": dict(point.outcomes)}
                for point in self.frontier.unreached
            ],
            **curve_dict(self.curve),
            "points": [one.to_dict() for one in point_uncertainties(self.frontier)],
        }


def print_curves(curves: Sequence[Fitted], format_: str) -> None:
    """Curves as text with tables, a JSON list, or CSV with a row for each quantity."""
    tables = [table for fitted in curves for table in _tables(fitted)] * (format_ == "table")
    plain = [fitted.to_dict() for fitted in curves] * (format_ == "json")
    print_output(Output(tables, _records(curves), plain), format_)
    if format_ in AS_RECORDS:
        for fitted in curves:
            warn_of_mixed_code(fitted.frontier)


def print_answers(frontier: Frontier, hours: Hours) -> None:
    """How far a larger batch helps, in sentences, by the curve's usual shares."""
    found = Fitted(frontier, fit_curve(frontier), hours)
    print_tables([Table(notes=_said(found))])


def _tables(fitted: Fitted) -> Iterator[Table]:
    frontier, curve, warnings = fitted.frontier, fitted.curve, fitted.summed_up
    title = f"{frontier.workload}: {frontier.goal_text}"
    yield Table(title=title, notes=(*_said(fitted)[1:], *([""] if warnings else []), *warnings))
    yield from numbers(curve)
    yield from _points(frontier)
    why = why_unknown(frontier)
    if why is not None:
        confirm = rerun_winners(frontier)
        yield Table(notes=[f"\n{why}{f'; {confirm} runs the winners again' if confirm else ''}."])


def _said(fitted: Fitted) -> list[str]:
    """Which batch size to train with, and how far a larger one helps, each after an empty line."""
    chosen = fitted.recommendation
    through = None if fitted.curve.refusal else fitted_to(fitted.frontier)
    said = fitted.hours.recommended("" if chosen is None else chosen.text)
    first = ["", said] if said else []
    return [*first, "", *fitted.answers, *filter(None, [through])]


def numbers(curve: Curve) -> Iterator[Table]:
    """What a curve answers, in numbers, and the forms that were tried."""
    if curve.refusal is None:
        yield _quantities(curve)
    if curve.fits:
        yield _forms(curve)


def _quantities(curve: Curve) -> Table:
    columns = (
        Column("", words=True),
        Column("value"),
        Column("90 % interval", words=True, whole=True),
        Column("decided by batch sizes", words=True),
    )
    rows = []
    for name, title in quantities(curve).items():
        estimate: Estimate = getattr(curve, name)
        shown = size if name in BATCH_SIZES else number
        value = None if estimate.value is None else shown(estimate.value)
        decided = ", ".join(f"{batch_size:,}" for batch_size in estimate.evidence)
        rows.append((title, value, _interval(estimate, shown), decided))
    return Table(columns, rows)


def _forms(curve: Curve) -> Table:
    columns = (
        Column("form", words=True),
        Column("AICc", lambda value: f"{value:.1f}"),
        Column("S_min", number),
        Column("B_c", number),
        Column("exponent", lambda value: f"{value:.2f}"),
        Column("", words=True),
    )
    rows = []
    for fit in curve.fits:
        better = "better" if fit is curve.fits[0] and curve.refusal is None else ""
        numbers = (fit.aicc, fit.s_min, fit.half_efficiency, fit.alpha)
        rows.append((fit.form.value, *numbers, better))
    return Table(columns, rows)


def _points(frontier: Frontier) -> Iterator[Table]:
    points = point_uncertainties(frontier)
    if points and max(len(one.sample.lowest) for one in points) == 1:
        more = more_finishers(frontier)
        told = f" {more} would tell." if more else ""
        yield Table(notes=[f"\n{points[0].more.verdict}{told}"])
    elif points:
        yield points_table(points)
        why = why_merged(points)
        yield Table(notes=[] if why is None else [why])


def _interval(estimate: Estimate, shown: Callable[[float], str]) -> str:
    low, high = estimate.low, estimate.high
    if low is not None and high is not None:
        return f"{shown(low)} to {shown(high)}"
    if low is not None:
        return f"at least {shown(low)}"
    return NOTHING if high is None else f"at most {shown(high)}"


def _records(curves: Sequence[Fitted]) -> Table:
    found = [
        {"workload": fitted.frontier.workload, **record}
        for fitted in curves
        for record in estimate_records(fitted.curve)
    ]
    return of_records(found)
