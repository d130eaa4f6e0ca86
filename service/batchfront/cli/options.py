"""Options and arguments that several commands share."""

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from batchfront.cli.completion import folder
from batchfront.cli.output.lines import speak_json
from batchfront.errors import UsageError
from batchfront.options import BATCH_SIZES, Kind, Option, flag, options_of
from batchfront.store.database import DEFAULT_URL, parse_url
from batchfront.vocabulary import LogFormat
from batchfront.worker.options import WorkerOptions

F = TypeVar("F", bound=Callable[..., Any])


_EVERYWHERE = ("BATCHFRONT_STORAGE", "BATCHFRONT_DATA_DIR")
"""Variables that say an option inside a trial too, where all others, such as BATCHFRONT_SEED, say
what the trial is."""


def option(name: str, *others: str, **attributes: Any) -> Callable[[F], F]:
    """An option that the environment variable BATCHFRONT_<NAME> sets too."""
    variable = "BATCHFRONT_" + name.lstrip("-").split("/")[0].replace("-", "_").upper()
    says = variable in _EVERYWHERE or "BATCHFRONT_TRIAL" not in os.environ
    return click.option(name, *others, envvar=variable if says else None, **attributes)


class Written(click.ParamType[Any]):
    """A kind of value that is written in a way of its own."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.name = kind, kind.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self.kind.parse(value)
        except ValueError as error:
            self.fail(str(error))


def told(
    options: Any,
    argument: str,
    *,
    without: Sequence[str] = (),
    not_from_environment: Sequence[str] = (),
) -> Callable[[F], F]:
    """The flags of a dataclass of options; the command takes an instance of it as `argument`.

    without              -- names of those that this command hasn't
    not_from_environment -- names of those whose variable says another command's option
    """
    given = {name: said for name, said in options_of(options).items() if name not in without}

    def decorate(command: F) -> F:
        @wraps(command)
        def taking(**values: Any) -> Any:
            made = options(**{name: values.pop(name) for name in given})
            if isinstance(made, WorkerOptions) and made.log_format == LogFormat.JSON:
                speak_json(values.get("worker_id"), launched=values.get("leash", False))
            return command(**values, **{argument: made})

        decorated: Any = taking
        for name, said in reversed(given.items()):
            environment = name not in not_from_environment
            decorated = _flag(name, said, getattr(options, name), environment)(decorated)
        return cast(F, decorated)

    return decorate


class Number(click.types.FloatParamType):
    """A number; of what is written as one elsewhere, how it is written here is said."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return float(value)
        except ValueError:
            meant = as_number(str(value))
            self.fail(f"{value!r} is not a number{meant and f'; write {meant}'}", param, ctx)


def as_number(text: str) -> str:
    """What to write for a share in percent, or a decimal comma; nothing for what is neither, or may
    be thousands."""
    found = re.fullmatch(r"\s*(?=.*\d)([-+]?\d*)(?:[.,](\d+))?\s*(%?)\s*", text)
    if found is None or (len(found[2] or "") == 3 and "," in text and found[1].lstrip("-+0")):
        return ""
    with suppress(ValueError):
        meant = float(f"{found[1]}.{found[2] or 0}")
        return f"{meant / 100 if found[3] else meant:.15g}"
    return ""


class OneOf(click.Choice[Any]):
    """One of these words; click would ask for the names of an enumeration's members."""

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:
        """Returns the word itself."""
        return str(choice)


def _flag(name: str, said: Option, default: Any, environment: bool = True) -> Callable[[F], F]:
    """The flag of one option, its default in the help.

    environment -- whether a variable of its name sets it, too
    """
    known = said.otherwise
    if not known and not isinstance(said.fallback, bool | None):
        known = said.text(said.fallback)
    about: dict[str, Any] = {
        "help": f"{said.help}  [default: {known}]" if known else said.help,
        "default": said.text(default) if _written(said) and default else default,
        "show_default": not known and default is not None and said.kind is not bool,
        "hidden": bool(said.superseded),
        "metavar": said.metavar or (said.kind.name if isinstance(said.kind, Kind) else None),
    }
    if said.metavar == "DIR":
        about["shell_complete"] = folder
    if isinstance(said.kind, Kind):
        about["type"] = Written(said.kind)
    elif said.kind is bool:
        about["is_flag"] = True
    elif said.repeated:
        # In the environment they are separated as in PATH.
        about |= {"multiple": True, "type": click.Path(path_type=str)}
    else:
        kind = Number() if said.kind is float else said.kind
        about["type"] = OneOf(said.choices) if said.choices else kind
    made = option if environment else click.option
    return made(said.flags or flag(name), name, **about)


