"""`batchfront plan`"""

from typing import Any

import click

from service.cli import options


@click.command(
    epilog="""\b
Examples:
  batchfront plan digits/mlp/momentum
  batchfront plan ./my_workload.py:my_workload --batch-sizes 8..512 --trials 64
  batchfront plan digits/mlp/momentum --extend
"""
)
@click.argument("workload")
@options.storage
@options.planning
@options.option(
    "--extend",
    is_flag=True,
    help="Widen the search space of each study whose winner lies at an edge of it, and add trials "
    "there.",
)
@options.data_dir
def command(workload: str, storage: str, extend: bool, **asked: Any) -> None:
    """Create a workload's studies, without running any trial.

    WORKLOAD is a name that `batchfront workloads` lists, a module:function, or a
    file.py:function. Planning again continues: more trials or batch sizes are added, and a
    definition that has changed is refused.
    """
    from service.plan import Request

    opened, planned = plan_workload(workload, storage, Request(**asked))
    for study, added in zip(planned.studies, planned.added, strict=True):
        click.echo(f"{study.name}: {study.trials} trials, {added} new")
    if extend:
        _extend(opened, planned.workload.name, planned.filter.batch_sizes)


def _extend(opened: Any, workload: str, batch_sizes: tuple[int, ...]) -> None:
    from service.extension import extend

    found = extend(opened, workload, batch_sizes)
    for extension in found:
        for name, (before, after) in extension.ranges.items():
            click.echo(f"{extension.study.name}: {name} {before} is {after} now")
        for name, side in extension.stuck.items():
            click.echo(f"{extension.study.name}: {name} can't go {side}er than it does")
        click.echo(
            f"{extension.study.name}: {extension.study.trials} trials, {extension.added} new"
        )
    if not found:
        click.echo("No winner lies at an edge of its search space.", err=True)


def plan_workload(workload: str, storage: str, request: Any) -> tuple[Any, Any]:
    """Load the workload, open or make the database, and plan: the Storage and what was Planned."""
    from service import catalog
    from service.plan import plan
    from service.storage import open_storage

    loaded = catalog.load(workload)
    opened = open_storage(storage, create=True)
    planned = plan(opened, catalog.spec_for_workers(workload), loaded, request)
    for note in planned.notes:
        click.echo(note, err=True)
    return opened, planned
