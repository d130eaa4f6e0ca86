"""Prints the effect of metaparameters."""

from collections.abc import Callable

from service.analysis.effect import Effect, EffectPoint, ValueEffect
from service.cli.analyses.output import NOTHING, multiple, print_as, table, whole
from service.cli.tables import number


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
    print_as(format_, found, records, lambda show: _show(found, show, more))


def _show(found: list[Effect], show: Callable[..., None], more: str | None) -> None:
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
    cells = {effect.value: _cell(effect) for effect in point.values}
    best = NOTHING if point.best is None else number(point.best)
    return [whole(point.batch_size), best, *(cells.get(value, NOTHING) for value in values)]


def _cell(effect: ValueEffect) -> str:
    counts = f"({effect.reached}/{effect.trials})"
    if effect.needed is None or effect.ratio is None:
        return f"{NOTHING} {counts}"
    return f"{multiple(effect.needed, effect.ratio)} {counts}"
