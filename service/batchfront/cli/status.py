"""`batchfront status`"""

import sys
from typing import Any

import click

from batchfront.cli import options
from batchfront.cli.completion import stored
from batchfront.cli.output.lines import say
from batchfront.study.study import Filter


@click.command(epilog="\b\nExample:\n  batchfront status --watch")
@click.argument("workloads", nargs=-1, shell_complete=stored)
@options.storage
@options.option("--watch", is_flag=True, help="Keep showing until everything is done.")
@options.profile
@options.table_or_json
def command(
    workloads: tuple[str, ...], storage: str, watch: bool, profile: bool, format_: str
) -> None:
    """Show how far the studies are, who works on them, and what failed lately."""
    from batchfront.cli.output.status import print_status, watch_status
    from batchfront.cli.output.tables import warn_of_mixed_code
    from batchfront.frontier.queries import require, without_studies
    from batchfront.ledger.status import load_status
    from batchfront.ledger.time_profile import load_profile
    from batchfront.store.snapshot import snapshot
    from batchfront.store.url import open_storage

    opened, wanted = open_storage(storage), Filter(workloads)
    if watch:
        require(opened, workloads)
    if watch and sys.stderr.isatty():
        watch_status(lambda last: load_status(opened, wanted, last))
    elif watch:
        from batchfront.cli.output.progress import show_until_finished  # late: bars take a while

        show_until_finished(opened, wanted)
    with snapshot(opened) as moment:
        require(moment, workloads)
        status = load_status(moment, wanted)
        spent = load_profile(moment) if profile else None
        mixed = _of_several_versions(moment, wanted)
        empty = without_studies(moment)
    print_status(status, format_, spent)
    if empty is not None:
        say(empty)
    for frontier in mixed:
        warn_of_mixed_code(frontier)


def _of_several_versions(moment: Any, wanted: Filter) -> list[Any]:
    """The frontiers of those workloads whose code has changed since they were planned first."""
    from batchfront.frontier.frontier import load_frontiers
    from batchfront.study.study import find_studies

    studies = find_studies(moment, wanted)
    found = {s.workload for s in studies if len(s.identity.get("code", ())) > 1}
    return load_frontiers(moment, sorted(found)) if found else []
