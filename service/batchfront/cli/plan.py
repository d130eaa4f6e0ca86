"""`batchfront plan`"""

from pathlib import Path
from typing import Any

import click

from batchfront.cli import options, sweep
from batchfront.cli.commands import same_command
from batchfront.cli.help import Command
from batchfront.cli.output.lines import complain, put, say
from batchfront.cli.streams import others_aside
from batchfront.errors import IdentityError
from batchfront.plan.options import SearchOptions, superseded


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  batchfront plan digits/mlp/momentum
  batchfront plan ./my_workload.py:my_workload --batch-sizes 8..512 --trials 64
  batchfront plan digits/mlp/momentum --extend
""",
)
@sweep.workload
@options.storage
@options.told(SearchOptions, "search")
@options.option(
    "--extend",
    is_flag=True,
    help="Widen the search space of each study whose winner lies at an edge of it, and add trials "
    "there.",
)
@options.data_dir
def command(workload: str, storage: str, search: SearchOptions, extend: bool) -> None:
    """Create a workload's studies, without running any trial.

    WORKLOAD is a name that `batchfront workloads` lists, a module:function, a file.py:function,
    or a sweep file, whose [search] says options too. Planning again continues: more trials or
    batch sizes are added, and a definition or code that has changed is refused.
    """
    opened = open_looked_over(workload, storage, search)
    planned = plan_workload(opened, workload, search)
    for study, added, again in zip(planned.studies, planned.added, planned.reopened, strict=True):
        begun = f", {again} begun again" if again else ""
        most = study.max_trials and max(study.max_trials, study.trials)
        more = "" if most is None else f", up to {most} in all"
        put(f"{study.name}: {study.trials} trials, {added} new{begun}{more}")
    if extend:
        _extend(opened, planned.workload.name, planned.filter.batch_sizes)
    if any(planned.added) or any(planned.reopened):
        otherwise = _timing(opened, planned, workload)
        if expected := how_long(opened, planned, 1, otherwise):
            say(expected)


def _timing(opened: Any, planned: Any, workload: str) -> str:
    """What is said where nothing tells yet how long the trials take."""
    from batchfront.store.commands import command

    said = "How long the trials take isn't known before some of them have run"
    if any(study.kind for study in planned.studies):
        return f"{said}."
    return f"{said}, or {command(opened, 'time', workload)} has timed their steps."


def how_long(opened: Any, planned: Any, workers: int, otherwise: str = "") -> str:
    """How long the trials will take, in a sentence that says what it rests on, or `otherwise` where
    nothing tells; empty where nothing is left to do."""
    from batchfront.advice.search_time import search_time
    from batchfront.cli.output.status import left_in_words

    found = search_time(opened, planned.studies, planned.filter, workers)
    if found.left.most == 0:
        return ""
    said = left_in_words(found.left)
    if not said:
        return otherwise
    by_whom = "1 worker" if workers == 1 else f"{workers} workers"
    return f"The trials take {by_whom} {said}, {found.by}."


def _extend(opened: Any, workload: str, batch_sizes: tuple[int, ...]) -> None:
    from batchfront.plan.extend import extend

    found = extend(opened, workload, batch_sizes)
    for extension in found:
        for name, (before, after) in extension.ranges.items():
            put(f"{extension.study.name}: {name} {before} is {after} now")
        for name, side in extension.stuck.items():
            put(f"{extension.study.name}: {name} can't go {side}er than it does")
        put(f"{extension.study.name}: {extension.study.trials} trials, {extension.added} new")
    if not found:
        say("No winner lies at an edge of its search space.")


def open_looked_over(workload: str, storage: str, search: SearchOptions) -> Any:
    """Open the database that a search is to be planned in, made only when that is.

    Raises what `plan_workload` does, as far as it is seen before the workload's code runs, which
    may take seconds to import what it trains with.
    """
    from batchfront.plan.plan import look_over
    from batchfront.store.url import open_to_write
    from batchfront.workload import catalog
    from batchfront.workload.read_ahead import look_for, refuse_goal
    from batchfront.workload.source import find_source

    here = Path.cwd()
    known = catalog.look_up(workload, here)
    opened = open_to_write(storage)
    if known is not None:
        look_over(opened, known, search)
    elif (source := find_source(workload, here)) is not None:
        if source.module:  # of a file's own name, the catalog has seen to it
            look_for(source.file, source.function)
        if search.goal is not None:
            refuse_goal(source.file, source.function, search.goal)
    return opened


def plan_workload(
    opened: Any, workload: str, search: SearchOptions, devices_per_trial: int = 1
) -> Any:
    """Load the workload, and plan it in an open database: what was Planned.

    Says of which studies a smaller number of trials takes none away, and what says today what was
    asked for in the words of an earlier version.
    """
    from batchfront.plan.plan import plan
    from batchfront.study.variants import unused_variant
    from batchfront.workload import catalog

    here = Path.cwd()
    with others_aside():
        loaded = catalog.load(workload, here)
        spec = catalog.spec_for_workers(workload, here)
        try:
            planned = plan(opened, spec, loaded, search, devices_per_trial)
        except IdentityError as error:
            change = same_command("--accept-changes")
            go_on = [f"go on, new trials by the code as it is now: {change}"]
            variant = unused_variant(opened, loaded.name)
            beside = same_command("--variant", variant, without="--variant")
            ways = [*(go_on if error.planned else ()), f"keep both, side by side: {beside}"]
            raise IdentityError(f"{error}. Undo the change; or {'; or '.join(ways)}") from error
    for note in (*planned.notes, *superseded(search)):
        say(note)
    asked_for = search.trials if isinstance(search.trials, int) else None
    larger = [s for s in planned.studies if asked_for and s.trials > asked_for]
    if larger:
        kept = ", ".join(f"{study.name} keeps its {study.trials}" for study in larger)
        asked = sweep.said("trials", search.trials)
        complain(f"{asked} takes none away: {kept}")
    return planned
