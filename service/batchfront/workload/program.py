"""A workload whose training loop is a program: any command, in any language, run unchanged."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from batchfront.errors import SweepFileError, WorkloadError
from batchfront.phrases import listed
from batchfront.workload.base import WorkloadBase
from batchfront.workload.placeholders import (
    ACCUMULATION,
    BATCH_SIZE,
    CHECKPOINT,
    EPOCH_BUDGET,
    METAPARAMETERS,
    PER_DEVICE,
    PLACEHOLDERS,
    check,
    is_name,
    names_in,
)
from batchfront.workload.search_space import SearchSpace

Unit = Literal["step", "examples", "epoch", "tokens"]
"""What a program may count its training by; a step is an update of the weights."""

UNITS: tuple[Unit, ...] = get_args(Unit)

TAKEN = (
    "data_dir",
    "debug",
    "evaluation_grid",
    "lease_seconds",
    "long_seed",
    "password_file",
    "report",
    "socket",
    "storage",
    "trial",
    "workers_here",
)
"""Names that a metaparameter can't have, as BATCHFRONT_<NAME> in its environment is another's."""


@dataclass(frozen=True)
class Output:
    """How a program tells its evaluations.

    kind    -- "pattern": lines that match a regular expression with the groups `value` and a unit
               of `Unit`, and perhaps `loss`; "json": objects of JSON, and in a file rows of a CSV
               or scalars of TensorBoard, by their keys, columns or tags; "report": by
               `batchfront.report`, called inside the program
    pattern -- of kind "pattern". A match without `value` is of a line on the way, whose unit and
               loss are remembered; one without a unit is an evaluation at the unit last seen
    file    -- where it writes them instead of printing them, placeholders not filled in: JSON
               lines, CSV, a folder of TensorBoard events, or lines that match the pattern
    value   -- of kind "json", the one that holds the goal metric; None: the metric's name, or
               "value"
    loss    -- the one that holds the training loss
    count   -- the one that holds the count, where it isn't its unit's name
    unit    -- what is counted; None: by keys, whichever is there
    counts_from -- what the program calls its first step or epoch: 0 or 1, so that its count is of
               those completed; None: not said, and 0 counts as before training where that can be
    drop_last -- whether the last, smaller batch of an epoch is left out
    tokens_per_example -- where it counts tokens
    """

    kind: Literal["pattern", "json", "report"]
    pattern: str | None = None
    file: str | None = None
    value: str | None = None
    loss: str = "loss"
    count: str | None = None
    unit: Unit | None = None
    counts_from: int | None = None
    drop_last: bool = False
    tokens_per_example: int | None = None

    @property
    def expected(self) -> str:
        """What an evaluation looks like, for one that never came: "a line that matches '...'"."""
        if self.kind == "report":
            return "a call of batchfront.report"
        where = "" if self.file is None else f" in {self.file}"
        if self.kind == "pattern":
            return f"a line{where} that matches '{self.pattern}'"
        value = 'the metric\'s name or "value"' if self.value is None else f'"{self.value}"'
        count = self.count or self.unit or "step"
        what = "an object of JSON in a line" if self.file is None else f"an entry{where}"
        return f'{what} that has "{count}" and {value}'


@dataclass(frozen=True)
class Resources:
    """What a program runs with.

    at_once                -- programs that are in memory together on a worker's device
    gpus                   -- GPUs of each program, whose numbers it finds in CUDA_VISIBLE_DEVICES;
                              0: the one that its worker has, if it has one
    max_batch_size_per_device -- examples that fit on a device at once; {per_device_batch_size} and
                              {accumulation} follow from it. None: all of a device's
    env                    -- environment variables, placeholders not filled in
    cwd                    -- where it is started; relative to the sweep file's folder
    tty                    -- whether its output is a pseudo-terminal
    timeout_without_output -- seconds without a line after which it counts as hung; None: it may
                              be silent for as long as it likes
    max_pause              -- seconds for which it may be paused while others catch up; 0: never
    grace                  -- seconds from SIGTERM to SIGKILL
    """

    at_once: int = 1
    gpus: int = 0
    max_batch_size_per_device: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = Path()
    tty: bool = False
    timeout_without_output: float | None = None
    max_pause: float = 300.0
    grace: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Program(WorkloadBase):
    """A workload that a command trains.

    path           -- the sweep file that describes it
    command        -- program and arguments, placeholders such as {learning_rate} not filled in
    output         -- how it tells its evaluations
    train_examples -- in an epoch; 0: not known
    epochs         -- the step budget in epochs, where it is said in those
    resume         -- arguments added to the command to go on from {checkpoint}, which it writes
                      when it is sent SIGTERM; empty: it starts again
    checkpoint     -- the file or folder that {checkpoint} stands for
    resources      -- what it runs with
    code           -- files, folders or patterns, relative to the sweep file's folder, whose content
                      its results hang on
    """

    path: Path
    command: Sequence[str]
    output: Output
    train_examples: int = 0
    epochs: int | None = None
    resume: Sequence[str] = ()
    checkpoint: str = "{trial_dir}/checkpoint"
    resources: Resources = field(default_factory=Resources)
    code: Sequence[str] = ()

    @property
    def folder(self) -> Path:
        """Where it is started."""
        return self.path.absolute().parent / self.resources.cwd

    def wrong(self, table: str, key: str, what: str) -> SweepFileError:
        """The error of something that the sweep file says, in one line."""
        return SweepFileError(f"{self.path}, [{table}] {key}: {what}")

    @cached_property
    def told(self) -> set[str]:
        """The placeholders by which a start of it is told something."""
        return names_in([*self.command, *self.resources.env.values()])

    @property
    def devices(self) -> int:
        """The devices that a trial of it is computed on."""
        return max(self.resources.gpus, 1)

    @property
    def is_told_all(self) -> bool:
        """Whether it finds all that a trial has by itself: in a file, or by `batchfront.report`'s
        module."""
        return METAPARAMETERS in self.told or self.output.kind == "report"

    def check_space(self, space: SearchSpace) -> None:
        """Raise SweepFileError for a metaparameter that doesn't reach the program, and for a
        placeholder that nothing fills."""
        self._check_names(space)
        known = {*PLACEHOLDERS, *space} - ({EPOCH_BUDGET} if self.epochs is None else set())
        self._check_placeholders(known)
        if self.is_told_all:
            return
        for name in space:
            if name not in self.told:
                raise self.wrong(
                    "search_space",
                    name,
                    f"no placeholder uses it; write {{{name}}} in the command or in env, or give "
                    "the command {metaparameters}, the path of a JSON file that has them all",
                )
        if not self.told & {BATCH_SIZE, PER_DEVICE}:
            raise self.wrong(
                "workload",
                "command",
                "nothing tells the program its batch size; write {batch_size} in it, or in env",
            )

    def _check_names(self, space: SearchSpace) -> None:
        """Raise SweepFileError for names that metaparameters can't have."""
        variables: dict[str, str] = {}
        for name in space:
            if not is_name(name):
                what = "is no name; letters, digits and _.- make one"
            elif name in PLACEHOLDERS or name in TAKEN:
                what = (
                    "stands for something else in a program's command or environment; call it "
                    f"another name, such as my_{name}"
                )
            elif (other := variables.setdefault(variable(name), name)) != name:
                what = f"would be the same environment variable as {other}; rename one"
            else:
                continue
            raise self.wrong("search_space", name, what)

    def _check_placeholders(self, known: Collection[str]) -> None:
        """Raise SweepFileError for a placeholder that nothing fills, or a brace without one."""
        for table, key, texts in (
            ("workload", "command", self.command),
            ("workload", "resume", self.resume),
            ("workload", "checkpoint", [self.checkpoint]),
            ("workload", "output_file", [self.output.file or ""]),
            ("resources", "env", self.resources.env.values()),
        ):
            for text in texts:
                try:
                    check(text, {*known} - ({CHECKPOINT} if key == "checkpoint" else set()))
                except WorkloadError as error:
                    raise self.wrong(table, key, str(error)) from None

    def describe(self) -> dict[str, Any]:
        """Whatever of the sweep file its trials' results hang on, as it is meant and not as it is
        written: a comment, or more trials, leave it the same. What is searched, the step budgets
        and the code are told apart, for each batch size or each version."""
        said = {
            "kind": "program",
            "goal": self.goal.describe(),
            "command": list(self.command),
            "output": self._describe_output(),
            "stopping": self.stopping.describe(),
        }
        told = {
            "resume": list(self.resume),
            "checkpoint": self.checkpoint if self.resume else "",
            "env": dict(sorted(self.resources.env.items())),
            "cwd": "" if self.resources.cwd == Path() else self.resources.cwd.as_posix(),
            "gpus": self.resources.gpus if self.resources.gpus > 1 else 0,
            "max_batch_size_per_device": self.resources.max_batch_size_per_device,
            "train_examples": self.train_examples if self.counts_epochs else 0,
        }
        return {**said, **{name: value for name, value in told.items() if value}}

    def _describe_output(self) -> dict[str, Any]:
        default = Output(self.output.kind)
        return {
            name: value
            for name, value in vars(self.output).items()
            if name == "kind" or value != getattr(default, name)
        }

    @property
    def counts_epochs(self) -> bool:
        """Whether the examples of an epoch may be needed to tell steps from what it counts."""
        return self.output.unit in ("epoch", "examples", None)

    def steps_per_epoch(self, batch_size: int) -> int:
        """The updates of an epoch. Raises SweepFileError if its examples aren't known."""
        if not self.train_examples:
            raise self.wrong(
                "workload",
                "train_examples",
                "is missing, the examples of an epoch, by which epochs are turned into steps",
            )
        if self.output.drop_last:
            if self.train_examples < batch_size:
                raise self.wrong(
                    "workload",
                    "drop_last",
                    f"leaves no step in an epoch of {self.train_examples:,} examples at batch size "
                    f"{batch_size}",
                )
            return self.train_examples // batch_size
        return math.ceil(self.train_examples / batch_size)

    def shares(self, batch_size: int) -> Shares:
        """How a batch is divided between the program's devices, and into micro-batches there.

        Raises SweepFileError if it can't be divided exactly, or isn't by what the program is told.
        """
        devices, most = self.devices, self.resources.max_batch_size_per_device
        told = self.told & {PER_DEVICE, ACCUMULATION}
        if batch_size % devices:
            if not told and not self.is_told_all:
                return Shares(batch_size, 1, devices)
            raise self.wrong(
                "resources",
                "gpus",
                f"batch size {batch_size} can't be divided between {devices} of them; leave it out "
                "of batch_sizes, or have another number",
            )
        each = batch_size // devices
        fits = max(n for n in range(1, min(each, most or each) + 1) if each % n == 0)
        if fits < each and (lacking := {PER_DEVICE, ACCUMULATION} - told) and not self.is_told_all:
            raise self.wrong(
                "resources",
                "max_batch_size_per_device",
                f"batch size {batch_size} is {each // fits} micro-batches of {fits} examples on "
                "each device then, which the program isn't told; write "
                f"{listed([f'{{{name}}}' for name in sorted(lacking)])} in the command",
            )
        return Shares(fits, each // fits, devices)


@dataclass(frozen=True)
class Shares:
    """A batch, divided: per_device × accumulation × devices is the batch size.

    per_device   -- examples that a device computes at once
    accumulation -- times that it does, for a step
    """

    per_device: int
    accumulation: int
    devices: int


def variable(name: str) -> str:
    """The environment variable in which a program finds a metaparameter."""
    return "BATCHFRONT_" + "".join(c if c.isalnum() else "_" for c in name).upper()


@dataclass(frozen=True)
class BudgetInEpochs:
    """A step budget that is so many epochs."""

    epochs: int
    train_examples: int
    drop_last: bool = False

    def __call__(self, batch_size: int) -> int:
        """The steps at a batch size."""
        whole, rest = divmod(self.train_examples, batch_size)
        return self.epochs * (whole + (rest > 0 and not self.drop_last))


@dataclass(frozen=True)
class ByBatchSize:
    """Step budgets that are said for each batch size.

    where -- the file, table and key that say them
    """

    steps: Mapping[int, int]
    where: str

    def __call__(self, batch_size: int) -> int:
        """The steps at a batch size. Raises SweepFileError where none is said."""
        if batch_size not in self.steps:
            raise SweepFileError(
                f"{self.where}: has no entry for batch size {batch_size}; it has "
                f"{listed([str(b) for b in self.steps])}"
            )
        return self.steps[batch_size]


@dataclass(frozen=True)
class SpaceByBatchSize:
    """A search space that is another at some batch sizes.

    common -- everywhere
    other  -- what replaces entries of it, by batch size
    """

    common: SearchSpace
    other: Mapping[int, SearchSpace]

    def __call__(self, batch_size: int) -> SearchSpace:
        """The space at a batch size."""
        return {**self.common, **self.other.get(batch_size, {})}
