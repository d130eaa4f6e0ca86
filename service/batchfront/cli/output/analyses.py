"""Prints the best goal metric within budgets."""

from collections.abc import Callable, Sequence
from typing import Any

from batchfront.cli.output.tables import (
    NOTHING,
    ended,
    multiple,
    number,
    print_as,
    short,
    table,
    times,
    whole,
)
from batchfront.frontier.analysis.budget import BestWithin, Budget, BudgetResult, Budgets
from batchfront.frontier.analysis.compare import Comparison, Series
from batchfront.frontier.analysis.effect import Effect, EffectPoint, ValueEffect
from batchfront.frontier.analysis.feasibility import Outcomes
from batchfront.frontier.analysis.lr_rules import Exponent, Followed, Rules, Winner
from batchfront.frontier.analysis.other_goals import GoalPoint, Goals
from batchfront.frontier.curve.answers import EXTRA
from batchfront.frontier.curve.text import percent
from batchfront.frontier.frontier import Frontier
from batchfront.outcomes import in_words
from batchfront.workload.lr_scaling import RULES


def print_budgets(found: Budgets, format_: str, goes_on: str | None) -> None:
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
    print_as(format_, found, records, lambda show: _show(found, show, goes_on))


def _show(found: Budgets, show: Callable[..., None], goes_on: str | None) -> None:
    if found.reason:
        show(f"{found.workload}: {found.reason}.")
    for unit in dict.fromkeys(result.budget.unit for result in found.results):
        results = [result for result in found.results if result.budget.unit == unit]
        show(f"\n{found.workload}: best {found.metric} within a budget of {unit}\n")
        titles = ("batch size>", *(f"{_amount(result.budget)}>" for result in results))
        show(table(titles, _rows(results, lower=found.better == "lower")))
    if any(not point.complete for result in found.results for point in result.points):
        bound = "<=" if found.better == "lower" else ">="
        show(
            f"\n{bound}: or better, as trials stopped before the budget was spent, at the goal or "
            "when another had passed it."
            + (f" {goes_on} lets the first that pass it go on." if goes_on else "")
        )


def _amount(budget: Budget) -> str:
    return (
        whole(int(budget.amount)) if budget.amount == int(budget.amount) else short(budget.amount)
    )


def _rows(results: Sequence[BudgetResult], *, lower: bool) -> list[list[str]]:
    cells = [{point.batch_size: _cell(point, lower) for point in r.points} for r in results]
    sizes = sorted({batch_size for column in cells for batch_size in column})
    return [[whole(size), *(column.get(size, NOTHING) for column in cells)] for size in sizes]


def _cell(point: BestWithin, lower: bool) -> str:
    bound = "" if point.complete or point.value is None else "<= " if lower else ">= "
    return f"{bound}{short(point.value)}"


def print_comparison(comparison: Comparison, format_: str) -> None:
    """A row per workload and batch size; at the end where each leaves perfect scaling."""
    records = [
        {
            "workload": series.workload,
            "at": comparison.at,
            "measured": series.measured,
            **vars(point),
        }
        for series in comparison.series
        for point in series.points
    ]
    print_as(format_, comparison, records, lambda show: _show_of_compare(comparison, show))


def _show_of_compare(comparison: Comparison, show: Callable[..., None]) -> None:
    for series in comparison.series:
        show(f"\n{series.workload}: {series.goal}\n")
        rows = [
            (
                whole(point.batch_size),
                whole(point.steps),
                times(point.batches),
                short(point.relative),
                short(1 / point.batches),
                times(point.examples),
            )
            for point in series.points
        ]
        titles = ("batch size>", "steps>", "batch>", "relative steps>", "if perfect>", "examples>")
        show(table(titles, rows))
        for sentence in (series.answers[0], _measured(series), *series.answers[1:]):
            show(sentence)
    if comparison.series:
        measured = all(series.measured for series in comparison.series)
        by = "as measured" if measured else "by each workload's own line of perfect scaling"
        show(f"\nSteps are relative to those at batch size {comparison.at:,}, {by}.")
    for workload, reason in comparison.skipped.items():
        show(f"\n{workload}: left out, {reason}.")


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


def print_effects(found: list[Effect], format_: str, more: str | None) -> None:
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
    print_as(format_, found, records, lambda show: _show_of_effect(found, show, more))


