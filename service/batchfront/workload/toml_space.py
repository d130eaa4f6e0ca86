"""A search space, as a sweep file says it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from batchfront.errors import SearchSpaceError
from batchfront.phrases import listed, nearest
from batchfront.workload.program import SpaceByBatchSize
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
from batchfront.workload.toml_table import Table, shown

_KINDS = ("log", "linear", "reverse_log", "integer", "choice")
_RANGES: dict[str, Callable[[float, float], Dimension]] = {
    "log": Log,
    "linear": Linear,
    "reverse_log": ReverseLog,
}


def read_search_space(table: Table) -> SearchSpace | SpaceByBatchSize:
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
    if len(ends := [said[key] for key in ("min", "low", "max", "high") if key in said]) == 2:
        return f"a range is written {{log = {shown(ends)}}}, or {{linear = {shown(ends)}}}"
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
