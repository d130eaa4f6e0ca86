"""Options and arguments that several commands share."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import click

from batchfront.errors import UsageError
from batchfront.store.database import DEFAULT_URL, parse_url
from batchfront.workload.workload import powers_of_two

F = TypeVar("F", bound=Callable[..., Any])


def option(name: str, *others: str, **attributes: Any) -> Callable[[F], F]:
    """An option that the environment variable BATCHFRONT_<NAME> sets too."""
    variable = "BATCHFRONT_" + name.lstrip("-").split("/")[0].replace("-", "_").upper()
    return click.option(name, *others, envvar=variable, **attributes)


class BatchSizes(click.ParamType[tuple[int, ...]]):
    """`2,8,32`, or `2..1024` for the powers of two between, or both."""

    name = "SIZES"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        sizes: set[int] = set()
        for part in str(value).split(","):
            found = re.fullmatch(r"(-?\d+)(?:\.\.(\d+))?", part.strip())
            if not found:
                self.fail(f"{part.strip()!r} is not a batch size; write 2,8,32 or 2..1024")
            low, high = int(found[1]), int(found[2] or found[1])
            if low < 1:
                self.fail(f"{low} is not a batch size; the smallest is 1")
            if found[2] is None:
                sizes.add(low)
                continue
            powers = powers_of_two(low, high)
            if not powers:
                self.fail(f"{part.strip()} holds no power of two; write 2..1024, low end first")
            sizes.update(powers)
        return tuple(sorted(sizes))


class Duration(click.ParamType[float]):
    """Seconds, written 90, 90s, 30m, 12h or 1d."""

    name = "DURATION"
    _units: ClassVar = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", str(value).strip())
        if not found:
            self.fail(f"{str(value)!r} is not a duration; write 90s, 30m, 12h or 1d")
        return float(found[1]) * self._units[found[2]]


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
    type=BatchSizes(),
    help="Such as 2,8,32 or 2..1024 (the powers of two).  [default: all]",
)


workers = option(
    "--workers",
    type=int,
    help="Local worker processes.  [default: one per GPU, or else one per CPU core]",
)


device = option(
    "--device",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda or cuda:N.",
)


devices_per_trial = option(
    "--devices-per-trial",
    type=int,
    default=1,
    show_default=True,
    help="How many compute each trial together: a worker's device and those after it.",
)


engine = option(
    "--engine",
    type=click.Choice(["auto", "sequential", "vectorized"]),
    default="auto",
    show_default=True,
    help="How a heat's trials are computed: one after another, all as one, or as a short trial "
    "finds to be faster.",
)


checkpoint_dir = option(
    "--checkpoint-dir",
    metavar="DIR",
    help="Where interrupted trials are kept, a folder or an fsspec URL that every worker must "
    "reach.  [default: beside an SQLite database]",
)


until_done = option(
    "--until-done/--forever",
    default=True,
    help="End when everything is done, or wait for more to be planned.  [default: until-done]",
)


max_time = option(
    "--max-time",
    type=Duration(),
    help="Then save the trials in hand, give them back and end.  [default: no limit]",
)


max_outage = option(
    "--max-outage",
    type=Duration(),
    default="1h",
    show_default=True,
    help="How long the database may be away before a worker gives up.",
)


profile = option(
    "--profile",
    is_flag=True,
    help="Say where the workers' time went, and what would make them faster.",
)


format_ = option(
    "--format",
    "format_",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How to print.",
)


table_or_json = click.option(  # not from the environment, where --format may say csv
    "--format",
    "format_",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print.",
)


def checkpoints_for(url: str, given: str | None) -> str | None:
    """The place for checkpoints: as given, or beside an SQLite database, or none."""
    if given is not None:
        return given if "://" in given else str(_folder(given))
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    return str(Path(f"{parsed.database}.checkpoints").absolute())


def _folder(given: str) -> Path:
    path = Path(given).absolute()
    if path.exists() and not path.is_dir():
        raise UsageError(f"--checkpoint-dir {given}: is a file; name a folder")
    return path


def planning(command: F) -> F:
    """The options that say what to plan."""
    for decorate in reversed(
        (
            option(
                "--batch-sizes",
                type=BatchSizes(),
                help="Such as 2,8,32 or 2..1024 (the powers of two).  [default: those planned "
                "before, or else the workload's own]",
            ),
            option(
                "--trials",
                type=int,
                help="Trials per batch size; more than before adds some.  [default: 32]",
            ),
            option("--seed", type=int, help="Of the search.  [default: 0]"),
            option(
                "--goal",
                type=float,
                help="Another value of the goal metric to pass.  [default: the workload's]",
            ),
            option(
                "--precision",
                type=click.Choice(["float32", "bfloat16"]),
                help="What models are computed in; weights stay float32.  [default: the "
                "workload's]",
            ),
            option(
                "--count",
                type=click.Choice(["all", "feasible"]),
                help="What --trials counts: all, or only those that don't diverge.  [default: all]",
            ),
            option(
                "--sampler",
                type=click.Choice(["sobol", "tpe", "gp"]),
                help="Quasi-random, or an adaptive one of Optuna's.  [default: sobol]",
            ),
            option(
                "--schedule",
                type=click.Choice(["race", "one-by-one"]),
                help="Advance a study's trials together (with tpe and gp, a generation of them), "
                "or one after another up to the best so far.  [default: race]",
            ),
            option(
                "--generation",
                type=int,
                help="With tpe or gp: trials that race together, drawn from what those before "
                "them have shown.  [default: 8]",
            ),
            option(
                "--finishers",
                type=int,
                help="Trials of a batch size that pass the goal before its others are stopped.  "
                "[default: 1]",
            ),
            option(
                "--after-goal",
                type=click.Choice(["stop", "continue"]),
                help="What a trial does that passes the goal: stop, or continue to the step "
                "budget, for curves beyond the goal.  [default: stop]",
            ),
            option(
                "--continuing",
                type=int,
                help="With --after-goal continue: how many trials of a batch size do, the first "
                "that pass.  [default: 1]",
            ),
            option(
                "--warm-start",
                is_flag=True,
                default=None,
                help="Start the first trials of a batch size at the winners of its neighbours, "
                "where they have one.",
            ),
            option(
                "--variant",
                metavar="NAME",
                help="Keep this definition beside the first, as WORKLOAD@NAME, which other "
                "commands take as its name. Trials have the seeds of the first's.",
            ),
            option(
                "--accept-changes",
                is_flag=True,
                default=None,
                help="Go on though the workload's code has changed: new trials are made by the "
                "code as it is now, and stand beside those of the earlier version.",
            ),
            option(
                "--halving",
                is_flag=True,
                default=None,
                help="Drop the worse half of the trials of a batch size at each doubling of the "
                "steps. It may drop the one that would have won.",
            ),
            option(
                "--extrapolate",
                is_flag=True,
                default=None,
                help="Drop trials whose curve, extrapolated, would miss the goal when the leader "
                "is to pass it. It may drop the one that would have won.",
            ),
        )
    ):
        command = decorate(command)
    return command