def _show_of_effect(found: list[Effect], show: Callable[..., None], more: str | None) -> None:
    for one in found:
        show(f"\n{one.workload}: best steps by {one.name}, in multiples of the best of all\n")
        values = list(dict.fromkeys(effect.value for p in one.points for effect in p.values))
        titles = ("batch size>", "best", *(f"{number(value)}>" for value in values))
        show(table(titles, [_row(point, values) for point in one.points]))
    show(
        "\nIn brackets: trials that reached the goal, of those that ended. >=: they stopped, "
        "as another had passed it." + (f" After {more} more of them get there." if more else "")
    )


def _row(point: EffectPoint, values: list[object]) -> list[str]:
    cells = {effect.value: _cell_of_effect(effect) for effect in point.values}
    best = NOTHING if point.best is None else number(point.best)
    return [whole(point.batch_size), best, *(cells.get(value, NOTHING) for value in values)]


def _cell_of_effect(effect: ValueEffect) -> str:
    counts = f"({effect.reached}/{effect.trials})"
    if effect.needed is None or effect.ratio is None:
        return f"{NOTHING} {counts}"
    return f"{multiple(effect.needed, effect.ratio)} {counts}"


def print_goals(found: Goals, format_: str) -> None:
    """A row per batch size, a column per goal."""
    records = [
        {"workload": found.workload, "goal": one.value, "own": one.own, **vars(point)}
        for one in found.frontiers
        for point in one.points
    ]
    print_as(format_, found, records, lambda show: _show_of_goals(found, show))


def _show_of_goals(found: Goals, show: Callable[..., None]) -> None:
    if found.reason:
        show(f"{found.workload}: {found.reason}.")
        return
    show(f"\n{found.workload}: steps to other goals of {found.metric}\n")
    columns = [{p.batch_size: _cell_of_goals(p) for p in one.points} for one in found.frontiers]
    sizes = sorted({batch_size for column in columns for batch_size in column})
    # Each title ends in the mark of a column of numbers.
    titles = [f"{one.text}{' (its own)' if one.own else ''}>" for one in found.frontiers]
    rows = [[whole(size), *(column.get(size, NOTHING) for column in columns)] for size in sizes]
    show(table(("batch size>", *titles), rows))
    show(
        "\nA goal was passed between two looks, such as 90-128. <=: perhaps sooner, by a trial "
        "that stopped before; >: by none of them within these steps."
    )


def _cell_of_goals(point: GoalPoint) -> str:
    if point.steps is None:
        return NOTHING if point.steps_lower is None else f"> {whole(point.steps_lower)}"
    span = f"{whole(point.steps_lower)}-{whole(point.steps)}"
    return span if point.complete else f"<= {span}"


def print_outcomes(
    frontier: Frontier, found: list[Outcomes], format_: str, *, listed: bool
) -> None:
    """The shares that were feasible, by decade; and, if `listed`, the trials before them."""
    records = [
        {"workload": frontier.workload, "batch_size": one.batch_size, **vars(trial)}
        for one in found
        for trial in one.trials
    ]
    print_as(
        format_,
        found,
        records,
        lambda show: _show_of_outcomes(frontier, found, show, listed=listed),
    )


def _show_of_outcomes(
    frontier: Frontier, found: Sequence[Outcomes], show: Callable[..., None], *, listed: bool
) -> None:
    for one in found:
        show(f"\n{frontier.workload} at batch size {one.batch_size:,}\n")
        if listed:
            show(table(_TITLES, _trials(one)))
            show()
        if one.reason:
            show(f"No bands of the rate, {one.reason}.")
            continue
        titles = (f"{one.by}>", "trials>", "feasible>", "outcomes")
        show(table(titles, _bands(one)))


_TITLES = (
    "trial>",
    "learning rate>",
    "1 - momentum>",
    "effective>",
    "outcome",
    "steps>",
    "steps to target>",
)


def _trials(one: Outcomes) -> list[list[str]]:
    return [
        [
            str(trial.number),
            short(trial.learning_rate),
            short(trial.momentum_gap),
            short(trial.effective),
            trial.outcome,
            whole(trial.steps),
            whole(trial.steps_to_target),
        ]
        for trial in one.trials
    ]


