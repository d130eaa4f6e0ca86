"""`batchfront run`"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from batchfront.cli import options, sweep
from batchfront.cli.local_run import named_code, refuse_engine, run_here
from batchfront.cli.output.lines import complain, say, speaks_json
from batchfront.cli.plan import plan_workload
from batchfront.errors import BatchfrontError
from batchfront.plan.options import SearchOptions
from batchfront.vocabulary import Outcome
from batchfront.worker.options import WHEN_TO_END, WorkerOptions


@click.command(
    epilog="""\b
Examples:
  batchfront run digits/mlp/momentum
  batchfront run mnist/fc_256/momentum --goal 0.04 --batch-sizes 16,64,256,1024 --trials 20
  batchfront run ./my_workload.py:my_workload --workers 2 --report my_workload.html
  batchfront run ./sweep.toml --trials 64
"""
)
@sweep.workload
@options.storage
@options.told(SearchOptions, "search")
@options.workers
@options.told(WorkerOptions, "worker", without=WHEN_TO_END)
@options.data_dir
@options.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="Where to write the report page.",
)
@options.profile
@options.format_
def command(
    workload: str,
    storage: str,
    search: SearchOptions,
    workers: int | None,
    worker: WorkerOptions,
    report: Path,
    profile: bool,
    format_: str,
) -> int:
    """Plan, race and report a workload on this machine.

    WORKLOAD is a name that `batchfront workloads` lists, a module:function, a file.py:function,
    or a sweep file, whose [search] says options too. The frontier, and how far a larger batch
    helps, go to standard output, progress to standard error. Ctrl-C keeps everything; the same
    command again continues.
    """
    from batchfront.cli.output.curves import print_answers
    from batchfront.cli.output.frontier import print_frontier
    from batchfront.launch.local import devices_for
    from batchfront.ledger.time_profile import time_of
    from batchfront.report.data import load_subjects
    from batchfront.report.files import require_place, write_page
    from batchfront.report.html import Dashboard
    from batchfront.report.web.dashboard_figure import store_figure
    from batchfront.store.snapshot import snapshot
    from batchfront.study.variants import base_of, family

    require_place(report, "--report")
    devices = devices_for([workload], worker, workers)
    say(f"Planning {workload} …")
    opened, planned = plan_workload(workload, storage, search, worker.devices_per_trial)
    worker = replace(worker, code=(*worker.code, *named_code(planned)))
    worker = options.with_checkpoints(worker, storage)
    refuse_engine(planned, worker)
    began = time_of(opened)
    finished = run_here(opened, planned.filter, worker, devices)
    # With what it is a variant of, or what are variants of it: to compare them.
    together = family(opened, base_of(planned.workload.name, search.variant))
    linked = Dashboard()
    with snapshot(opened) as moment:
        subjects = load_subjects(moment, together, linked)
    found = {subject.frontier.workload: subject.frontier for subject in subjects}
    frontier = found[planned.workload.name]  # the page shows what is printed
    # First what is kept: who reads the words may have gone, or the page's place be full.
    store_figure(opened, frontier)
    unwritten = None
    try:
        write_page(subjects, report, linked)
    except BatchfrontError as error:
        unwritten = error
    print_frontier(frontier, format_)
    if format_ == "table" and frontier.reached:
        print_answers(frontier)
    if unwritten is not None:
        raise unwritten
    say(f"Report: {report}")
    if profile:
        _print_profile(opened, began)
    if not finished:
        return 130
    return 0 if frontier.reached else _explain(opened, frontier)


def _print_profile(storage: Any, since: float) -> None:
    from batchfront.cli.output.status import profile_table
    from batchfront.cli.output.tables import console_for_errors, view
    from batchfront.ledger.time_profile import load_profile

    profile = load_profile(storage, since)
    if speaks_json():
        say(f"where the time went: {profile.in_words()}")
    else:
        console_for_errors().print(view([profile_table(profile)]))


def _explain(storage: Any, frontier: Any) -> int:
    """Say why no batch size has a winner; the exit code."""
    from batchfront.frontier.queries import load_trials
    from batchfront.outcomes import in_words

    ended = in_words(frontier.outcomes)
    complain(f"no trial passed the goal, {frontier.goal_text}: {ended}")
    for point in frontier.points:
        for trial in load_trials(storage, point.study.id):
            if trial.outcome == Outcome.FAILED:
                first = (trial.reason or "").splitlines()[0]
                about = {"study": point.study.name, "trial": trial.number}
                complain(f"{point.study.name} trial {trial.number}: {first}", **about)
                return 1
    return 1
