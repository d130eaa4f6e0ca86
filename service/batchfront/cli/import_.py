"""`batchfront import`"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from batchfront.cli import options
from batchfront.cli.help import Group
from batchfront.cli.output.lines import complain, put, say, warn

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group(
    cls=Group,
    epilog="""\b
Examples:
  batchfront import batch-science batch_science
  batchfront import points published.csv
  batchfront import mlperf logging
  batchfront import timings timed_elsewhere.csv
  batchfront import export studies_of_march
""",
)
def command() -> None:
    """Bring in trials and numbers from elsewhere.

    The database is made if it isn't there, unless it is to have timings alone. Importing the same
    again changes nothing.
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
    from batchfront.store.url import open_to_write

    given = [parse_goal(goal) for goal in goals]
    folders = find_folders(folder, workloads)
    opened = open_to_write(storage)
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
    from batchfront.store.url import open_to_write

    measured = read_points(file, train_examples)
    opened = open_to_write(storage)
    for taken in import_points(opened, measured, replace_changed=replace):
        put(_taken(taken))
    opened.close()


@command.command(
    epilog="""\b
Examples:
  batchfront import mlperf logging
  batchfront import mlperf logging --workloads 'mlperf/bert/*'
  batchfront import mlperf logging --unit rnnt=epochs:281241
"""
)
@click.argument("folder", metavar="DIR", type=_FOLDER)
@options.option(
    "--workloads",
    metavar="GLOB",
    help="Only those whose names match, of all rounds.  [default: of each benchmark the newest]",
)
@click.option(
    "--unit",
    "units",
    multiple=True,
    metavar="BENCHMARK=UNIT",
    help="What a benchmark's file counts: samples, epochs:N, with the examples of an epoch, or "
    "tokens:N, with the tokens of an example; can be repeated.  [default: as is known of MLPerf's]",
)
@options.option(
    "--replace", is_flag=True, help="Take the files' values where the database has others."
)
@options.storage
def mlperf(
    folder: Path, workloads: str | None, units: tuple[str, ...], replace: bool, storage: str
) -> int:
    """Import MLPerf's reference convergence points.

    DIR is a checkout of the public logging repository of MLCommons, or a part of it. Each
    benchmark becomes a workload, mlperf/BENCHMARK/ROUND, and each run a measurement. One whose
    file is damaged, or counts in a unit that isn't known, is left out, said, and makes the exit
    code 1.
    """
    from batchfront.errors import DataError
    from batchfront.exchange.mlperf import find_benchmarks, parse_unit, read_benchmark
    from batchfront.exchange.points import import_points
    from batchfront.store.url import open_storage

    given = dict(parse_unit(unit) for unit in units)
    measured: list[Any] = []
    refused: list[DataError] = []
    for found in find_benchmarks(folder, workloads):
        try:
            measured += read_benchmark(found, given)
        except DataError as error:
            refused.append(error)
    if measured:
        opened = open_storage(storage, create=True)
        for taken in import_points(opened, measured, replace_changed=replace):
            put(_taken(taken))
        opened.close()
    for reason in refused:
        complain(f"not imported: {reason}")
    return 1 if refused else 0


def _taken(taken: Any) -> str:
    """What became of a workload's measurements."""
    from batchfront.phrases import several

    return (
        f"{taken.workload}: {several(taken.batch_sizes, 'batch size')}, "
        f"{several(taken.new, 'measurement')} new, "
        f"{taken.replaced} replaced, {taken.unchanged} unchanged"
    )


@command.command(epilog="\b\nExample:\n  batchfront import timings timed_elsewhere.csv")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@options.option(
    "--replace", is_flag=True, help="Take the file's values where the database has others."
)
@options.storage
def timings(file: Path, replace: bool, storage: str) -> None:
    """Import seconds per step that were measured elsewhere.

    FILE is a CSV file with a header, or a JSON list of objects: workload, device (its kind, such as
    NVIDIA H100), devices (how many share a batch), batch_size (of all of them together), and
    seconds_per_step or examples_per_second (of all of them together) in each row; if you like,
    precision, and accumulation, in how many micro-batches a device computes its share. The
    database has to have studies of the workload, run or imported.
    """
    from batchfront.exchange.timings_file import import_timings, read_timings
    from batchfront.phrases import several
    from batchfront.store.url import open_storage

    rows = read_timings(file)
    opened = open_storage(storage)
    for taken in import_timings(opened, rows, replace_changed=replace):
        put(
            f"{taken.workload}: {several(taken.new, 'timing')} new, "
            f"{taken.replaced} replaced, {taken.unchanged} unchanged"
        )
    opened.close()


def _of_runs(function: Any) -> Any:
    """The options of what imports a tracker's runs."""
    for option in (
        options.storage,
        click.option(
            "--repeats",
            is_flag=True,
            help="The runs at a batch size repeat each other with other seeds, and are no search: "
            "a point is their median, not the fastest.",
        ),
        click.option(
            "--logged",
            default="steps",
            show_default=True,
            metavar="UNIT",
            help="What the runs logged as a step: steps, which are updates of the weights, "
            "examples, epochs:N, with the examples of an epoch, or epochs-from-0:N, where the "
            "first is 0.",
        ),
        click.option(
            "--batch-size",
            default="batch_size",
            show_default=True,
            metavar="PARAMETER",
            help="The parameter that says a run's batch size; or a regular expression with a "
            "group, such as 'bs(\\d+)', by which the run's name does.",
        ),
        click.option(
            "--goal",
            required=True,
            metavar="METRIC<VALUE",
            help="What the runs were to pass, of a metric as it was logged; with > for a score.",
        ),
    ):
        function = option(function)
    return function


