"""`batchfront analyze`: what a workload's trials say beyond its frontier."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from batchfront.cli import options
from batchfront.cli.completion import stored
from batchfront.cli.help import Group
from batchfront.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from batchfront.frontier.analysis.budget import Budget
    from batchfront.frontier.frontier import Frontier

_workload = click.argument("workload", shell_complete=stored)


@click.group(
    cls=Group,
    epilog="""\b
Examples:
  batchfront analyze compare
  batchfront analyze rules digits/mlp/momentum
  batchfront analyze budget digits/mlp/momentum --epochs 1 --epochs 5
""",
)
def command() -> None:
    """Analyze what was run: several workloads side by side, or one more closely.

    Trials that race stop once one has passed the goal, so that some answers are bounds; each says
    so, and which command buys more.
    """


@command.command(epilog="\b\nExample:\n  batchfront analyze compare --at 64")
@click.argument("workloads", nargs=-1, shell_complete=stored)
@options.storage
@options.option(
    "--at",
    type=click.IntRange(min=1),
    metavar="B",
    help="The batch size at which all are set equal.  [default: the smallest that all have]",
)
@options.format_
def compare(workloads: tuple[str, ...], storage: str, at: int | None, format_: str) -> None:
    """Compare workloads, these or all: steps in multiples of those at one batch size.

    Normalized, all start on the same line of perfect scaling, and differ in where they leave it.
    """
    from batchfront.cli.output import analyses
    from batchfront.cli.output.tables import print_output, warn_of_mixed_code
    from batchfront.frontier.analysis import compare as analysis
    from batchfront.frontier.frontier import load_frontiers
    from batchfront.frontier.queries import require, require_some
    from batchfront.store.snapshot import snapshot

    with snapshot(storage) as moment:
        require(moment, workloads)
        require_some(moment)
        frontiers = load_frontiers(moment, workloads)
    for frontier in frontiers:
        warn_of_mixed_code(frontier)
    print_output(analyses.comparison(analysis.compare(frontiers, at)), format_)


@command.command(epilog="\b\nExample:\n  batchfront analyze rules digits/mlp/momentum")
@_workload
@options.storage
@options.format_
def rules(workload: str, storage: str, format_: str) -> None:
    """How metaparameters go with the batch size, beside what scaling rules say.

    The power of the batch size that the best of each metaparameter goes with, of the winners and of
    all trials that reached the goal. And what each rule costs, followed from the smallest batch
    size with a winner: the steps of the trial nearest to the rule's point, or of those that ran it
    (`batchfront confirm WORKLOAD --rule linear`).
    """
    from batchfront.cli.output import analyses
    from batchfront.cli.output.tables import print_output
    from batchfront.frontier.analysis import scaling_rules as analysis
    from batchfront.frontier.next_commands import rule_run
    from batchfront.frontier.queries import load_reruns, load_workload_trials

    with _read(storage, workload) as (moment, frontier):
        trials = load_workload_trials(moment, workload)
        reruns = load_reruns(moment, workload)
    found = analysis.rules(frontier, trials, reruns)
    print_output(analyses.rules(found, rule_run(frontier, found.rules)), format_)


@command.command(
    epilog="\b\nExample:\n  batchfront analyze outcomes digits/mlp/momentum --batch-size 64"
)
@_workload
@options.storage
@options.option(
    "--batch-size",
    type=click.IntRange(min=1),
    help="Only this one, and list its trials in the table too.  [default: all]",
)
@options.format_
def outcomes(workload: str, storage: str, batch_size: int | None, format_: str) -> None:
    """Trials by learning rate, 1 - momentum and outcome: where training is feasible."""
    from batchfront.cli.output import analyses
    from batchfront.cli.output.tables import print_output
    from batchfront.frontier.analysis import feasibility as analysis
    from batchfront.frontier.queries import load_workload_trials

    with _read(storage, workload) as (moment, frontier):
        trials = load_workload_trials(moment, workload)
    there = [point.batch_size for point in frontier.points]
    if batch_size is not None and batch_size not in there:
        known = ", ".join(map(str, there))
        raise UsageError(f"--batch-size {batch_size}: {workload} has no study of it, but {known}")
    found = [
        analysis.outcomes(point, trials.get(point.study.id, ()))
        for point in frontier.points
        if batch_size in (None, point.batch_size)
    ]
    print_output(analyses.outcomes(frontier, found, listed=batch_size is not None), format_)


_amount = click.FloatRange(min=0, min_open=True)


@command.command(
    epilog="\b\nExample:\n  batchfront analyze budget digits/mlp/momentum --steps 1000"
)
@_workload
@options.storage
@options.option(
    "--steps", type=click.IntRange(min=1), multiple=True, help="A budget of steps; repeatable."
)
@options.option(
    "--epochs", type=_amount, multiple=True, help="One of passes over the training examples."
)
@options.option("--examples", type=_amount, multiple=True, help="One of training examples.")
@options.format_
def budget(
    workload: str,
    storage: str,
    steps: tuple[int, ...],
    epochs: tuple[float, ...],
    examples: tuple[float, ...],
    format_: str,
) -> None:
    """The best goal metric within a budget of training, at each batch size.

    Without a budget, within some chosen from what was run. A value is a bound where trials that
    might have got better stopped before: at the goal, unless planned with `--after-goal continue`.
    """
    from batchfront.cli.output import analyses
    from batchfront.cli.output.tables import print_output
    from batchfront.frontier.analysis import budget as analysis
    from batchfront.frontier.next_commands import going_on
    from batchfront.frontier.queries import load_goal_curves, load_workload_trials

    with _read(storage, workload) as (moment, frontier):
        trials = load_workload_trials(moment, workload)
        curves = load_goal_curves(moment, workload, frontier.goal["metric"])
    wanted: list[Budget] = [
        *(analysis.Budget(amount, "steps") for amount in steps),
        *(analysis.Budget(amount, "epochs") for amount in epochs),
        *(analysis.Budget(amount, "examples") for amount in examples),
    ]
    found = analysis.budgets(frontier, trials, curves, wanted)
    print_output(analyses.budgets(found, going_on(frontier)), format_)


@command.command(
    epilog="\b\nExample:\n  batchfront analyze effect my/data/adam --metaparameter label_smoothing"
)
@_workload
@options.storage
@options.option(
    "--metaparameter",
    "names",
    multiple=True,
    metavar="NAME",
    help="Of which; repeatable.  [default: all that have choices]",
)
@options.format_
def effect(workload: str, storage: str, names: tuple[str, ...], format_: str) -> None:
    """What a metaparameter does at each batch size: the best steps with each of its values.

    Of one without choices, with each third of its range.
    """
    from batchfront.cli.output import analyses
    from batchfront.cli.output.tables import print_output
    from batchfront.frontier.analysis import effect as analysis
    from batchfront.frontier.next_commands import more_finishers
    from batchfront.frontier.queries import load_goal_curves, load_workload_trials

    with _read(storage, workload) as (moment, frontier):
        trials = load_workload_trials(moment, workload)
        curves = load_goal_curves(moment, workload, frontier.goal["metric"])
    chosen = names or analysis.searched(frontier, choices=True)
    if not chosen:
        _name_one(frontier, analysis.searched(frontier))
    found = [analysis.effect(frontier, trials, curves, name) for name in chosen]
    print_output(analyses.effects(found, more_finishers(frontier)), format_)


@command.command(
    epilog="\b\nExample:\n  batchfront analyze goals digits/mlp/momentum --goal 0.05 --goal 0.1"
)
@_workload
@options.storage
@options.option(
    "--goal",
    "values",
    type=options.Number(),
    multiple=True,
    help="A value of the goal metric to pass; repeatable.  [default: the study's own, and some "
    "around it]",
)
@options.format_
def goals(workload: str, storage: str, values: tuple[float, ...], format_: str) -> None:
    """Steps to other goals, from the same measurements.

    Easier goals were passed between two evaluations, which bound the steps; harder ones need trials
    that went on past the study's goal, as `--after-goal continue` plans.
    """
    from batchfront.cli.output import analyses
    from batchfront.cli.output.tables import print_output
    from batchfront.frontier.analysis import other_goals as analysis
    from batchfront.frontier.queries import load_goal_curves, load_workload_trials

    with _read(storage, workload) as (moment, frontier):
        trials = load_workload_trials(moment, workload)
        curves = load_goal_curves(moment, workload, frontier.goal["metric"])
    print_output(analyses.goals(analysis.goals(frontier, trials, curves, values)), format_)


@contextmanager
def _read(storage: str, workload: str) -> "Iterator[tuple[Connection, Frontier]]":
    """The database at one moment, and the workload's frontier then."""
    from batchfront.cli.output.tables import warn_of_mixed_code
    from batchfront.frontier.frontier import load_frontier
    from batchfront.store.snapshot import snapshot

    with snapshot(storage) as moment:
        frontier = load_frontier(moment, workload)
        yield moment, frontier
    warn_of_mixed_code(frontier)


def _name_one(frontier: "Frontier", searched: Sequence[str]) -> None:
    from batchfront.frontier.next_commands import advise

    there = ", ".join(searched)
    if not there:
        raise UsageError(f"{frontier.workload} searches no metaparameter")
    raise UsageError(
        f"{frontier.workload} searches no metaparameter with choices; name one of {there}: "
        f"{advise(frontier, 'analyze effect', '--metaparameter', searched[0])}"
    )
