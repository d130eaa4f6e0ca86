"""How a program tells its evaluations, as a sweep file says it."""

import re
from collections.abc import Mapping
from typing import Any

from batchfront.errors import WorkloadError
from batchfront.phrases import listed, nearest
from batchfront.workload.placeholders import TRIAL_DIR, names_in
from batchfront.workload.program import UNITS, Output
from batchfront.workload.toml_table import Table, shown

_OUTPUT_KEYS = ("value", "loss", *UNITS)


def read_output(table: Table) -> Output:
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
    if file is not None:
        refuse_shared(table, "output_file", file)
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


def refuse_shared(table: Table, key: str, path: str) -> None:
    """Raise SweepFileError for a path that would be the same for every trial."""
    if TRIAL_DIR not in table.checked(key, lambda: names_in([path]), WorkloadError):
        raise table.refuse(
            key,
            "would be the same for every trial; put {trial_dir}, the trial's own folder, in it and "
            "in the command",
        )


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
        hint = "; a group with a name is written (?P<name>...)" if "(?<" in pattern else ""
        raise table.refuse(
            "output", f"{shown(pattern)} is no regular expression: {error.msg}{at}{hint}"
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
