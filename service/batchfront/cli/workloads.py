"""`batchfront workloads`"""

from pathlib import Path
from typing import Any

import click

from batchfront.cli import options
from batchfront.cli.completion import to_run
from batchfront.cli.output.lines import put_json
from batchfront.workload.search_space import describe_space


@click.group(
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

    listed = [describe(catalog.load(name)) for name in catalog.names()]
    put_json(listed) if format_ == "json" else print_workloads(listed)


@command.command(epilog="\b\nExample:\n  batchfront workloads show ./my_workload.py:my_workload")
@click.argument("workload", shell_complete=to_run)
@options.table_or_json
def show(workload: str, format_: str) -> None:
    """Show a workload's goal, search space, batch sizes and step budgets."""
    from batchfront.cli.output.workloads import print_workload
    from batchfront.workload import catalog

    shown = describe(catalog.load(workload, Path.cwd()))
    put_json(shown) if format_ == "json" else print_workload(shown)


_PARTS = ("algorithm", "schedule", "grid", "command", "output", "env", "cwd", "resume")
"""What some kinds of workload have and others haven't."""


def describe(workload: Any) -> dict[str, Any]:
    """A workload as plain data; search spaces and budgets by batch size where they differ."""
    spaces = {b: describe_space(workload.space(b)) for b in workload.batch_sizes}
    first = next(iter(spaces.values()))
    same = all(space == first for space in spaces.values())
    described = workload.describe()
    return {
        "name": workload.name,
        "description": workload.description,
        "goal": described["goal"],
        **{part: described[part] for part in _PARTS if part in described},
        "search_space": first if same else {str(b): space for b, space in spaces.items()},
        "batch_sizes": list(workload.batch_sizes),
        "step_budget": {str(b): workload.steps_allowed(b) for b in workload.batch_sizes},
        "stopping": described["stopping"],
    }
