"""`batchfront status`"""

import sys
import time
from typing import Any

import click

from batchfront.cli import options
from batchfront.study.study import Filter


@click.command(epilog="\b\nExample:\n  batchfront status --watch")
@click.argument("workloads", nargs=-1)
@options.storage
@options.option("--watch", is_flag=True, help="Keep showing until everything is done.")
@options.profile
@options.table_or_json
def command(
    workloads: tuple[str, ...], storage: str, watch: bool, profile: bool, format_: str
) -> None:
    """Show how far the studies are, who works on them, and what failed lately."""
    from batchfront.cli.output.status import print_status, showing, watch_status
    from batchfront.cli.output.tables import warn_of_mixed_code
    from batchfront.frontier.frontier import require
    from batchfront.ledger.status import load_status
    from batchfront.ledger.time_profile import load_profile
    from batchfront.store.url import open_storage

    opened = open_storage(storage)
    require(opened, workloads)
    wanted = Filter(workloads)
    if watch and sys.stderr.isatty():
        watch_status(lambda: load_status(opened, wanted))
    elif watch:
        with showing(opened, wanted):
            while not load_status(opened, wanted).finished:
                time.sleep(0.5)
    spent = load_profile(opened) if profile else None
    print_status(load_status(opened, wanted), format_, spent)
    for frontier in _of_several_versions(opened, wanted):
        warn_of_mixed_code(frontier)


def _of_several_versions(opened: Any, wanted: Filter) -> list[Any]:
    """The frontiers of those workloads whose code has changed since they were planned first."""
    from batchfront.frontier.frontier import load_frontiers
    from batchfront.study.study import find_studies

    with opened.read() as conn:
        studies = find_studies(conn, wanted)
    found = {s.workload for s in studies if len(s.identity.get("code", ())) > 1}
    return load_frontiers(opened, sorted(found)) if found else []
