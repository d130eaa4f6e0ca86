"""What each of `batchfront analyze` prints: its tables, its records and its plain data."""

from collections.abc import Iterator, Sequence
from typing import Any

from batchfront.cli.output.numbers import multiple, short, times
from batchfront.cli.output.tables import Output
from batchfront.frontier.analysis.along_training_text import steps_span
from batchfront.frontier.analysis.budget import BestWithin, Budget, Budgets
from batchfront.frontier.analysis.compare import Comparison, Series
from batchfront.frontier.analysis.effect import Effect, EffectPoint, ValueEffect
from batchfront.frontier.analysis.exponents import Exponent, Exponents, published
from batchfront.frontier.analysis.feasibility import Band, Outcomes
from batchfront.frontier.analysis.other_goals import Goals
from batchfront.frontier.analysis.scaling_rules import Followed, Rules, Winner
from batchfront.frontier.curve import EXTRA
from batchfront.frontier.curve.text import count, percent
from batchfront.frontier.frontier import Frontier
from batchfront.outcomes import in_words, outcomes_column
from batchfront.phrases import listed
from batchfront.table import NOTHING, Column, Table, by_batch_size, of_records
from batchfront.workload.search_space import value_text

_BATCH_SIZE = Column("batch size", count)


def budgets(found: Budgets, goes_on: str | None) -> Output:
    """A table for each unit: a row per batch size, a column per budget.

    goes_on -- the command that lets trials go on past the goal
    """
    records = [
        {
            "workload": found.workload,
            "unit": result.budget.unit,
            "amount": result.budget.amount,
            **vars(point),
        }
        for result in found.results
        for point in result.points
    ]
    return Output(list(_budget_tables(found, goes_on)), of_records(records), found)


def _budget_tables(found: Budgets, goes_on: str | None) -> Iterator[Table]:
    if found.reason:
        yield Table(notes=[f"{found.workload}: {found.reason}."])
    bound = "<=" if found.better == "lower" else ">="

    def best(point: BestWithin) -> str:
        if point.value is None:
            return NOTHING
        return f"{'' if point.complete else f'{bound} '}{short(point.value)}"

    for unit in dict.fromkeys(result.budget.unit for result in found.results):
        series = [
            (Column(_amount(result.budget), best), {one.batch_size: one for one in result.points})
            for result in found.results
            if result.budget.unit == unit
        ]
        title = f"{found.workload}: best {found.metric} within a budget of {unit}"
        yield Table(*by_batch_size(_BATCH_SIZE, series), title)
    if any(not point.complete for result in found.results for point in result.points):
        note = (
            f"\n{bound}: or better, as trials stopped before the budget was spent, at the goal or "
            "when another had passed it."
        )
        more = f" {goes_on} lets the first that pass it go on." if goes_on else ""
        yield Table(notes=[note + more])


def _amount(budget: Budget) -> str:
    whole = budget.amount == int(budget.amount)
    return count(int(budget.amount)) if whole else short(budget.amount)


def comparison(found: Comparison) -> Output:
    """A row per workload and batch size; at the end where each leaves perfect scaling."""
    records = [
        {
            "workload": series.workload,
            "at": found.at,
            "measured": series.measured,
            **vars(point),
        }
        for series in found.series
        for point in series.points
    ]
    return Output(list(_comparison_tables(found)), of_records(records), found)


def _comparison_tables(found: Comparison) -> Iterator[Table]:
    columns = (
        _BATCH_SIZE,
        Column("steps", count),
        Column("batch", times),
        Column("relative steps", short),
        Column("if perfect", short),
        Column("examples", times),
    )
    for series in found.series:
        rows = [
            (p.batch_size, p.steps, p.batches, p.relative, 1 / p.batches, p.examples)
            for p in series.points
        ]
        notes = (series.answers[0], _measured(series), *series.answers[1:])
        yield Table(columns, rows, f"{series.workload}: {series.goal}", notes)
    if found.series:
        measured = all(series.measured for series in found.series)
        by = "as measured" if measured else "by each workload's own line of perfect scaling"
        said = f"\nSteps are relative to those at batch size {found.at:,}, {by}."
        yield Table(notes=[said])
    skipped = found.skipped.items()
    yield Table(notes=[f"\n{workload}: left out, {reason}." for workload, reason in skipped])


def _measured(series: Series) -> str:
    """The same question, asked of the points alone."""
    first, until = series.points[0].batch_size, series.measured_until
    more = f"{percent(EXTRA)} more examples than {first:,}"
    if until == first:
        return f"Of the points alone, none larger took at most {more}."
    taken = f"Of the points alone, {until:,} is the largest batch size that took at most {more}"
    if series.leaves_at is None:
        return f"{taken}, and the largest measured."
    return f"{taken}; {series.leaves_at:,} took more."


