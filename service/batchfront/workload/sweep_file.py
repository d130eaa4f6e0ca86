"""The sweep file: a program, what is searched, and how, in TOML."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from batchfront.errors import SearchSpaceError, UsageError, WorkloadError
from batchfront.options import BATCH_SIZES
from batchfront.phrases import listed, nearest
from batchfront.workload.goal import Goal, ReportedMetric
from batchfront.workload.placeholders import TRIAL_DIR, names_in
from batchfront.workload.program import (
    UNITS,
    BudgetInEpochs,
    ByBatchSize,
    Output,
    Program,
    Resources,
    SpaceByBatchSize,
)
from batchfront.workload.search_space import (
    Choice,
    Dimension,
    Integer,
    Linear,
    Log,
    ReverseLog,
    SearchSpace,
    Value,
)
from batchfront.workload.stopping_rules import StoppingRules
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
    program = _program(path, workload, _search_space(space), _resources(resources))
    return SweepFile(program, search.values)


def _program(
    path: Path, table: Table, space: SearchSpace | SpaceByBatchSize, resources: Resources
) -> Program:
    name = table.text("name", such_as='"dataset/model/optimizer"')
    command = _words(table, "command", table.take("command", wanted='command = "python train.py"'))
    output = _output(table)
    goal = _goal(table)
    batch_sizes = _batch_sizes(table)
    train_examples = table.whole("train_examples", 0, least=1, such_as=50_000)
    epochs = table.whole("epoch_budget", None, least=1, such_as=10)
    steps = _step_budget(table, epochs, train_examples, output.drop_last)
    resume = table.take("resume", None)
    checkpoint = table.text("checkpoint", Program.checkpoint, such_as=f'"{Program.checkpoint}"')
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


_OUTPUT_KEYS = ("value", "loss", *UNITS)


def _output(table: Table) -> Output:
    """How the program tells its evaluations."""
    file = table.text("output_file", None, such_as='"{trial_dir}/metrics.jsonl"')
    such_as = 'a regular expression with (?P<step>...) and (?P<value>...), "json" or "report"'
    said = table.take("output", "json" if file else None)
    tokens = table.whole("tokens_per_example", None, least=1, such_as=1024)
    counts_from = table.whole("counts_from", None, least=0, such_as=1)
    if counts_from not in (None, 0, 1):
        raise table.refuse("counts_from", f"{counts_from}: the first is called 0 or 1")
    common: dict[str, Any] = {
        "file": file,
        "drop_last": table.flag("drop_last"),
        "counts_from": counts_from,
        "tokens_per_example": tokens,
    }
    if said is None:
        instead = table.instead_of("output")
        raise table.refuse("output", f"is missing{instead}; write {such_as}")
    if file is not None and TRIAL_DIR not in table.checked(
        "output_file", lambda: names_in([file]), WorkloadError
    ):
        raise table.refuse(
            "output_file",
            "would be the same file for every trial; put {trial_dir}, the trial's own folder, in "
            "it and in the command",
        )
    if said == "report":
        if file:
            raise table.refuse("output_file", 'nothing is written with output = "report"')
        output = Output("report", **common)
    elif isinstance(said, dict):
        output = _by_keys(Table(table.file, f"{table.name}.output", said), common)
    elif said == "json":
        output = Output("json", **common)
    elif isinstance(said, str):
        output = _by_pattern(table, said, common)
    else:
        raise table.refuse("output", f"{shown(said)} is none; write {such_as}")
    if output.unit == "tokens" and tokens is None:
        raise table.refuse("tokens_per_example", "is missing, and output counts tokens")
    if file is not None and output.kind == "json":
        _refuse_unreadable(table, file)
    return output


def _refuse_unreadable(table: Table, file: str) -> None:
    name = file.rpartition("/")[2]
    ending = "" if "tfevents" in name or "." not in name else name.rpartition(".")[2]
    if ending not in ("", "jsonl", "json", "ndjson", "csv", "tsv"):
        raise table.refuse(
            "output_file",
            f".{ending} is none of .jsonl, .csv, .tsv and a folder of TensorBoard events; lines of "
            "another file are read by a regular expression in output",
        )


def _by_keys(table: Table, common: Mapping[str, Any]) -> Output:
    """Keys of JSON, columns of a CSV, or tags of TensorBoard, as the file names them."""
    value = table.text("value", None, such_as='"eval/loss"')
    loss = table.text("loss", Output.loss, such_as='"train/loss"')
    counts = {unit: table.text(unit, None, such_as=f'"{unit}"') for unit in UNITS}
    table.close()
    named = {unit: key for unit, key in counts.items() if key is not None}
    if len(named) > 1:
        raise table.refuse(
            next(iter(named)), f"says how training is counted, and so does {[*named][1]}; one does"
        )
    for unit, key in named.items():
        return Output("json", value=value, loss=loss, unit=unit, count=key, **common)
    return Output("json", value=value, loss=loss, **common)


def _by_pattern(table: Table, pattern: str, common: Mapping[str, Any]) -> Output:
    """Lines that match a regular expression."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        at = "" if error.pos is None else f", at character {error.pos + 1}"
        raise table.refuse(
            "output", f"{shown(pattern)} is no regular expression: {error.msg}{at}"
        ) from None
    groups = compiled.groupindex
    units = [unit for unit in UNITS if unit in groups]
    for group in groups:
        if group not in _OUTPUT_KEYS:
            raise table.refuse(
                "output",
                f"has a group {group!r}, which means nothing{nearest(group, _OUTPUT_KEYS)}",
            )
    if "value" not in groups:
        raise table.refuse(
            "output",
            f"{shown(pattern)} has no group for the goal metric; write (?P<value>...) around it"
            + ("" if groups else ', or output = "json" or "report"'),
        )
    if len(units) != 1:
        which = f"has {listed(units)}" if units else "has no group for the step"
        raise table.refuse(
            "output",
            f"{shown(pattern)} {which}; write one of (?P<step>...), (?P<examples>...), "
            "(?P<epoch>...) and (?P<tokens>...)",
        )
    if compiled.match("") is not None:
        raise table.refuse("output", f"{shown(pattern)} matches an empty line")
    return Output("pattern", pattern=pattern, unit=units[0], **common)


