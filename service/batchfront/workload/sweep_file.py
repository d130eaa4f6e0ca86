"""The sweep file: a program, what is searched, and how, in TOML."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from batchfront.errors import UsageError, WorkloadError
from batchfront.options import BATCH_SIZES
from batchfront.workload.goal import Goal, ReportedMetric
from batchfront.workload.program import (
    BudgetInEpochs,
    ByBatchSize,
    Program,
    Resources,
    SpaceByBatchSize,
)
from batchfront.workload.search_space import (
    SearchSpace,
)
from batchfront.workload.stopping_rules import StoppingRules
from batchfront.workload.toml_output import read_output, refuse_shared
from batchfront.workload.toml_space import read_search_space
from batchfront.workload.toml_table import Table, read_toml, shown

_ELSEWHERE = {
    **dict.fromkeys(Resources.__dataclass_fields__, "resources"),
    **dict.fromkeys(
        ("name", "command", "output", "metric", "goal", "batch_sizes", "train_examples", "code"),
        "workload",
    ),
    **dict.fromkeys(("trials", "sampler", "seed", "together", "finishers", "workers"), "search"),
}
"""The table that a key belongs in, where it may be taken to be another's."""


@dataclass(frozen=True)
class SweepFile:
    """What a sweep file says.

    search -- options of `batchfront run`, by name, as TOML has them: they are checked where the
              options are known, in `batchfront.cli.sweep`
    """

    program: Program
    search: Mapping[str, Any]


def read_sweep_file(path: Path) -> SweepFile:
    """Read a sweep file.

    Raises SweepFileError, which names file, table and key, for what is wrong in it, or if there is
    none.
    """
    top = read_toml(path)
    workload = top.table("workload", required=True, such_as="a table [workload]")
    space = top.table("search_space", such_as="a table [search_space]")
    search = top.table("search", such_as="a table [search]")
    resources = top.table("resources", such_as="a table [resources]")
    top.close()
    program = _program(path, workload, read_search_space(space), _resources(resources))
    return SweepFile(program, search.values)


def _program(
    path: Path, table: Table, space: SearchSpace | SpaceByBatchSize, resources: Resources
) -> Program:
    name = table.text("name", such_as='"dataset/model/optimizer"')
    command = _words(table, "command", table.take("command", wanted='command = "python train.py"'))
    output = read_output(table)
    goal = _goal(table)
    batch_sizes = _batch_sizes(table)
    train_examples = table.whole("train_examples", 0, least=1, such_as=50_000)
    epochs = table.whole("epoch_budget", None, least=1, such_as=10)
    steps = _step_budget(table, epochs, train_examples, output.drop_last)
    resume = table.take("resume", None)
    checkpoint = table.text("checkpoint", Program.checkpoint, such_as=f'"{Program.checkpoint}"')
    refuse_shared(table, "checkpoint", checkpoint)
    beyond = table.number("diverged_beyond", None, such_as="10")
    said: dict[str, Any] = {
        "resume": () if resume is None else _words(table, "resume", resume),
        "code": _texts(table, "code", such_as='["train.py"]'),
        "description": table.text("description", "", such_as='"one line"'),
        "stopping": StoppingRules(diverged_beyond=beyond),
    }
    table.close(_ELSEWHERE)
    make = partial(
        Program,
        name=name,
        path=path,
        command=command,
        output=output,
        goal=goal,
        search_space=space,
        batch_sizes=batch_sizes,
        step_budget=steps,
        epochs=epochs,
        train_examples=train_examples,
        checkpoint=checkpoint,
        resources=resources,
        **said,
    )
    program: Program = table.checked("name", make, WorkloadError)
    for batch_size in batch_sizes:
        program.space(batch_size)
        program.steps_allowed(batch_size)
    return program


def _goal(table: Table) -> Goal:
    metric = table.text("metric", such_as='"validation loss"')
    better = table.take("better", wanted='better = "lower", or "higher"')
    value = table.number("goal", such_as="0.5")
    if better not in ("lower", "higher"):
        raise table.refuse("better", f'{shown(better)} is neither "lower" nor "higher"')
    found: Goal = table.checked(
        "goal", lambda: Goal(ReportedMetric(metric, better), value), UsageError
    )
    return found


def _batch_sizes(table: Table) -> tuple[int, ...]:
    said = table.take("batch_sizes", wanted='batch_sizes = [8, 32, 128], or "2..1024"')
    if isinstance(said, str):
        parsed: tuple[int, ...] = table.checked(
            "batch_sizes", lambda: BATCH_SIZES.parse(said), ValueError
        )
        return parsed
    if not isinstance(said, list) or not said:
        raise table.refuse(
            "batch_sizes", f'{shown(said)} is no list of them; write [8, 32, 128], or "2..1024"'
        )
    return tuple(sorted({table.as_whole("batch_sizes", b, 1) for b in said}))


