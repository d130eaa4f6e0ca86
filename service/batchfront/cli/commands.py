"""The command that is running, for messages that advise it with other options."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import click

from batchfront.errors import UntrustedCode
from batchfront.printable import shell_line

_PASSWORD = re.compile(r"(?<=://)([^:/@]*):[^/]*(?=@)|([?&])password=[^&]*")


def same_command(*more: str, without: str = "") -> str:
    """The command that is running, as it was given, with more options, in backticks.

    without -- an option that takes a value, left out
    """
    given: list[str] = list(click.get_current_context().find_root().obj or ())
    kept = [
        one
        for before, one in zip(["", *given], given, strict=False)
        if not without or (before != without and one.partition("=")[0] != without)
    ]
    return f"`{shell_line(['batchfront', *map(_without_password, [*kept, *more])])}`"


@contextmanager
def telling_how_it_may() -> Iterator[None]:
    """Have the error of code that may not run say by which command it would."""
    try:
        yield
    except UntrustedCode as error:
        if error.place is None:
            raise
        allow = same_command("--code", error.place)
        raise UntrustedCode(f"{error}; to allow it: {allow}", error.place) from None


def _without_password(argument: str) -> str:
    """A password isn't repeated: it would stand in logs."""
    return _PASSWORD.sub(lambda found: found[1] or found[2] or "", argument)
