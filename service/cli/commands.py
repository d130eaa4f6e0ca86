"""Commands as a user would type them, for messages that advise one."""

import re
import shlex
from collections.abc import Iterable

import click
from click.core import ParameterSource

_PASSWORD = re.compile(r"(?<=://)([^:/@]*):[^/]*(?=@)|([?&])password=[^&]*")


def same_command(*more: str, without: str = "") -> str:
    """The command that is running, as it was given, with more options.

    without -- an option that takes a value, left out
    """
    given: list[str] = list(click.get_current_context().find_root().obj or ())
    kept = [
        one
        for before, one in zip(["", *given], given, strict=False)
        if not without or (before != without and one.partition("=")[0] != without)
    ]
    return _line([*kept, *more])


def on_same_storage(*arguments: str) -> str:
    """Another command, on the database that this one was told of: in the environment too, as
    that may be a launcher's."""
    context = click.get_current_context()
    url = str(context.params["storage"])
    told = context.get_parameter_source("storage") is not ParameterSource.DEFAULT
    where = ("--storage", url) if told and _without_password(url) == url else ()
    return _line([*arguments, *where])


def _line(arguments: Iterable[str]) -> str:
    return shlex.join(["batchfront", *map(_without_password, arguments)])


def _without_password(argument: str) -> str:
    """A password isn't repeated: it would stand in logs."""
    return _PASSWORD.sub(lambda found: found[1] or found[2] or "", argument)
