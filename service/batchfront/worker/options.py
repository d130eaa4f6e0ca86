"""How a worker works, wherever it runs."""

from dataclasses import dataclass
from typing import Any

from batchfront.options import DURATION, SOME_TIME, at_least, check, option
from batchfront.vocabulary import EngineName, KeepModel, LogFormat


def device_option() -> Any:
    """The field of the device to compute on."""
    told = "What it computes on: auto, cpu, cuda or cuda:N."
    return option(str, told, metavar="NAME", default="auto")


def code_option() -> Any:
    """The field of the code that may run, of what runs one workload."""
    return option(
        str,
        "A folder, or a file, whose code may run: what the workload was planned from. Can be "
        "repeated.",
        metavar="DIR",
        otherwise="only the catalog's, and what the command line names",
        default=(),
        repeated=True,
    )


@dataclass(frozen=True)
class WorkerOptions:
    """What workers are told, by whoever starts them.

    Raises UsageError, with all that is wrong, for values that an option doesn't have.
    """

    device: str = device_option()
    devices_per_trial: int = option(
        int,
        "How many devices compute each trial together: a worker's own and those after it.",
        must=at_least(1),
        default=1,
    )
    engine: EngineName = option(
        str,
        "How a heat's trials are computed: one after another, all as one, or as a short trial "
        "finds to be faster.",
        choices=tuple(EngineName),
        default=EngineName.AUTO,
    )
    checkpoint_dir: str | None = option(
        str,
        "Where interrupted trials are kept, a folder or an fsspec URL that every worker must "
        "reach.",
        metavar="DIR",
        otherwise="beside an SQLite database",
    )
    keep_model: KeepModel = option(
        str,
        "Whose weights are kept, as they are when a trial passes the goal: those of each batch "
        "size's best trial so far, beside an SQLite database or else in --checkpoint-dir, or none.",
        choices=tuple(KeepModel),
        default=KeepModel.BEST,
    )
    trial_dir: str | None = option(
        str,
        "Where programs run: a folder for each trial, with its log. Those that resume need one "
        "that every worker reaches.",
        metavar="DIR",
        otherwise="beside an SQLite database, or else ./batchfront-trials",
    )
    code: tuple[str, ...] = option(
        str,
        "A folder, or a file, whose code workers may run: what workloads were planned from. It is "
        "found there also where it was planned from another path. Can be repeated.",
        metavar="DIR",
        otherwise="only the catalog's, and what the command line names",
        default=(),
        repeated=True,
    )
    max_time: float | None = option(
        DURATION,
        "How long a worker works before it saves the trials in hand, gives them back and ends.",
        must=SOME_TIME,
        otherwise="no limit",
    )
    max_steps: int | None = option(
        int,
        "How many training steps, of all its trials together, a worker takes before it saves "
        "those in hand, gives them back and ends.",
        must=at_least(1),
        otherwise="no limit",
    )
    until_done: bool = option(
        bool,
        "End when everything is done, or wait for more to be planned.",
        flags="--until-done/--forever",
        otherwise="until-done",
        default=True,
    )
    max_outage: float = option(
        DURATION, "How long the database may be away before a worker gives up.", default=3600.0
    )

    log_format: LogFormat = option(
        str,
        "What standard error says: lines for a person, or an object a line with time, level, "
        "message and, where they are known, worker, study and trial.",
        choices=tuple(LogFormat),
        default=LogFormat.TEXT,
    )

    def __post_init__(self) -> None:
        check(self)


WHEN_TO_END = ("max_time", "max_steps", "until_done")
"""Options that a command hasn't which runs what it has planned, and waits for that."""


@dataclass(frozen=True)
class RunLimits:
    """When a run on this machine stops though trials are left.

    Raises UsageError, with all that is wrong, for values that an option doesn't have.
    """

    max_time: float | None = option(
        DURATION,
        "How long the trials run before what is in hand is saved, and the page made of what there "
        "is. The same command continues.",
        must=SOME_TIME,
        otherwise="no limit",
    )
    max_steps: int | None = option(
        int,
        "The same, after so many training steps of all trials of this run together; each of "
        "several workers takes an equal part of them.",
        must=at_least(1),
        otherwise="no limit",
    )

    def __post_init__(self) -> None:
        check(self)
