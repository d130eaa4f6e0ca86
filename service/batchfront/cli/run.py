"""`batchfront run`"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from batchfront.cli import options, sweep
from batchfront.cli.help import Command
from batchfront.cli.local_run import named_code, refuse_engine, run_here
from batchfront.cli.output.lines import complain, say, speaks_json
from batchfront.cli.plan import how_long, open_looked_over, plan_workload
from batchfront.errors import BatchfrontError
from batchfront.plan.options import SearchOptions
from batchfront.vocabulary import Outcome
from batchfront.worker.options import WHEN_TO_END, RunLimits, WorkerOptions

_COMMAND = "from batchfront.cli.main import main; main()"

_INTERRUPTED = 130


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  batchfront run digits/mlp/momentum
  batchfront run mnist/fc_256/momentum --goal 0.04 --batch-sizes 16,64,256,1024 --trials 20
  batchfront run ./my_workload.py:my_workload --workers 2 --report my_workload.html
  batchfront run ./sweep.toml --trials 64
  batchfront run digits/mlp/momentum --max-time 10m
""",
)
@sweep.workload
@options.storage
@options.told(SearchOptions, "search")
@options.workers
@options.told(WorkerOptions, "worker", without=WHEN_TO_END)
@options.told(RunLimits, "limits")
@options.data_dir
@options.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="Where to write the report page.",
)
@options.option(
    "--notify",
    metavar="COMMAND|URL",
    help="Whom to tell, as JSON, that the run is done, has failed, was stopped or has stalled: a "
    "command, on its standard input, or a URL, by POST.",
)
@options.option(
    "--noise-scale",
    is_flag=True,
    help="When all is done, run each winner again to read its gradient noise, which `probe` tells "
    "of.",
)
@options.profile
@options.format_
def command(
    workload: str,
    storage: str,
    search: SearchOptions,
    workers: int | None,
    worker: WorkerOptions,
    limits: RunLimits,
    report: Path,
    notify: str | None,
    noise_scale: bool,
    profile: bool,
    format_: str,
) -> int:
    """Plan, race and report a workload on this machine.

    WORKLOAD is a name that `batchfront workloads` lists, a module:function, a file.py:function,
    or a sweep file, whose [search] says options too. The frontier, and how far a larger batch
    helps, go to standard output, progress to standard error. Ctrl-C keeps everything; the same
    command again continues.
    """
    from batchfront.training.device_names import refuse_missing
    from batchfront.whole_file import require_place
    from batchfront.workload.trust import Trust

    require_place(report, "--report")
    Trust.of(worker.code)  # refuses what isn't there
    notifier = None if notify is None else _notifier(notify)
    opened = open_looked_over(workload, storage, search)
    refuse_missing(worker.device, workers, worker.devices_per_trial)
    say(f"Planning {workload} …")

    from batchfront.cli.notification import News
    from batchfront.launch.local import devices_for
    from batchfront.ledger.time_profile import time_of
    from batchfront.study.variants import base_of

    devices = devices_for([workload], worker, workers)
    planned = plan_workload(opened, workload, search, worker.devices_per_trial)
    if noise_scale:
        _refuse_unseen(opened, planned, workload)
    worker = replace(worker, code=(*worker.code, *named_code(planned)))
    worker = options.with_checkpoints(worker, storage)
    refuse_engine(planned, worker)
    if expected := how_long(opened, planned, len(devices)):
        say(expected)
    news = News(notifier, opened, planned.filter, planned.workload.name, str(report.absolute()))
    began = time_of(opened)
    with news.of_failure():
        ended = run_here(opened, planned.filter, worker, devices, limits, stalled=news.stalled)
        frontier = _report(
            opened, planned, base_of(planned.workload.name, search.variant), report, format_
        )
        if profile:
            _print_profile(opened, began)
        code = _said_of(ended)
        if code is None and noise_scale and frontier.reached:
            _read_noise(opened, planned, worker, format_)
        if code is None:
            code = 0 if frontier.reached else _explain(opened, frontier, format_)
    news.ended(code, ended.stopped_by)
    return code


def _notifier(target: str) -> Any:
    from batchfront.cli.notification import Notifier

    return Notifier(target)