@command.command(
    "mlflow",
    epilog="""\b
Examples:
  batchfront import mlflow mlruns --experiment cifar --goal 'val_loss<0.5'
  batchfront import mlflow http://localhost:5000 --experiment cifar --goal 'acc>0.9'
""",
)
@click.argument("where", metavar="WHERE")
@click.option("--experiment", required=True, metavar="NAME", help="Whose runs are taken.")
@click.option("--workload", metavar="NAME", help="What they become.  [default: the experiment]")
@_of_runs
def mlflow(where: str, experiment: str, workload: str | None, **said: Any) -> int:
    """Import finished runs from MLflow.

    WHERE is a folder, or the URI of a tracking server or a database. A run becomes a trial of its
    batch size, with the parameters that not all runs have alike, and its metric's learning curve.
    Runs that are there already stay as they are. One that can't be judged is left out, said, and
    makes the exit code 1.
    """
    from batchfront.exchange.trackers.tracker import installed_tracker

    with installed_tracker("mlflow"):
        from batchfront.exchange.trackers.mlflow import read_runs

        runs = read_runs(where, experiment)
    return _import_runs("mlflow", runs, workload or experiment, **said)


@command.command(
    "tensorboard",
    epilog="""\b
Examples:
  batchfront import tensorboard runs --workload cifar/resnet/sgd --goal 'val/loss<0.5'
  batchfront import tensorboard runs --workload w --goal 'acc>0.9' --batch-size 'bs(\\d+)'
""",
)
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--workload", required=True, metavar="NAME", help="What the runs become.")
@_of_runs
def tensorboard(folder: Path, workload: str, **said: Any) -> int:
    """Import finished runs from a folder of TensorBoard's.

    Each folder below DIR that holds event files is a run, named by its path; its parameters are
    those of the HParams plugin. A run becomes a trial of its batch size, with the parameters that
    not all runs have alike, and its metric's learning curve. Runs that are there already stay as
    they are. One that can't be judged is left out, said, and makes the exit code 1.
    """
    from batchfront.exchange.trackers.tracker import installed_tracker

    with installed_tracker("tensorboard"):
        from batchfront.exchange.trackers.event_files import read_runs

        runs = list(read_runs(folder))
    return _import_runs("tensorboard", runs, workload, **said)


def _import_runs(
    tracker: str,
    runs: Sequence[Any],
    workload: str,
    *,
    goal: str,
    batch_size: str,
    logged: str,
    repeats: bool,
    storage: str,
) -> int:
    from batchfront.exchange.points import import_points
    from batchfront.exchange.rows import check_workload
    from batchfront.exchange.trackers.finished import (
        Wanted,
        as_points,
        import_trials,
        judge_all,
        parse_goal,
        parse_logged,
        set_aside,
        told_together,
    )
    from batchfront.phrases import several
    from batchfront.store.url import open_storage

    check_workload(tracker, {"workload": workload})
    wanted = Wanted(tracker, workload, *parse_goal(goal), batch_size, parse_logged(logged))
    kept, aside = set_aside(runs)
    judged, errors = judge_all(kept, wanted)
    if judged:
        opened = open_storage(storage, create=True)
        if repeats:
            for taken in import_points(opened, as_points(judged, wanted)):
                put(_taken(taken))
        else:
            new, there = import_trials(opened, judged, wanted)
            sizes = several(len({one.batch_size for one in judged}), "batch size")
            put(f"{workload}: {sizes}, {several(new, 'trial')} new, {there} unchanged")
        opened.close()
    if aside:
        say(aside)
    for said in told_together(errors):
        complain(f"not imported: {said}")
    return 1 if errors or not judged else 0


@command.command(
    "export", epilog="\b\nExample:\n  batchfront import export studies --storage sqlite:///new.db"
)
@click.argument("folder", metavar="DIR", type=_FOLDER)
@options.storage
def exported(folder: Path, storage: str) -> None:
    """Import what `batchfront export --output DIR` wrote.

    The studies become what they were, with their timings and probes, and their names must not be
    taken by others.
    """
    from batchfront.cli.output.progress import bar
    from batchfront.exchange.found_out import restore_found_out
    from batchfront.exchange.restore import check_export, restore
    from batchfront.phrases import listed
    from batchfront.store.url import open_to_write

    total = check_export(folder)
    opened = open_to_write(storage)
    made = 0
    with bar("studies", total) as advance:
        for restored in restore(opened, folder):
            made += restored.made
            advance(1)
    beside = restore_found_out(opened, folder).words()
    opened.close()
    put(f"{total} studies, {made} of them new" + (f"; {listed(beside)} new" if beside else ""))
