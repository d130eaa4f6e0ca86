"""What each of `batchfront analyze` prints: its tables, its records and its plain data."""

from collections.abc import Iterator, Sequence
from typing import Any

from batchfront.cli.output.numbers import multiple, number, short, times
from batchfront.cli.output.tables import Output
from batchfront.frontier.analysis.budget import BestWithin, Budget, Budgets
from batchfront.frontier.analysis.compare import Comparison, Series
from batchfront.frontier.analysis.effect import Effect, EffectPoint, ValueEffect
from batchfront.frontier.analysis.feasibility import Band, Outcomes
from batchfront.frontier.analysis.lr_rules import Exponent, Followed, Rules, Winner
from batchfront.frontier.analysis.other_goals import GoalPoint, Goals
from batchfront.frontier.curve import EXTRA
from batchfront.frontier.curve.text import count, percent
from batchfront.frontier.frontier import Frontier
from batchfront.outcomes import in_words
from batchfront.table import NOTHING, Column, Table, by_batch_size, of_records
from batchfront.workload.lr_scaling import RULES

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
        Column("best", number, words=True),
        *(Column(number(value), _effect) for value in values),
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
            Column(f"{one.text}{' (its own)' if one.own else ''}", _steps),
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


def _steps(point: GoalPoint) -> str:
    lower = None if point.steps_lower is None else count(point.steps_lower)
    if point.steps is None:
        return NOTHING if lower is None else f"> {lower}"
    span = f"{lower or NOTHING}-{count(point.steps)}"
    return span if point.complete else f"<= {span}"


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
        Column("outcomes", in_words, words=True),
    )
    yield Table(columns, [(b, b.trials, b.feasible, b.outcomes) for b in one.bands], title)


def _decade(band: Band) -> str:
    return f"{band.low:g} to {band.high:g}"


def rules(found: Rules, run: str | None) -> Output:
    """Rates by batch size, exponents, and the losses by batch size and rule.

    run -- the command that runs a rule
    """
    records = [_record(found, winner) for winner in found.winners]
    return Output(list(_rule_tables(found, run)), of_records(records), found)


def _record(found: Rules, winner: Winner) -> dict[str, Any]:
    plain = ("batch_size", "trial", "steps", "learning_rate", "momentum", "effective")
    record: dict[str, Any] = {"workload": found.workload}
    record |= {name: getattr(winner, name) for name in plain}
    for rule, followed in zip(RULES, _by_rule(found, winner.batch_size), strict=True):
        needed = followed.needed if followed else None
        near = followed.nearest if followed else ()
        name = rule.replace("-", "_")
        record |= {
            f"{name}_learning_rate": winner.ruled[rule],
            f"{name}_effective": winner.effective_ruled.get(rule),
            f"{name}_source": followed.source if followed else None,
            f"{name}_at_least": needed.at_least if needed else None,
            f"{name}_at_most": needed.at_most if needed else None,
            f"{name}_loss": followed.loss if followed else None,
            f"{name}_distance": near[0].distance if near else None,
        }
    return record


def _by_rule(found: Rules, batch_size: int) -> list[Followed | None]:
    mine = {one.rule: one for one in found.followed if one.batch_size == batch_size}
    return [mine.get(rule) for rule in RULES]


def _rule_tables(found: Rules, run: str | None) -> Iterator[Table]:
    if found.reason:
        yield Table(notes=[f"{found.workload}: nothing to compare with the rules, {found.reason}."])
        return
    columns: tuple[Column, ...] = (
        _BATCH_SIZE,
        Column("learning rate", short),
        Column("linear", short),
        Column("square root", short),
        Column("momentum", number),
        Column("effective", short),
        Column("linear", short),
        Column("square root", short),
    )
    title = f"{found.workload}: rates of the frontier, and what the rules make of the first"
    rows = [_rates(winner) for winner in found.winners]
    yield Table(columns, rows, title, list(map(_exponent, found.exponents)))
    if found.followed:
        columns = (
            _BATCH_SIZE,
            *(Column(rule, _loss) for rule in RULES),
            *(Column(f"by ({rule})", _by, words=True) for rule in RULES),
        )
        sizes = dict.fromkeys(followed.batch_size for followed in found.followed)
        title = "Steps that following a rule takes, in multiples of the frontier's"
        note = (
            "Distances are in the unit cube of the search space: 1 is the whole range of a "
            "metaparameter. A trial marked ! is so far from the rule's point that it says little."
        )
        rows = [(size, *2 * _by_rule(found, size)) for size in sizes]
        yield Table(columns, rows, title, [note + (f" {run} runs a rule itself." if run else "")])


def _rates(winner: Winner) -> tuple[Any, ...]:
    return (
        winner.batch_size,
        winner.learning_rate,
        *(winner.ruled[rule] for rule in RULES),
        winner.momentum,
        winner.effective,
        *(winner.effective_ruled.get(rule) for rule in RULES),
    )


def _exponent(fit: Exponent) -> str:
    error = "" if fit.error is None else f" ± {fit.error:.2f}"
    return (
        f"{fit.name} ~ batch size ^ {fit.value:.2f}{error}, from {fit.points} batch sizes "
        "(1: linear, 0.5: square root)"
    )


def _loss(one: Followed) -> str:
    if one.needed is None or one.loss is None:
        return "never" if one.outcomes else NOTHING
    return multiple(one.needed, one.loss)


def _by(one: Followed) -> str:
    if not one.outcomes:
        return "no trial"
    if one.source == "run":
        return f"run: {in_words(one.outcomes)}"
    near = one.nearest[0]
    mark = "!" if one.far else ""
    outside = f", {' and '.join(one.outside)} outside the space" if one.outside else ""
    return f"trial {near.number} {near.outcome}, {near.distance:.2f} away{mark}{outside}"
