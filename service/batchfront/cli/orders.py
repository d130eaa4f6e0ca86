"""What the subcommands of `batchfront launch` share: an order from the options, and its launch."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from batchfront.cli import options
from batchfront.cli.completion import stored
from batchfront.cli.output.lines import put, say, warn
from batchfront.worker.options import WorkerOptions
from batchfront.worker.signals import stop_on_signals

F = TypeVar("F", bound=Callable[..., Any])


def told(*without: str) -> Callable[[F], F]:
    """What every worker is told, and so every launcher takes, but for these options."""

    def decorate(command: F) -> F:
        for add in reversed(
            (
                click.argument(
                    "workloads", nargs=-1, metavar="[WORKLOAD]...", shell_complete=stored
                ),
                options.batch_sizes,
                options.told(WorkerOptions, "worker", without=without),
                options.data_dir,
            )
        ):
            command = add(command)
        return command

    return decorate


def open_and_order(
    storage: str,
    worker: WorkerOptions,
    workloads: tuple[str, ...],
    batch_sizes: tuple[int, ...] | None,
    *,
    environment_goes_along: bool = True,
) -> tuple[Any, Any]:
    """The database, which must have these workloads' studies, and the order for its workers.

    Where the workers have this process's environment, a password in a file stays there.
    """
    from batchfront.cli.local_run import say_if_empty
    from batchfront.frontier.queries import require
    from batchfront.store.database import parse_url
    from batchfront.store.url import open_storage
    from batchfront.study.code import meant
    from batchfront.study.study import require_code

    opened = open_storage(storage)
    named = meant(opened, workloads, Path.cwd())
    if worker.until_done:
        require(opened, named.names)
        say_if_empty(opened)
    require_code(opened, named.names)
    url = parse_url(storage) if environment_goes_along else opened.url
    if url.get_backend_name() == "sqlite" and url.database:
        url = url.set(database=str(Path(url.database).absolute()))  # for any working directory
    worker = replace(worker, code=(*worker.code, *named.code))
    told = options.with_checkpoints(worker, storage)
    return opened, order(url, told, named.names, batch_sizes)


def order(
    url: Any,
    worker: WorkerOptions,
    workloads: tuple[str, ...],
    batch_sizes: tuple[int, ...] | None,
) -> Any:
    """The order that these options make."""
    from batchfront.launch.worker_options import Order
    from batchfront.study.study import Filter

    wanted = Filter(workloads, batch_sizes or ())
    return Order(url, wanted, worker, os.environ.get("BATCHFRONT_DATA_DIR"))


def run(launcher: Any, told: Any, workers: int | None, watching: Any = None) -> int:
    """Launch, say how to watch and to stop, and hold the workers that want to be held."""
    from batchfront.cli.output.progress import showing
    from batchfront.cli.output.standing import Here

    launched = launcher.launch(told, workers)
    for name in launched.ids:
        put(name)
    say(f"Watch with: {launched.watch}")
    say(f"Stop with: {launched.cancel}")
    if launched.hold is None:
        return 0
    with stop_on_signals() as stop:
        here = Here(stopping=stop.is_set)
        with showing(watching, told.wanted, here) if watching else nullcontext():
            launched.hold(stop)
    return 130 if stop.is_set() else 0


def warn_of_one_machine(opened: Any) -> None:
    """For launchers whose workers may be on several."""
    if opened.url.get_backend_name() == "sqlite":
        warn("SQLite serves the processes of one machine; workers on several need postgresql://")
