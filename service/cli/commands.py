"""Commands as a user would type them, for messages that advise one."""

import re
import shlex

import click
from click.core import ParameterSource

_PASSWORD = re.compile(r"(?<=://)([^:/@]*):[^@]*(?=@)")


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
    where = ("--storage", url) if told and _PASSWORD.sub(r"\1", url) == url else ()
    return _line([*arguments, *where])


def _line(arguments: list[str]) -> str:
    # A password isn't repeated: it would stand in logs.
    shown = [_PASSWORD.sub(r"\1", one) for one in arguments]
    return shlex.join(["batchfront", *shown])
