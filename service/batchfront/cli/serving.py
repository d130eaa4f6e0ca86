"""Where a command that serves listens, and what it says of that."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from batchfront.cli.options import option
from batchfront.cli.output.lines import warn

F = TypeVar("F", bound=Callable[..., Any])

host = option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Only this machine reaches the default.",
)


def port(default: int) -> Callable[[F], F]:
    """The port of a server; 0 takes a free one."""
    return option(
        "--port",
        type=click.IntRange(0, 65535),
        default=default,
        show_default=True,
        help="Port to listen on; 0 takes a free one.",
    )


def warn_if_open(host: str, may: str) -> None:
    """Say what whoever reaches a server may do, unless that is this machine alone."""
    from batchfront.report.web.guards import is_loopback

    if not is_loopback(host):
        warn(
            f"whoever reaches {host} can {may}: there is no authentication; "
            "use 127.0.0.1, or a proxy that has one"
        )
