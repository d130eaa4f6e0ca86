"""Prints the best goal metric within budgets."""

from collections.abc import Callable, Sequence

from service.analysis.budget import BestWithin, Budget, BudgetResult, Budgets
from service.cli.analyses.output import NOTHING, print_as, short, table, whole


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