def _bands(one: Outcomes) -> list[list[str]]:
    return [
        [
            f"{band.low:g} to {band.high:g}",
            whole(band.trials),
            f"{100 * band.feasible:.0f} %",
            ended(band.outcomes),
        ]
        for band in one.bands
    ]


def print_rules(found: Rules, format_: str, run: str | None) -> None:
    """Rates by batch size, exponents, and the losses by batch size and rule.

    run -- the command that runs a rule
    """
    records = [_record(found, winner) for winner in found.winners]
    print_as(format_, found, records, lambda show: _show_of_rules(found, show, run))


def _record(found: Rules, winner: Winner) -> dict[str, Any]:
    plain = ("batch_size", "trial", "steps", "learning_rate", "momentum", "effective")
    record: dict[str, Any] = {"workload": found.workload}
    record |= {name: getattr(winner, name) for name in plain}
    for rule in RULES:
        name = rule.replace("-", "_")
        one = _of(found.followed, rule, winner.batch_size)
        record |= {
            f"{name}_learning_rate": winner.ruled[rule],
            f"{name}_effective": winner.effective_ruled.get(rule),
            f"{name}_source": one.source if one else None,
            f"{name}_at_least": one.needed.at_least if one and one.needed else None,
            f"{name}_at_most": one.needed.at_most if one and one.needed else None,
            f"{name}_loss": one.loss if one else None,
            f"{name}_distance": one.nearest[0].distance if one and one.nearest else None,
        }
    return record


def _of(followed: Sequence[Followed], rule: str, batch_size: int) -> Followed | None:
    return next((f for f in followed if (f.rule, f.batch_size) == (rule, batch_size)), None)


def _show_of_rules(found: Rules, show: Callable[..., None], run: str | None) -> None:
    if found.reason:
        show(f"{found.workload}: nothing to compare with the rules, {found.reason}.")
        return
    show(f"\n{found.workload}: rates of the frontier, and what the rules make of the first\n")
    show(table(_RATE_TITLES, [_rates(winner) for winner in found.winners]))
    for exponent in found.exponents:
        show(_exponent(exponent))
    if found.followed:
        show("\nSteps that following a rule takes, in multiples of the frontier's\n")
        titles = ("batch size>", *(f"{rule}>" for rule in RULES), *(f"by ({r})" for r in RULES))
        sizes = dict.fromkeys(followed.batch_size for followed in found.followed)
        show(table(titles, [_losses(found.followed, size) for size in sizes]))
        show(_NOTE + (f" {run} runs a rule itself." if run else ""))


_RATE_TITLES = (
    "batch size>",
    "learning rate>",
    "linear>",
    "square root>",
    "momentum>",
    "effective>",
    "linear>",
    "square root>",
)


_NOTE = (
    "Distances are in the unit cube of the search space: 1 is the whole range of a metaparameter. "
    "A trial marked ! is so far from the rule's point that it says little."
)


def _rates(winner: Winner) -> list[str]:
    effective = winner.effective_ruled
    return [
        whole(winner.batch_size),
        short(winner.learning_rate),
        *(short(winner.ruled[rule]) for rule in RULES),
        NOTHING if winner.momentum is None else number(winner.momentum),
        short(winner.effective),
        *(short(effective.get(rule)) for rule in RULES),
    ]


def _exponent(fit: Exponent) -> str:
    error = "" if fit.error is None else f" ± {fit.error:.2f}"
    return (
        f"{fit.name} ~ batch size ^ {fit.value:.2f}{error}, from {fit.points} batch sizes "
        "(1: linear, 0.5: square root)"
    )


def _losses(followed: Sequence[Followed], batch_size: int) -> list[str]:
    both = [_of(followed, rule, batch_size) for rule in RULES]
    return [whole(batch_size), *map(_loss, both), *map(_by, both)]


def _loss(one: Followed | None) -> str:
    if one is None:
        return NOTHING
    if one.needed is None or one.loss is None:
        return "never" if one.outcomes else NOTHING
    return multiple(one.needed, one.loss)


def _by(one: Followed | None) -> str:
    if one is None or not one.outcomes:
        return "no trial"
    if one.source == "run":
        return f"run: {in_words(one.outcomes)}"
    near = one.nearest[0]
    mark = "!" if one.far else ""
    outside = f", {' and '.join(one.outside)} outside the space" if one.outside else ""
    return f"trial {near.number} {near.outcome}, {near.distance:.2f} away{mark}{outside}"
