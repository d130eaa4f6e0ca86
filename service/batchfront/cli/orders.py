"""What the subcommands of `batchfront launch` share: an order from the options, and its launch."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import click

from batchfront.cli import options
from batchfront.worker.signals import stop_on_signals

F = TypeVar("F", bound=Callable[..., Any])


def told(command: F) -> F:
    """What every worker is told, and so every launcher takes."""
    for decorate in reversed(
        (
            click.argument("workloads", nargs=-1, metavar="[WORKLOAD]..."),
            options.batch_sizes,
            options.devices_per_trial,
            options.engine,
            options.checkpoint_dir,
            options.data_dir,
            options.max_time,
            options.until_done,
            options.max_outage,
        )
    ):
        command = decorate(command)
    return command


def open_and_order(
    storage: str,
    checkpoint_dir: str | None,
    workloads: tuple[str, ...],
    until_done: bool,
    environment_goes_along: bool = True,
    **told: Any,
) -> tuple[Any, Any]:
    """The database, which must have these workloads' studies, and the order for its workers.

    Where the workers have this process's environment, a password in a file stays there.
    """
    from batchfront.frontier.frontier import require
    from batchfront.store.database import parse_url
    from batchfront.store.url import open_storage
    from batchfront.study.study import require_code

    opened = open_storage(storage)
    if until_done:
        require(opened, workloads)
    require_code(opened, workloads)
    url = parse_url(storage) if environment_goes_along else opened.url
    if url.get_backend_name() == "sqlite" and url.database:
        url = url.set(database=str(Path(url.database).absolute()))  # for any working directory
    checkpoints = options.checkpoints_for(storage, checkpoint_dir)
    return opened, order(url, checkpoints, workloads, until_done=until_done, **told)


def order(
    url: Any,
    checkpoints: str | None,
    workloads: tuple[str, ...],
    batch_sizes: tuple[int, ...] | None,
    until_done: bool,
    **told: Any,
) -> Any:
    """The order that these options make."""
    from batchfront.launch.worker_options import Order
    from batchfront.study.study import Filter

    return Order(
        url,
        Filter(workloads, batch_sizes or ()),
        checkpoints=checkpoints,
        data_dir=os.environ.get("BATCHFRONT_DATA_DIR"),
        forever=not until_done,
        **told,
    )


def run(launcher: Any, told: Any, workers: int | None, watching: Any = None) -> int:
    """Launch, say how to watch and to stop, and hold the workers that want to be held."""
    from batchfront.cli.output.status import showing

    launched = launcher.launch(told, workers)
    for name in launched.ids:
        click.echo(name)
    click.echo(f"Watch with: {launched.watch}\nStop with: {launched.cancel}", err=True)
    if launched.hold is None:
        return 0
    progress = showing(watching, told.wanted) if watching else nullcontext()
    with stop_on_signals() as stop, progress:
        launched.hold(stop)
    return 130 if stop.is_set() else 0


def warn_of_one_machine(opened: Any) -> None:
    """For launchers whose workers may be on several."""
    if opened.url.get_backend_name() == "sqlite":
        click.echo(
            "batchfront: warning: SQLite serves the processes of one machine; "
            "workers on several need postgresql://",
            err=True,
        )