def effects(found: Sequence[Effect], more: str | None) -> Output:
    """A table for each metaparameter: a row per batch size, a column per value.

    more -- the command after which more trials reach the goal
    """
    records = [
        {
            "workload": one.workload,
            "metaparameter": one.name,
            "batch_size": point.batch_size,
            "value": effect.value,
            "low": effect.low,
            "high": effect.high,
            "trials": effect.trials,
            "reached": effect.reached,
            "at_least": effect.needed.at_least if effect.needed else None,
            "at_most": effect.needed.at_most if effect.needed else None,
            "metric": effect.metric,
            "ratio": effect.ratio,
        }
        for one in found
        for point in one.points
        for effect in point.values
    ]
    note = (
        "\nIn brackets: trials that reached the goal, of those that ended. >=: they stopped, "
        "as another had passed it." + (f" After {more} more of them get there." if more else "")
    )
    tables = [*map(_effect_table, found), Table(notes=[note])]
    return Output(tables, of_records(records), list(found))


def _effect_table(one: Effect) -> Table:
    values = dict.fromkeys(effect.value for point in one.points for effect in point.values)

    def row(point: EffectPoint) -> tuple[Any, ...]:
        found = {effect.value: effect for effect in point.values}
        return (point.batch_size, point.best, *map(found.get, values))

    columns = (
        _BATCH_SIZE,
        Column("best", value_text, words=True),
        *(Column(value_text(value), _effect) for value in values),
    )
    title = f"{one.workload}: best steps by {one.name}, in multiples of the best of all"
    return Table(columns, list(map(row, one.points)), title)


def _effect(effect: ValueEffect) -> str:
    counts = f"({effect.reached}/{effect.trials})"
    if effect.needed is None or effect.ratio is None:
        return f"{NOTHING} {counts}"
    return f"{multiple(effect.needed, effect.ratio)} {counts}"


def goals(found: Goals) -> Output:
    """A row per batch size, a column per goal."""
    records = [
        {"workload": found.workload, "goal": one.value, "own": one.own, **vars(point)}
        for one in found.frontiers
        for point in one.points
    ]
    return Output([_goals_table(found)], of_records(records), found)


def _goals_table(found: Goals) -> Table:
    if found.reason:
        return Table(notes=[f"{found.workload}: {found.reason}."])
    series = [
        (
            Column(f"{one.text}{' (its own)' if one.own else ''}", steps_span),
            {point.batch_size: point for point in one.points},
        )
        for one in found.frontiers
    ]
    note = (
        "\nA goal was passed between two evaluations, such as 90-128. <=: perhaps sooner, by a "
        "trial that stopped before; >: by none of them within these steps."
    )
    title = f"{found.workload}: steps to other goals of {found.metric}"
    return Table(*by_batch_size(_BATCH_SIZE, series), title, [note])


def outcomes(frontier: Frontier, found: Sequence[Outcomes], *, listed: bool) -> Output:
    """The shares that were feasible, by decade; and, if `listed`, the trials before them."""
    records = [
        {"workload": frontier.workload, "batch_size": one.batch_size, **vars(trial)}
        for one in found
        for trial in one.trials
    ]
    tables = [t for one in found for t in _outcome_tables(frontier, one, listed=listed)]
    return Output(tables, of_records(records), list(found))


def _outcome_tables(frontier: Frontier, one: Outcomes, *, listed: bool) -> Iterator[Table]:
    title = f"{frontier.workload} at batch size {one.batch_size:,}"
    columns: tuple[Column, ...]
    if listed:
        columns = (
            Column("trial"),
            Column("learning rate", short),
            Column("1 - momentum", short),
            Column("effective", short),
            Column("outcome", words=True),
            Column("steps", count),
            Column("steps to target", count),
        )
        yield Table(columns, [tuple(vars(trial).values()) for trial in one.trials], title)
        title = ""
    if one.reason:
        yield Table((), (), title, [f"No bands of the rate, {one.reason}."])
        return
    columns = (
        Column(one.by, _decade),
        Column("trials", count),
        Column("feasible", lambda share: f"{100 * share:.0f} %"),
        outcomes_column("outcomes"),
    )
    yield Table(columns, [(b, b.trials, b.feasible, b.outcomes) for b in one.bands], title)


def _decade(band: Band) -> str:
    return f"{band.low:g} to {band.high:g}"


def rules(found: Rules, run: str | None) -> Output:
    """Metaparameters by batch size, exponents, and the losses by batch size and rule.

    run -- the command that runs a rule
    """
    records = [_record(found, winner) for winner in found.winners]
    return Output(list(_rule_tables(found, run)), of_records(records), found)


