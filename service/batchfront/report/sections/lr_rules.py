"""What it would cost to scale the learning rate by a rule instead of tuning it."""

from collections.abc import Sequence

from batchfront.frontier.analysis.lr_rules import Followed, Rules, rules
from batchfront.frontier.next_commands import rule_run
from batchfront.phrases import listed
from batchfront.report.data import Subject
from batchfront.report.html import Part, advised, caption, place, scrolled
from batchfront.report.plotly import Figure, log_axis
from batchfront.report.series import Mark, Series, batch_axis, level, lines_figure, lines_key
from batchfront.report.text import count, escape, significant, words
from batchfront.table import NOTHING, Column, Table
from batchfront.workload.lr_scaling import RULES


def rules_part(subject: Subject) -> Part:
    """The exponents of the winners' rates, and the steps lost by each rule; nothing where the
    winners have no learning rate, or there is only one."""
    found = rules(subject.frontier, subject.trials, subject.reruns)
    if not found.followed:
        return Part()
    name, label = f"{subject.key}/rules", f"{subject.key}-rules"
    lines = _lines(found)
    telling = any(mark.y > 1.005 for line in lines for mark in line.marks)
    drawn = lines_key(lines, "at least") + place(name, "medium") if telling else ""
    html = (
        f'<h4 id="{label}" class="apart">Steps lost by following a rule from the smallest batch '
        f"size</h4>{drawn}{caption(*_sentences(subject, found))}{scrolled(label, _table(found))}"
    )
    return Part(html, {name: _figure(subject, lines)} if telling else {})


def _sentences(subject: Subject, found: Rules) -> list[str]:
    powers = [
        f"{escape(words(one.name))} goes with the batch size to the power of {one.value:.2f}"
        + ("" if one.error is None else f"\u00a0±\u00a0{one.error:.2f}")
        for one in found.exponents
    ]
    said = [f"Of these points, {listed(powers)}; 1 is the linear rule, 0.5 the square-root rule."]
    said.append(
        "What a rule needs is read from the nearest trial of the search, or measured where it was "
        "run. A trial that was stopped, as another had "
        "won, gives a bound; “far” is a trial too far from the rule’s point to tell much, and "
        "“outside” a learning rate outside the search space."
        + advised(rule_run(subject.frontier), " ", " runs a rule.")
    )
    return said if powers else said[1:]


def _lines(found: Rules) -> list[Series]:
    lines = []
    for rule in RULES:
        marks = [
            Mark(one.batch_size, one.loss, _said(one), one.needed is not None and one.needed.exact)
            for one in found.followed
            if one.rule == rule and one.loss is not None
        ]
        lines.append(Series(f"{rule} rule", marks))
    return [line for line in lines if line.marks]


def _said(one: Followed) -> str:
    return f"batch size {count(one.batch_size)}<br>{_needed(one)} steps, {_source(one)}"


def _figure(subject: Subject, lines: Sequence[Series]) -> Figure:
    values = [mark.y for line in lines for mark in line.marks]
    return lines_figure(
        f"Steps lost by scaling rules against batch size, {subject.frontier.workload}",
        lines,
        batch_axis([point.batch_size for point in subject.frontier.points]),
        log_axis("steps, as a multiple of the best", [1.0, *values]),
        [level(1.0)],
    )


def _table(found: Rules) -> Table:
    steps = {winner.batch_size: winner.steps for winner in found.winners}
    rows = [
        (
            one.batch_size,
            one.rule,
            one.params.get("learning_rate"),
            steps[one.batch_size],
            one,
            one,
            one,
        )
        for one in found.followed
    ]
    columns = (
        Column("batch size", count),
        Column("rule", words=True),
        Column("learning rate", significant),
        Column("best steps", count),
        Column("rule’s steps", _needed),
        Column("×", _loss),
        Column("from", _source, words=True),
    )
    return Table(columns, rows)


def _loss(one: Followed) -> str:
    return NOTHING if one.loss is None else f"{_least(one)}{one.loss:.2f}"


def _needed(one: Followed) -> str:
    if one.needed is None:
        return "never" if one.outcomes else "–"
    return f"{_least(one)}{count(one.needed.at_least)}"


def _least(one: Followed) -> str:
    return "" if one.needed is not None and one.needed.exact else "≥\u00a0"


def _source(one: Followed) -> str:
    where = ", outside" if one.outside else ""
    if one.source == "run":
        return f"run {sum(one.outcomes.values())} times{where}"
    if not one.nearest:
        return f"no trial{where}"
    return f"nearest trial, {one.nearest[0].number}{', far' if one.far else ''}{where}"
