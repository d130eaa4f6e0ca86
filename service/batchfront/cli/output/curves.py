"""Curves on standard output: the answers, the numbers behind them, and the forms tried."""

import csv
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console

from batchfront.cli.output.tables import console_for_output, plain_table, warn_of_mixed_code
from batchfront.frontier.certainty.expected_best import LITTLE
from batchfront.frontier.certainty.points import (
    PointCertainty,
    flags,
    point_certainties,
    why_unknown,
)
from batchfront.frontier.code_versions import mixed
from batchfront.frontier.curve.answers import (
    BATCH_SIZES,
    EXTRA,
    QUANTITIES,
    SHARE,
    curve_dict,
    fit_curve,
)
from batchfront.frontier.curve.curve import Curve
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.curve.text import answers, count, doubts, number, size
from batchfront.frontier.frontier import Frontier
from batchfront.frontier.next_commands import more_finishers


@dataclass(frozen=True)
class Fitted:
    """A frontier, the curve through it, and what the curve was asked."""

    frontier: Frontier
    curve: Curve
    extra: float
    share: float

    @property
    def answers(self) -> tuple[str, ...]:
        """What the curve says, in sentences."""
        return answers(self.frontier, self.curve, self.extra, self.share)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What to doubt, in sentences."""
        code = mixed(self.frontier)
        found = (
            *doubts(self.curve),
            *(flag.text for flag in flags(self.frontier, self.curve)),
        )
        return found if code is None else (*found, code)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "workload": self.frontier.workload,
            "goal": self.frontier.goal,
            "extra": self.extra,
            "share": self.share,
            "answers": list(self.answers),
            "doubts": list(self.doubts),
            "not_reached": [
                {"batch_size": point.batch_size, "outcomes": dict(point.outcomes)}
                for point in self.frontier.unreached
            ],
            **curve_dict(self.curve),
            "points": [one.to_dict() for one in point_certainties(self.frontier)],
        }


def print_curves(curves: Sequence[Fitted], format_: str) -> None:
    """Curves as text with tables, a JSON list, or CSV with a row for each quantity."""
    if format_ == "json":
        click.echo(json.dumps([fitted.to_dict() for fitted in curves], indent=2))
    elif format_ == "csv":
        _csv(curves)
        for fitted in curves:
            warn_of_mixed_code(fitted.frontier)
    else:
        for fitted in curves:
            _print(fitted)


def print_answers(frontier: Frontier) -> None:
    """How far a larger batch helps, in sentences, by the curve's usual shares."""
    click.echo()
    for sentence in Fitted(frontier, fit_curve(frontier, EXTRA, SHARE), EXTRA, SHARE).answers:
        click.echo(sentence)


def _print(fitted: Fitted) -> None:
    console = console_for_output()
    console.print(f"\n{fitted.frontier.workload}: {fitted.frontier.goal_text}\n")
    for sentence in (*fitted.answers, *([""] if fitted.doubts else []), *fitted.doubts):
        console.print(sentence)
    if fitted.curve.refusal is None:
        console.print()
        _quantities(console, fitted.curve)
    if fitted.curve.fits:
        console.print()
        _forms(console, fitted.curve)
    _points(console, point_certainties(fitted.frontier), more_finishers(fitted.frontier))
    why = why_unknown(fitted.frontier)
    if why is not None:
        confirm = fitted.frontier.advise("confirm")
        console.print(f"\n{why}{f'; {confirm} runs the winners again' if confirm else ''}.")


def _quantities(console: Console, curve: Curve) -> None:
    table = plain_table("", "value>", "90 % interval", "decided by batch sizes")
    for name, title in QUANTITIES.items():
        estimate = getattr(curve, name)
        decided = ", ".join(f"{batch_size:,}" for batch_size in estimate.evidence)
        shown = size if name in BATCH_SIZES else number
        value = "–" if estimate.value is None else shown(estimate.value)
        table.add_row(title, value, _interval(estimate, shown), decided)
    console.print(table)


def _forms(console: Console, curve: Curve) -> None:
    table = plain_table("form", "AICc>", "S_min>", "B_c>", "exponent>", "")
    for fit in curve.fits:
        better = "better" if fit is curve.fits[0] and curve.refusal is None else ""
        numbers = (number(fit.s_min), number(fit.half_efficiency), f"{fit.alpha:.2f}")
        table.add_row(fit.form.value, f"{fit.aicc:.1f}", *numbers, better)
    console.print(table)


def _points(console: Console, points: Sequence[PointCertainty], more: str | None) -> None:
    if not points:
        return
    if max(len(one.sample.lowest) for one in points) == 1:
        console.print(f"\n{points[0].more.verdict}{f' {more} would tell.' if more else ''}")
        return
    titles = ("batch size>", "steps>", "trials>", "reached>", "half the trials>", "twice as many>")
    table = plain_table(*titles, "best of another search")
    for one in points:
        least = "" if one.more.half.unknown < LITTLE else "at least "
        twice, noise = one.more.next_doubling, one.noise
        table.add_row(
            f"{one.batch_size:,}",
            count(one.sample.lowest[0]),
            f"{one.sample.trials:,}",
            f"{len(one.sample.lowest):,}",
            f"{least}+{100 * one.more.halving_cost:.0f} %",
            "–" if twice is None else f"at most -{100 * twice:.0f} %",
            "–" if noise is None else f"{number(noise.low)} to {number(noise.high)} (90 %)",
        )
    console.print()
    console.print(table)


def _interval(estimate: Estimate, shown: Callable[[float], str]) -> str:
    low, high = estimate.low, estimate.high
    if low is not None and high is not None:
        return f"{shown(low)} to {shown(high)}"
    if low is not None:
        return f"at least {shown(low)}"
    return "–" if high is None else f"at most {shown(high)}"


def _csv(curves: Sequence[Fitted]) -> None:
    fields = ("kind", "value", "low", "high")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["workload", "quantity", *fields, "evidence", "reason"])
    for fitted in curves:
        for name, estimate in curve_dict(fitted.curve)["estimates"].items():
            evidence = " ".join(map(str, estimate["evidence"]))
            shown = [estimate[field] for field in fields]
            writer.writerow([fitted.frontier.workload, name, *shown, evidence, estimate["reason"]])