def _record(found: Rules, winner: Winner) -> dict[str, Any]:
    plain = ("batch_size", "trial", "steps", "learning_rate", "momentum", "effective")
    record: dict[str, Any] = {"workload": found.workload}
    record |= {name: getattr(winner, name) for name in plain}
    record |= {name: winner.metaparameters.get(name) for name in winner.metaparameters}
    for rule, followed in zip(found.rules, _by_rule(found, winner.batch_size), strict=True):
        needed = followed.needed if followed else None
        near = followed.nearest if followed else ()
        name = rule.replace("-", "_")
        record |= {f"{name}_{scaled}": value for scaled, value in winner.ruled[rule].items()}
        if "learning_rate" in winner.ruled[rule]:
            record[f"{name}_effective"] = winner.effective_ruled.get(rule)
        record |= {
            f"{name}_source": followed.source if followed else None,
            f"{name}_at_least": needed.at_least if needed else None,
            f"{name}_at_most": needed.at_most if needed else None,
            f"{name}_loss": followed.loss if followed else None,
            f"{name}_distance": near[0].distance if near else None,
        }
    return record


def _by_rule(found: Rules, batch_size: int) -> list[Followed | None]:
    mine = {one.rule: one for one in found.followed if one.batch_size == batch_size}
    return [mine.get(rule) for rule in found.rules]


def _rule_tables(found: Rules, run: str | None) -> Iterator[Table]:
    if found.reason:
        yield Table(notes=[f"{found.workload}: nothing to compare with the rules, {found.reason}."])
        return
    yield from _scaled_tables(found)
    if found.exponents:
        yield _exponent_table(found.exponents)
    if found.followed:
        columns: tuple[Column, ...] = (
            _BATCH_SIZE,
            *(Column(rule, _loss) for rule in found.rules),
        )
        sizes = dict.fromkeys(followed.batch_size for followed in found.followed)
        rows: list[tuple[Any, ...]] = [(size, *_by_rule(found, size)) for size in sizes]
        title = "Steps that following a rule takes, in multiples of the frontier's"
        yield Table(columns, rows, title)
        columns = (_BATCH_SIZE, Column("rule", words=True), Column("read from", _by, words=True))
        rows = [(one.batch_size, one.rule, one) for one in found.followed]
        note = (
            "Distances are in the unit cube of the search space: 1 is the whole range of a "
            "metaparameter. A trial marked ! is so far from the rule's point that it says little."
        )
        runs = f" {run} runs a rule itself." if run else ""
        yield Table(columns, rows, "", [note + runs], keys=2)
    notes = [f"The {rule} rule {why_not}." for rule, why_not in found.refused.items()]
    if notes:
        yield Table(notes=["", *notes])


def _scaled_tables(found: Rules) -> Iterator[Table]:
    """What the winners have of each metaparameter that a rule scales, and what the rules make of
    the first one's."""
    first = found.winners[0]
    titled = f"{found.workload}: of the frontier, and what the rules make of the first"
    for name in first.metaparameters:
        rules = [rule for rule in found.rules if name in first.ruled[rule]]
        columns = [
            _BATCH_SIZE,
            Column(name.replace("_", " "), value_text),
            *(Column(f"{rule} rule", value_text) for rule in rules),
        ]
        rows: list[tuple[Any, ...]] = [
            (w.batch_size, w.metaparameters.get(name), *(w.ruled[rule][name] for rule in rules))
            for w in found.winners
        ]
        if name == "learning_rate" and any(w.effective is not None for w in found.winners):
            columns += [Column("momentum", value_text), Column("effective", short)]
            columns += [Column(f"{rule} rule", short) for rule in rules]
            effective = [
                (w.momentum, w.effective, *(w.effective_ruled.get(rule) for rule in rules))
                for w in found.winners
            ]
            rows = [(*row, *more) for row, more in zip(rows, effective, strict=True)]
        yield Table(columns, rows, titled)
        titled = ""


def _exponent_table(found: Sequence[Exponents]) -> Table:
    columns = (
        Column("", words=True),
        Column("winners (90 %)", _power, words=True),
        Column("all that reached (90 %)", _power, words=True),
        Column("rules say", words=True),
    )
    rows = [(one.quantity, one.winners, one.finishers, published(one)) for one in found]
    notes = [
        "Each is the best value's. A rule that a row doesn't name keeps what the row is of.",
        *(f"{one.quantity}: {why}." for one in found for why in one.notes),
    ]
    title = "The power of the batch size that each metaparameter goes with"
    return Table(columns, rows, title, notes)


def _power(one: Exponent) -> str:
    if one.low is None or one.high is None:
        return f"{one.value:.2f}"
    return f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"


def _loss(one: Followed) -> str:
    if one.needed is None or one.loss is None:
        return "never" if one.outcomes else NOTHING
    return multiple(one.needed, one.loss)


def _by(one: Followed) -> str:
    clipped = f", {listed(list(one.clipped))} clipped" if one.clipped else ""
    if not one.outcomes:
        return f"no trial{clipped}"
    if one.source == "run":
        return f"run: {in_words(one.outcomes)}{clipped}"
    near = one.nearest[0]
    mark = "!" if one.far else ""
    outside = f", {listed(list(one.outside))} outside the space" if one.outside else ""
    return f"trial {near.number} {near.outcome}, {near.distance:.2f} away{mark}{outside}{clipped}"
