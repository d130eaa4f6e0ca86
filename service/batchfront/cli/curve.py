"""`batchfront curve`"""

import click

from batchfront.cli import options
from batchfront.cli.completion import stored
from batchfront.frontier.curve import Asked


@click.command(
    epilog="""\b
Examples:
  batchfront curve
  batchfront curve digits/mlp/momentum --share 0.05
  batchfront curve digits/mlp/momentum --from 256
  batchfront curve digits/mlp/momentum --goal 0.05 --goal 0.1
  batchfront curve --format json
"""
)
@click.argument("workloads", nargs=-1, shell_complete=stored)
@options.storage
@options.told(Asked, "asked")
@click.option(  # not from the environment, where --goal is what a plan is to search for
    "--goal",
    "goals",
    type=options.Number(),
    multiple=True,
    metavar="VALUE",
    help="The curve for another goal, a value of the goal metric, from the same trials; "
    "repeatable.  [default: the goal that was searched for]",
)
@options.format_
def command(
    workloads: tuple[str, ...], storage: str, asked: Asked, goals: tuple[float, ...], format_: str
) -> None:
    """Fit the curve of steps against batch size, and say how far a larger batch helps.

    For these WORKLOADS, or all that the database holds: up to which batch size scaling is
    near-perfect, up to which a larger batch is useful, and the steps that none gets below, each
    with its 90 % interval, or a bound, or the reason why the points don't tell; then the forms of
    the curve that were tried. It goes through the expected steps where these are more to be trusted
    than the fastest trials', and says so.

    With --goal, the curve is for another goal, an easier one as a rule: where it was passed, in
    the trials that were run. Steps that trials which stopped before leave open are named, and no
    curve goes through them.
    """
    if goals:
        _of_goals(workloads, storage, asked, goals, format_)
        return

    from batchfront.cli.output.curves import Fitted, print_curves
    from batchfront.frontier.curve.answers import ask_curve
    from batchfront.frontier.frontier import load_frontiers
    from batchfront.frontier.queries import require, require_some
    from batchfront.report.hours import load_hours
    from batchfront.store.snapshot import snapshot

    with snapshot(storage) as moment:
        require(moment, workloads)
        require_some(moment)
        frontiers = load_frontiers(moment, workloads)
        hours = [load_hours(moment, frontier) for frontier in frontiers]
    fitted = zip(frontiers, hours, strict=True)
    print_curves([Fitted(f, ask_curve(f, asked), timed) for f, timed in fitted], format_)


def _of_goals(
    workloads: tuple[str, ...], storage: str, asked: Asked, goals: tuple[float, ...], format_: str
) -> None:
    from batchfront.cli.output.goal_curves import print_goal_curves
    from batchfront.cli.output.lines import warn
    from batchfront.frontier.analysis.along_training import (
        GoalCurve,
        along_training,
        require_one_metric,
    )
    from batchfront.frontier.analysis.other_goals import goal_metric
    from batchfront.frontier.frontier import load_frontiers
    from batchfront.frontier.queries import (
        load_goal_curves,
        load_workload_trials,
        require,
        require_some,
    )
    from batchfront.store.snapshot import snapshot

    found: list[GoalCurve] = []
    with snapshot(storage) as moment:
        require(moment, workloads)
        require_some(moment)
        frontiers = load_frontiers(moment, workloads)
        require_one_metric(frontiers)
        for frontier in frontiers:
            trials = load_workload_trials(moment, frontier.workload)
            curves = load_goal_curves(moment, frontier.workload, frontier.goal["metric"])
            mine = along_training(frontier, trials, curves, goals, asked)
            if not mine:
                warn(f"{frontier.workload}: no measurements of {goal_metric(frontier)} are kept")
            found += mine
    print_goal_curves(found, format_)
