"""`batchfront plan`"""

from pathlib import Path
from typing import Any

import click

from batchfront.cli import options, sweep
from batchfront.cli.commands import same_command
from batchfront.cli.output.lines import complain, put, say
from batchfront.errors import IdentityError
from batchfront.plan.options import SearchOptions, superseded


@click.command(
    epilog="""\b
Examples:
  batchfront plan digits/mlp/momentum
  batchfront plan ./my_workload.py:my_workload --batch-sizes 8..512 --trials 64
  batchfront plan digits/mlp/momentum --extend
"""
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
    opened, planned = plan_workload(workload, storage, search)
    for study, added, again in zip(planned.studies, planned.added, planned.reopened, strict=True):
        begun = f", {again} begun again" if again else ""
        put(f"{study.name}: {study.trials} trials, {added} new{begun}")
    if extend:
        _extend(opened, planned.workload.name, planned.filter.batch_sizes)


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


def plan_workload(
    workload: str, storage: str, search: SearchOptions, devices_per_trial: int = 1
) -> tuple[Any, Any]:
    """Load the workload, open or make the database, and plan: the Storage and what was Planned.

    Says of which studies a smaller number of trials takes none away, and what says today what was
    asked for in the words of an earlier version.
    """
    from batchfront.plan.plan import plan
    from batchfront.store.url import open_storage
    from batchfront.study.variants import unused_variant
    from batchfront.workload import catalog

    here = Path.cwd()
    loaded = catalog.load(workload, here)
    opened = open_storage(storage, create=True)
    try:
        spec = catalog.spec_for_workers(workload, here)
        planned = plan(opened, spec, loaded, search, devices_per_trial)
    except IdentityError as error:
        go_on = [f"go on, new trials by the code as it is now: {same_command('--accept-changes')}"]
        variant = unused_variant(opened, loaded.name)
        beside = same_command("--variant", variant, without="--variant")
        ways = [*(go_on if error.planned else ()), f"keep both, side by side: {beside}"]
        raise IdentityError(f"{error}. Undo the change; or {'; or '.join(ways)}") from error
    for note in (*planned.notes, *superseded(search)):
        say(note)
    larger = [s for s in planned.studies if search.trials and s.trials > search.trials]
    if larger:
        kept = ", ".join(f"{study.name} keeps its {study.trials}" for study in larger)
        asked = sweep.said("trials", search.trials)
        complain(f"{asked} takes none away: {kept}")
    return opened, planned
