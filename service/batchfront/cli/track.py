"""`batchfront track`"""

import click

from batchfront.cli import options
from batchfront.cli.completion import stored
from batchfront.cli.output.lines import put


@click.command(
    epilog="""\b
Examples:
  batchfront track --to tensorboard:runs
  batchfront track digits/mlp/momentum --to mlflow:http://localhost:5000
  batchfront track --to wandb:.
"""
)
@click.argument("workloads", nargs=-1, shell_complete=stored, metavar="[WORKLOAD ...]")
@click.option(
    "--to",
    "to",
    required=True,
    metavar="TRACKER:WHERE",
    help="tensorboard:DIR, wandb:DIR, for offline runs, mlflow:DIR, mlflow:URI, or trackio:DIR.",
)
@options.storage
def command(workloads: tuple[str, ...], to: str, storage: str) -> None:
    """Write trials and learning curves to MLflow, W&B, TensorBoard or trackio.

    Each trial that has ended, of these workloads or of all, becomes a run: grouped by batch size,
    with its outcome as a tag, and its metaparameters; the frontier becomes one, too. Those that
    are there already aren't written again.
    """
    from batchfront.cli.output.progress import bar
    from batchfront.exchange.trackers.runs import count_runs, tracked_runs
    from batchfront.exchange.trackers.tracker import open_tracker, parse_place, write_runs
    from batchfront.frontier.queries import require
    from batchfront.phrases import several
    from batchfront.store.snapshot import snapshot

    name, where = parse_place(to)
    with snapshot(storage) as moment:
        require(moment, workloads)
        tracker = open_tracker(name, where)
        with bar("runs", count_runs(moment, workloads)) as advance:
            new, there = write_runs(tracker, tracked_runs(moment, workloads), advance)
    put(f"{name}: {several(new, 'run')} new, {there:,} there already; {tracker.close()}")
