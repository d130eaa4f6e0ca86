"""`batchfront import`"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from batchfront.cli import options
from batchfront.cli.output.lines import complain, put, warn

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group(
    epilog="""\b
Examples:
  batchfront import batch-science batch_science
  batchfront import points published.csv
  batchfront import export studies_of_march
"""
)
def command() -> None:
    """Bring in trials and numbers from elsewhere.

    The database is made if it isn't there. Importing the same again changes nothing.
    """


@command.command(
    "batch-science",
    epilog="""\b
Examples:
  batchfront import batch-science batch_science --workloads 'mnist/*'
  batchfront import batch-science batch_science --goal 'mnist/fc_*=error rate<0.02'
""",
)
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--goal",
    "goals",
    multiple=True,
    metavar="WORKLOAD=METRIC<VALUE",
    help="Another goal for the workloads that a name or glob matches, with > for a score; can be "
    "repeated, and the first that matches counts.  [default: the paper's, or ours]",
)
@options.option("--workloads", metavar="GLOB", help="Only those whose names match.  [default: all]")
@options.storage
def batch_science(folder: Path, goals: tuple[str, ...], workloads: str | None, storage: str) -> int:
    """Import the public archive of Shallue et al. 2018.

    DIR is the folder that it unpacks into, or a part of it. All trials and measurements are
    taken. An import that was interrupted goes on where it was; a damaged study is left out, said,
    and makes the exit code 1. Of trials that did not complete, damaged measurements are left out.
    """
    from batchfront.cli.output.progress import bar
    from batchfront.exchange.batch_science.archive import find_folders
    from batchfront.exchange.batch_science.goals import parse_goal
    from batchfront.exchange.batch_science.importer import import_archive
    from batchfront.store.url import open_storage

    given = [parse_goal(goal) for goal in goals]
    folders = find_folders(folder, workloads)
    opened = open_storage(storage, create=True)
    total = sum(len(found.trial_folders) for found in folders)
    with bar("trials", total) as advance:
        results = list(import_archive(opened, folders, given, advance))
    opened.close()
    for line in _summary(results):
        put(line)
    for result in results:
        if result.warning:
            warn(f"{result.warning}")
    errors = list(dict.fromkeys(result.error for result in results if result.error))
    for error in errors:
        complain(f"not imported: {error}")
    return 1 if errors else 0


def _summary(results: Sequence[Any]) -> Iterator[str]:
    """A line a workload: what is there now, what is new of it, and its goal, with whose it is."""
    by_workload: dict[str, list[Any]] = {}
    for result in results:
        if result.error is None:
            by_workload.setdefault(result.folder.workload, []).append(result)
    for workload, mine in by_workload.items():
        new = [result for result in mine if result.trials]
        trials, measured = sum(r.trials for r in new), sum(r.measurements for r in new)
        goal = mine[0].goal
        yield (
            f"{workload}: {len(mine)} studies, {len(new)} of them new with {trials:,} trials and "
            f"{measured:,} measurements; goal: {goal} ({goal.origin})"
        )


@command.command(epilog="\b\nExample:\n  batchfront import points published.csv")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@options.option(
    "--train-examples",
    type=click.IntRange(min=1),
    metavar="N",
    help="In the training set, where the file does not say it; epochs need it.",
)
@options.option(
    "--replace", is_flag=True, help="Take the file's values where the database has others."
)
@options.storage
def points(file: Path, train_examples: int | None, replace: bool, storage: str) -> None:
    """Import steps that were measured elsewhere.

    FILE is a CSV file with a header, or a JSON list of objects: workload, batch_size, one of
    steps, epochs and samples in each row, none where the goal was not reached, and, if you like,
    seed, steps_lower, goal, metric, learning_rate, param:NAME and train_examples.
    """
    from batchfront.exchange.points import import_points
    from batchfront.exchange.points_file import read_points
    from batchfront.store.url import open_storage

    measured = read_points(file, train_examples)
    opened = open_storage(storage, create=True)
    for taken in import_points(opened, measured, replace_changed=replace):
        put(
            f"{taken.workload}: {taken.batch_sizes} batch size{'s' * (taken.batch_sizes > 1)}, "
            f"{taken.new} measurement{'s' * (taken.new != 1)} new, "
            f"{taken.replaced} replaced, {taken.unchanged} unchanged"
        )
    opened.close()


@command.command(
    "export", epilog="\b\nExample:\n  batchfront import export studies --storage sqlite:///new.db"
)
@click.argument("folder", metavar="DIR", type=_FOLDER)
@options.storage
def exported(folder: Path, storage: str) -> None:
    """Import what `batchfront export --output DIR` wrote.

    The studies become what they were, and their names must not be taken by others.
    """
    from batchfront.cli.output.progress import bar
    from batchfront.exchange.restore import check_export, restore
    from batchfront.store.url import open_storage

    total = check_export(folder)
    opened = open_storage(storage, create=True)
    made = 0
    with bar("studies", total) as advance:
        for restored in restore(opened, folder):
            made += restored.made
            advance(1)
    opened.close()
    put(f"{total} studies, {made} of them new")
