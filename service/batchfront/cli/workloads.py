"""`batchfront workloads`"""

from pathlib import Path

import click

from batchfront.cli import options
from batchfront.cli.completion import to_run
from batchfront.cli.help import Group
from batchfront.cli.output.lines import put_json
from batchfront.cli.streams import others_aside
from batchfront.workload.outline import outline


@click.group(
    cls=Group,
    invoke_without_command=True,
    epilog="""\b
Examples:
  batchfront workloads
  batchfront workloads show digits/mlp/momentum
  batchfront workloads --format json
""",
)
@options.table_or_json
@click.pass_context
def command(ctx: click.Context, format_: str) -> None:
    """List the workloads there are, or show one."""
    if ctx.invoked_subcommand is not None:
        return
    from batchfront.cli.output.workloads import print_workloads
    from batchfront.workload import catalog

    with others_aside():
        known = catalog.outlines()
        listed = [known.get(name) or outline(catalog.load(name)) for name in catalog.names()]
    put_json(listed) if format_ == "json" else print_workloads(listed)


@command.command(epilog="\b\nExample:\n  batchfront workloads show ./my_workload.py:my_workload")
@click.argument("workload", shell_complete=to_run)
@options.table_or_json
def show(workload: str, format_: str) -> None:
    """Show a workload's goal, search space, batch sizes and step budgets."""
    from batchfront.cli.output.workloads import print_workload
    from batchfront.workload import catalog

    with others_aside():
        shown = catalog.outlines().get(workload) or outline(catalog.load(workload, Path.cwd()))
    put_json(shown) if format_ == "json" else print_workload(shown)
