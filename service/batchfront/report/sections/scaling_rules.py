"""What it would cost to scale metaparameters by a rule instead of tuning them."""

from collections.abc import Sequence

from batchfront.frontier.analysis.exponents import Exponent, Exponents, published
from batchfront.frontier.analysis.scaling_rules import Followed, Rules, rules
from batchfront.frontier.next_commands import rule_run
from batchfront.report.data import Subject
from batchfront.report.html import Part, advised, caption, place, scrolled
from batchfront.report.plotly import Figure, log_axis
from batchfront.report.series import Mark, Series, batch_axis, level, lines_figure, lines_key
from batchfront.report.text import count, escape, significant, words
from batchfront.table import NOTHING, Column, Table, of_records


def rules_part(subject: Subject) -> Part:
    """The exponents of the metaparameters, and the steps lost by each rule; nothing where there is
    neither, as where only one batch size has a winner."""
    found = rules(subject.frontier, subject.trials, subject.reruns)
    if len(found.winners) < 2:
        return Part()
    exponents = _exponents_part(subject, found)
    if not found.followed:
        return Part(exponents)
    name, label = f"{subject.key}/rules", f"{subject.key}-rules"
    lines = _lines(found)
    telling = any(mark.y > 1.005 for line in lines for mark in line.marks)
    drawn = lines_key(lines, "at least") + place(name, "medium") if telling else ""
    html = (
        f'<h4 id="{label}" class="apart">Steps lost by following a rule from the smallest batch '
        f"size</h4>{drawn}{caption(*_sentences(subject, found))}"
        f"{scrolled(label, _table(found), _records(found))}"
    )
    return Part(exponents + html, {name: _figure(subject, lines)} if telling else {})


def _exponents_part(subject: Subject, found: Rules) -> str:
    if not found.exponents:
        return ""
    label = f"{subject.key}-exponents"
    columns = (
        Column("best", words=True),
        Column("of the winners", _power),
        Column("of all trials that reached the goal", _power),
        Column("rules say", words=True),
    )
    rows = [(_quantity(one), one.winners, one.finishers, published(one)) for one in found.exponents]
    said = [
        "The best value goes with the batch size to this power, with its 90\u00a0% interval; "
        "rules that a row doesn’t name keep it.",
        *(
            f"{escape(_quantity(one))}: {escape(why)}."
            for one in found.exponents
            for why in one.notes
        ),
    ]
    heading = f'<h4 id="{label}" class="apart">How metaparameters go with the batch size</h4>'
    return f"{heading}{caption(*said)}{scrolled(label, Table(columns, rows), _powers(found))}"


def _powers(found: Rules) -> Table:
    """A row for each power, with the ends of its interval in columns of their own."""
    return of_records(
        [
            {
                "best": _quantity(one),
                "of": of,
                "power": power.value,
                "low": power.low,
                "high": power.high,
                "batch sizes": " ".join(map(str, power.batch_sizes)),
            }
            for one in found.exponents
            for of, power in (("winners", one.winners), ("reached", one.finishers))
            if power is not None
        ]
    )


def _quantity(one: Exponents) -> str:
    return words(one.quantity).replace(" - ", "\u00a0−\u00a0")


def _power(one: Exponent) -> str:
    ends = "" if one.low is None else f" ({one.low:.2f} to {one.high:.2f})"
    return f"{one.value:.2f}{ends}".replace("-", "−")


def _sentences(subject: Subject, found: Rules) -> list[str]:
    clipped = {name for one in found.followed for name in one.clipped}
    return [
        "What a rule needs is read from the nearest trial of the search, or measured where it was "
        "run. A trial that was stopped, as another had "
        "won, gives a bound; “far” is a trial too far from the rule’s point to tell much, and "
        "“outside” a point outside the search space."
        + advised(rule_run(subject.frontier, found.rules), " ", " runs a rule."),
        "“Clipped” is where the rule asks for more than can be: it says nothing there."
        * bool(clipped),
        *(f"The {escape(rule)} rule {escape(why_not)}." for rule, why_not in found.refused.items()),
    ]


def _lines(found: Rules) -> list[Series]:
    lines = []
    for rule in found.rules:
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
            one,
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
        Column("with", _scaled, words=True),
        Column("best steps", count),
        Column("rule’s steps", _needed),
        Column("×", _loss),
        Column("from", _source, words=True),
    )
    return Table(columns, rows)


def _records(found: Rules) -> Table:
    """The same with numbers as they are, and bounds said in a column of their own."""
    steps = {winner.batch_size: winner.steps for winner in found.winners}
    names = list(dict.fromkeys(name for one in found.followed for name in one.scaled))
    return of_records(
        [
            {
                "batch size": one.batch_size,
                "rule": one.rule,
                **{words(name): one.params[name] if name in one.scaled else None for name in names},
                "best steps": steps[one.batch_size],
                "rule’s steps": None if one.needed is None else one.needed.at_least,
                "bound": one.needed is not None and not one.needed.exact,
                "×": one.loss,
                "from": _source(one),
            }
            for one in found.followed
        ]
    )


def _scaled(one: Followed) -> str:
    return ", ".join(f"{words(name)} {significant(one.params[name])}" for name in one.scaled)


def _loss(one: Followed) -> str:
    return NOTHING if one.loss is None else f"{_least(one)}{one.loss:.2f}"


def _needed(one: Followed) -> str:
    if one.needed is None:
        return "never" if one.outcomes else "–"
    return f"{_least(one)}{count(one.needed.at_least)}"


def _least(one: Followed) -> str:
    return "" if one.needed is not None and one.needed.exact else "≥\u00a0"


def _source(one: Followed) -> str:
    where = ", outside" * bool(one.outside) + ", clipped" * bool(one.clipped)
    if one.source == "run":
        seeds = sum(one.outcomes.values())
        return f"run {'once' if seeds == 1 else f'{seeds} times'}{where}"
    if not one.nearest:
        return f"no trial{where}"
    return f"nearest trial, {one.nearest[0].number}{', far' if one.far else ''}{where}"