def _step_budget(table: Table, epochs: int | None, examples: int, drop_last: bool) -> Any:
    """The steps that a trial may take, or how they follow from the batch size."""
    said = table.take("step_budget", None)
    if epochs is not None:
        if said is not None:
            raise table.refuse("epoch_budget", "step_budget says it already; leave one of them out")
        if not examples:
            raise table.refuse("epoch_budget", "needs train_examples, the examples of an epoch")
        return BudgetInEpochs(epochs, examples, drop_last)
    if said is None:
        raise table.refuse(
            "step_budget",
            f"is missing{table.instead_of('step_budget')}; write the steps after which a trial is "
            "given up, step_budget = 5000, or epoch_budget = 10 with train_examples",
        )
    if not isinstance(said, dict):
        return table.as_whole("step_budget", said, 1)
    if not said:
        raise table.refuse("step_budget", "is empty; write {8 = 20000, 32 = 5000}")
    steps = {}
    for key, value in said.items():
        if not key.isdigit() or int(key) < 1:
            raise table.refuse("step_budget", f"{key!r} is no batch size; write {{8 = 20000}}")
        steps[int(key)] = table.as_whole(f"step_budget.{key}", value, 1)
    return ByBatchSize(steps, table.at("step_budget"))


_SHELL = {"|", "||", "&&", "&", ";", ">", ">>", "<", "2>&1", "2>", "&>"}


def _words(table: Table, key: str, said: object) -> tuple[str, ...]:
    """A command's words: as a list has them, or as a shell would split them."""
    if isinstance(said, list):
        if not said or not all(isinstance(word, str) for word in said):
            raise table.refuse(key, f"{shown(said)} is no list of texts")
        return tuple(said)
    if not isinstance(said, str):
        raise table.refuse(key, f"{shown(said)} is no text, nor a list of them")
    text = said.replace("\\\n", " ")
    words: list[str] = table.checked(key, lambda: shlex.split(text), ValueError)
    if not words:
        raise table.refuse(key, "is empty")
    for word in words:
        _refuse_shell(table, key, word, first=word is words[0] and key == "command")
    return tuple(words)


def _refuse_shell(table: Table, key: str, word: str, *, first: bool) -> None:
    """Raise SweepFileError for what only a shell would understand."""
    if word in _SHELL or word.endswith(";"):
        raise table.refuse(
            key,
            f"{word!r} is for a shell, and none runs this; a shell's command is written "
            f'{key} = ["sh", "-c", "..."], and the folder to run in is cwd in [resources]',
        )
    if found := re.search(r"\$\{?\w+\}?", word):
        raise table.refuse(
            key,
            f"{found[0]} is for a shell, and none runs this; a placeholder is written "
            "{learning_rate}, and a literal $ can stand in a command that is a list",
        )
    if first and re.fullmatch(r"[A-Za-z_]\w*=.*", word):
        name, _, value = word.partition("=")
        raise table.refuse(
            key,
            f"{word} is for a shell, and none runs this; write it in [resources]: "
            f'env = {{{name} = "{value}"}}',
        )
    if word.startswith("~"):
        raise table.refuse(key, f"{word}: a ~ is for a shell, and none runs this; write the path")


def _resources(table: Table) -> Resources:
    grace = table.seconds("grace", Resources.grace)
    pause = table.seconds("max_pause", Resources.max_pause)
    timeout = table.seconds("timeout_without_output", None)
    assert grace is not None
    assert pause is not None
    if timeout == 0:
        raise table.refuse("timeout_without_output", "0 would end every program; leave it out")
    made = Resources(
        at_once=table.whole("at_once", Resources.at_once, least=1, such_as=2),
        gpus=table.whole("gpus", Resources.gpus, least=0, such_as=1),
        max_batch_size_per_device=table.whole(
            "max_batch_size_per_device", None, least=1, such_as=64
        ),
        env=_environment(table),
        cwd=Path(table.text("cwd", ".", such_as='"project"')),
        tty=table.flag("tty"),
        timeout_without_output=timeout,
        max_pause=pause,
        grace=grace,
    )
    table.close(_ELSEWHERE)
    return made


def _environment(table: Table) -> dict[str, str]:
    """Environment variables; numbers and flags are written as placeholders are."""
    given = table.table("env", such_as='env = {OMP_NUM_THREADS = "1"}').values
    found = {}
    for name, value in given.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise table.refuse("env", f"{name!r} is no name of an environment variable")
        if name.startswith("BATCHFRONT_"):
            raise table.refuse("env", f"{name}: such variables are batchfront's own")
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise table.refuse("env", f'{name} = {shown(value)} is no text; write "..."')
        found[name] = str(value)
    return found


def _texts(table: Table, key: str, *, such_as: str) -> tuple[str, ...]:
    said = table.items(key, such_as=such_as)
    if not all(isinstance(text, str) and text for text in said):
        raise table.refuse(key, f"{shown(said)} is no list of texts; write {key} = {such_as}")
    return tuple(said)