def _written(said: Option) -> bool:
    """Whether a command line writes the option's value in another way than Python does."""
    return bool(said.choices) or isinstance(said.kind, Kind)


def _set_data_dir(_: click.Context, __: click.Parameter, value: Path | None) -> Path | None:
    if value is not None:
        # The environment is how it reaches the loaders, which service/ doesn't know, and workers.
        os.environ["BATCHFRONT_DATA_DIR"] = str(value.absolute())
    return value


storage = option(
    "--storage",
    default=DEFAULT_URL,
    show_default=True,
    metavar="URL",
    help="The database: sqlite:///FILE or postgresql+psycopg2://USER@HOST/NAME.",
)

data_dir = option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    callback=_set_data_dir,
    expose_value=False,
    is_eager=True,
    help="Where data sets are, or are downloaded to.",
)

batch_sizes = option(
    "--batch-sizes",
    type=Written(BATCH_SIZES),
    help="Such as 2,8,32 or 2..1024 (the powers of two).  [default: all]",
)

batch_size = click.option(  # not from the environment, where it is a trial's
    "--batch-size", type=int, required=True, help="How many examples a step takes."
)

device = _flag("device", options_of(WorkerOptions)["device"], WorkerOptions.device)

checkpoint_dir = _flag("checkpoint_dir", options_of(WorkerOptions)["checkpoint_dir"], None)

code = _flag("code", options_of(WorkerOptions)["code"], WorkerOptions.code)

trial_dir = _flag("trial_dir", options_of(WorkerOptions)["trial_dir"], None)

workers = option(
    "--workers",
    type=int,
    help="Local worker processes.  [default: one per GPU, or else one per CPU core]",
)

profile = option(
    "--profile",
    is_flag=True,
    help="Say where the workers' time went, and what would make them faster.",
)

format_ = option(
    "--format",
    "format_",
    type=click.Choice(["table", "json", "csv", "spreadsheet"]),
    default="table",
    show_default=True,
    help="How to print; spreadsheet is CSV with an apostrophe before text that would be a formula.",
)

table_or_json = click.option(  # not from the environment, where --format may say csv
    "--format",
    "format_",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print.",
)


def with_checkpoints(worker: WorkerOptions, url: str) -> WorkerOptions:
    """The options, with the places for checkpoints and for programs found where none was named."""
    checkpoint_dir = checkpoints_for(url, worker.checkpoint_dir)
    trial_dir = str(trials_for(url, worker.trial_dir))
    code = tuple(str(Path(place).absolute()) for place in worker.code if place)
    return replace(worker, checkpoint_dir=checkpoint_dir, trial_dir=trial_dir, code=code)


def trials_for(url: str, given: str | None) -> Path:
    """The place for programs' folders: as given, or beside an SQLite database, or here."""
    if given is not None:
        return _folder(given, "--trial-dir")
    parsed = parse_url(url)
    beside = parsed.database if parsed.get_backend_name() == "sqlite" else None
    return Path(f"{beside}.trials" if beside else "batchfront-trials").absolute()


def checkpoints_for(url: str, given: str | None) -> str | None:
    """The place for checkpoints: as given, or beside an SQLite database, or none."""
    if given is not None:
        return given if "://" in given else str(_folder(given, "--checkpoint-dir"))
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    return str(Path(f"{parsed.database}.checkpoints").absolute())


def _folder(given: str, option_: str) -> Path:
    path = Path(given).absolute()
    if path.exists() and not path.is_dir():
        raise UsageError(f"{option_} {given}: is a file; name a folder")
    return path
