"""Prints trials by learning rate, 1 - momentum and outcome."""

from collections.abc import Callable, Sequence

from service.analysis.outcomes import Outcomes
from service.cli.analyses.output import print_as, short, table, whole
from service.cli.tables import ended
from service.frontier import Frontier


def print_outcomes(
    frontier: Frontier, found: list[Outcomes], format_: str, *, listed: bool
) -> None:
    """The shares that were feasible, by decade; and, if `listed`, the trials before them."""
    records = [
        {"workload": frontier.workload, "batch_size": one.batch_size, **vars(trial)}
        for one in found
        for trial in one.trials
    ]
    print_as(format_, found, records, lambda show: _show(frontier, found, show, listed=listed))


def _show(
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
