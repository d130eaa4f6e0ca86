"""A sweep file's [search]: what it says of options comes after the command line and the
environment, and before stored studies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from batchfront.cli.completion import to_run
from batchfront.cli.main import command
from batchfront.errors import SweepFileError, UsageError
from batchfront.options import BATCH_SIZES, options_of
from batchfront.phrases import nearest
from batchfront.plan.options import SearchOptions
from batchfront.worker.options import WHEN_TO_END, WorkerOptions
from batchfront.workload.catalog import is_sweep_file
from batchfront.workload.sweep_file import read_sweep_file
from batchfront.workload.toml_table import shown

_ELSEWHERE = {
    "goal": "it stands in [workload]",
    "batch_sizes": "they stand in [workload]",
    "storage": "every command needs it, not `run` alone; set BATCHFRONT_STORAGE",
    "data_dir": "every command needs it, not `run` alone; set BATCHFRONT_DATA_DIR",
    "code": "whoever starts the workers says what they may run, by --code",
    "accept_changes": "each change is accepted for itself, by --accept-changes",
    "precision": "a program says itself what it computes in",
}
"""Options of `run` that can't be said here, and why."""


def _take_search(ctx: click.Context, _: click.Parameter, value: str) -> str:
    """Have the options that weren't given be what the sweep file says."""
    if is_sweep_file(value) and not ctx.resilient_parsing:
        sweep = read_sweep_file(Path(value))
        search = _checked(value, sweep.search, ctx)
        ctx.default_map = {**search, "batch_sizes": BATCH_SIZES.text(sweep.program.batch_sizes)}
    return value


# Eager: before the options, which look there for what they aren't given.
workload = click.argument("workload", is_eager=True, callback=_take_search, shell_complete=to_run)


def said(name: str, value: object) -> str:
    """An option as it was said: --trials 16, or trials = 16 in the sweep file."""
    ctx = click.get_current_context()
    if ctx.get_parameter_source(name) == click.core.ParameterSource.DEFAULT_MAP:
        return f"{name} = {value} in [search]"
    return f"--{name} {value}"


def _checked(file: str, search: Mapping[str, Any], ctx: click.Context) -> dict[str, Any]:
    """The options, as a command line would say them.

    Raises SweepFileError for what is none of `run`, or can't be its value.
    """

    known = {
        str(param.name): param
        for param in command("run").params
        if isinstance(param, click.Option) and not param.hidden and param.name not in _ELSEWHERE
    }
    known["format"] = known.pop("format_")
    told: dict[str, Any] = {}
    for name, value in search.items():
        where = f"{file}, [search] {name}"
        if name in _ELSEWHERE:
            raise SweepFileError(f"{where}: is no key of this table: {_ELSEWHERE[name]}")
        if name not in known:
            raise SweepFileError(f"{where}: is no option of `run`{nearest(name, known)}")
        told[str(known[name].name)] = _value(where, known[name], value, ctx)
    for kind in (SearchOptions, WorkerOptions):
        names = [name for name in options_of(kind) if name in told and name not in WHEN_TO_END]
        try:
            kind(**{name: known[name].type_cast_value(ctx, told[name]) for name in names})
        except UsageError as error:
            raise SweepFileError(f"{file}, [search]: {error}") from None
    return told


def _value(where: str, param: click.Option, value: object, ctx: click.Context) -> Any:
    if isinstance(value, bool) != param.is_flag or isinstance(value, list | dict):
        wanted = "true or false" if param.is_flag else "a number or a text"
        raise SweepFileError(f"{where}: {shown(value)} is not {wanted}")
    text = value if isinstance(value, bool) else str(value)
    try:
        param.type_cast_value(ctx, text)
    except click.BadParameter as error:
        raise SweepFileError(f"{where}: {error.message.rstrip('.')}") from None
    return text