def _said_of(ended: Any) -> int | None:
    """Say why a run has ended before all was done; the exit code, or None where all is."""
    if ended.stopped_by:
        say(f"Stopped by {ended.stopped_by}: {ended.undone}. The same command continues.")
        return 0
    if ended.interrupted:
        return _INTERRUPTED
    return 1 if ended.waits else None


def _report(opened: Any, planned: Any, base: str, report: Path, format_: str) -> Any:
    """Print the frontier, and write the page; the frontier.

    base -- what the workload is a variant of, or itself
    """
    from batchfront.cli.output.curves import print_answers
    from batchfront.cli.output.frontier import print_frontier
    from batchfront.report.data import load_subjects
    from batchfront.report.files import write_page
    from batchfront.report.html import Dashboard
    from batchfront.report.web.dashboard_figure import store_figure
    from batchfront.store.snapshot import snapshot
    from batchfront.study.variants import family

    say("Fitting the curve, and writing the page …")
    # With what it is a variant of, or what are variants of it: to compare them.
    together = family(opened, base)
    linked = Dashboard()
    with snapshot(opened) as moment:
        subjects = load_subjects(moment, together, linked)
    of_it = next(s for s in subjects if s.frontier.workload == planned.workload.name)
    frontier = of_it.frontier  # the page shows what is printed
    # First what is kept: who reads the words may have gone, or the page's place be full.
    store_figure(opened, frontier)
    unwritten = None
    try:
        write_page(subjects, report, linked)
    except BatchfrontError as error:
        unwritten = error
    print_frontier(frontier, frontier.expected, format_)
    if format_ == "table" and frontier.reached:
        print_answers(frontier, of_it.hours)
    if unwritten is not None:
        raise unwritten
    say(f"Report: {report}")
    return frontier


def _refuse_unseen(opened: Any, planned: Any, named: str) -> None:
    """Raise UsageError, before any trial runs, where gradients aren't batchfront's to see."""
    from batchfront.worker.probe import refuse_kind

    for study in planned.studies[:1]:
        refuse_kind(opened, study.kind, planned.workload.name, named)


def _read_noise(opened: Any, planned: Any, worker: WorkerOptions, format_: str) -> None:
    """Read the gradient noise along the runs of winners that nobody has read, one after another:
    the trials themselves have ended, and stay what they are. Each is read by a process of its own,
    as code is compared with what was planned before it has run."""
    from batchfront.cli.output.probe import print_foretold
    from batchfront.worker.probe import read_winners, unread_winners

    name = planned.workload.name
    url = opened.url.render_as_string(hide_password=False)
    told = ["--device", worker.device]
    told += [word for place in worker.code for word in ("--code", place)]
    for batch_size in unread_winners(opened, name):
        reading = [sys.executable, "-P", "-c", _COMMAND, "probe", name, *told]
        done = subprocess.run(
            [*reading, "--batch-size", str(batch_size)],
            env={**os.environ, "BATCHFRONT_STORAGE": url},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode == _INTERRUPTED:
            return
        if done.returncode:
            complain(f"no noise scale at batch size {batch_size:,}")
    found = read_winners(opened, name)
    if found and format_ == "table":
        print_foretold(found)


def _print_profile(storage: Any, since: float) -> None:
    from batchfront.cli.output.status import profile_table
    from batchfront.cli.output.tables import console_for_errors, view
    from batchfront.ledger.time_profile import load_profile

    profile = load_profile(storage, since)
    if speaks_json():
        say(f"where the time went: {profile.in_words()}")
    else:
        console_for_errors().print(view([profile_table(profile)]))


def _explain(storage: Any, frontier: Any, format_: str) -> int:
    """Say why no batch size has a winner; the exit code."""
    from batchfront.frontier.queries import load_trials
    from batchfront.outcomes import in_words

    ended = in_words(frontier.outcomes)
    complain(f"no trial passed the goal, {frontier.goal_text}: {ended}")
    for note in frontier.nothing_trains if format_ != "table" else ():  # whose notes say it
        complain(note)
    for point in frontier.points:
        for trial in load_trials(storage, point.study.id):
            if trial.outcome == Outcome.FAILED:
                first = (trial.reason or "").splitlines()[0]
                about = {"study": point.study.name, "trial": trial.number}
                complain(f"{point.study.name} trial {trial.number}: {first}", **about)
                return 1
    return 1