_KINDS = ("log", "linear", "reverse_log", "integer", "choice")
_RANGES: dict[str, Callable[[float, float], Dimension]] = {
    "log": Log,
    "linear": Linear,
    "reverse_log": ReverseLog,
}


def _search_space(table: Table) -> SearchSpace | SpaceByBatchSize:
    """The dimensions and fixed values; those of one batch size stand in a table of its number."""
    common = {
        name: _entry(table, name, said) for name, said in table.values.items() if not name.isdigit()
    }
    other = {
        int(name): {
            metaparameter: _entry(table, metaparameter, said)
            for metaparameter, said in _overrides(table, name, common).items()
        }
        for name in table.values
        if name.isdigit()
    }
    return SpaceByBatchSize(common, other) if other else common


def _overrides(table: Table, name: str, common: SearchSpace) -> Mapping[str, Any]:
    """What the table of a batch size's number says."""
    said = table.values[name]
    if not isinstance(said, dict) or int(name) < 1:
        raise table.refuse(
            name, f"is no metaparameter; the space of a batch size is a table [search_space.{name}]"
        )
    for metaparameter in said:
        if metaparameter not in common:
            raise table.refuse(
                f"{name}.{metaparameter}",
                f"isn't in [search_space]{nearest(metaparameter, common)}",
            )
    return said


def _entry(table: Table, name: str, said: object) -> Dimension | Value:
    """One metaparameter's dimension, or the value that it always has."""
    if isinstance(said, bool | int | float | str):
        return said
    if isinstance(said, list):
        raise table.refuse(
            name,
            f"{shown(said)} is a list; write {{log = {shown(said)}}} or {{linear = ...}} for a "
            f"range, {{choice = {shown(said)}}} for one of these values",
        )
    if not isinstance(said, dict):
        raise table.refuse(name, f"{shown(said)} is no range, choice or value")
    kinds = [kind for kind in _KINDS if kind in said]
    if "integer" in kinds and isinstance(said.get("log"), bool):
        kinds = ["integer"]  # whose `log` is a flag
    known = {*kinds, "log"} if kinds == ["integer"] else set(kinds)
    strange = [key for key in said if key not in known]
    if strange or len(kinds) != 1:
        raise table.refuse(name, _no_dimension(name, said, kinds, strange))
    made: Dimension = table.checked(
        name, lambda: _dimension(table, name, kinds[0], said), SearchSpaceError
    )
    return made


def _no_dimension(name: str, said: Mapping[str, Any], kinds: Sequence[str], strange: Any) -> str:
    if strange and not kinds and isinstance(said[strange[0]], dict):
        return (
            f"is a table of tables; a name with a dot stands in quotes: "
            f'"{name}.{strange[0]}" = {shown(said[strange[0]])}'
        )
    if strange:
        return f"{strange[0]} is no dimension{nearest(strange[0], _KINDS)}"
    if kinds:
        return f"is {listed(kinds)} at once; write one of them"
    return "is empty; write {log = [1e-4, 1e-1]}, linear, reverse_log, integer or choice"


def _dimension(table: Table, name: str, kind: str, said: Mapping[str, Any]) -> Dimension:
    ends = said[kind]
    if kind == "choice":
        if not isinstance(ends, list) or not all(
            isinstance(value, bool | int | float | str) for value in ends
        ):
            raise table.refuse(name, f'{shown(ends)} is no list of values; write ["relu", "gelu"]')
        return Choice(*ends)
    if not isinstance(ends, list) or len(ends) != 2:
        raise table.refuse(name, f"{kind} = {shown(ends)} is no range; write its two ends, [1, 10]")
    if kind == "integer":
        log = said.get("log", False)
        low, high = (table.as_whole(name, end, -(2**63)) for end in ends)
        _refuse_swapped(table, name, kind, low, high)
        return Integer(low, high, log=log)
    low_, high_ = (table.as_number(name, end) for end in ends)
    _refuse_swapped(table, name, kind, low_, high_)
    return _RANGES[kind](low_, high_)


def _refuse_swapped(table: Table, name: str, kind: str, low: float, high: float) -> None:
    if low > high:
        raise table.refuse(
            name, f"the ends are swapped; write {kind} = [{shown(high)}, {shown(low)}]"
        )
    if low == high:
        raise table.refuse(name, f"both ends are {shown(low)}; a single value is {name} = {low}")


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
