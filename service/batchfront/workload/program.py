"""A workload whose training loop is a program: any command, in any language, run unchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from batchfront.workload.base import WorkloadBase
from batchfront.workload.search_space import SearchSpace

Unit = Literal["step", "examples", "epoch", "tokens"]


@dataclass(frozen=True)
class Output:
    """How a program tells its evaluations.

    kind    -- "pattern": lines that match a regular expression with the groups `value` and a unit
               of `Unit`, and perhaps `loss`; "json": lines that are JSON objects with these keys;
               "report": by `batchfront.report`, called inside the program
    pattern -- of kind "pattern"
    file    -- where it writes them instead of printing them, placeholders not filled in: JSON
               lines, CSV, or a folder of TensorBoard events
    value   -- the key, column or tag that holds the goal metric, where it isn't "value"
    tokens_per_example -- where it counts tokens
    """

    kind: Literal["pattern", "json", "report"]
    pattern: str | None = None
    file: str | None = None
    value: str = "value"
    tokens_per_example: int | None = None


@dataclass(frozen=True)
class Resources:
    """What a program runs with.

    at_once                -- programs that are in memory together on a worker's device
    gpus                   -- GPUs of each program, whose numbers it finds in CUDA_VISIBLE_DEVICES
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
    resume         -- arguments added to the command to go on from {checkpoint}, which it writes
                      when it is sent SIGTERM; empty: it starts again
    resources      -- what it runs with
    code           -- files, as the sweep file names them, whose content its results hang on
    """

    path: Path
    command: Sequence[str]
    output: Output
    train_examples: int = 0
    resume: Sequence[str] = ()
    resources: Resources = field(default_factory=Resources)
    code: Sequence[str] = ()

    def check_space(self, space: SearchSpace) -> None:
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Kind, goal, command, and whatever else of the sweep file its trials' results hang on."""
        raise NotImplementedError
