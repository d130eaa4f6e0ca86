"""The search spaces and metaparameters of the public archive, in batchfront's terms."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchfront.errors import DataError, SearchSpaceError
from batchfront.exchange.batch_science.json_numbers import plain, whole_number
from batchfront.store.optuna_tables import LONGEST_KEY
from batchfront.study.flaws import is_value
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

_Scale = type[Linear] | type[Log] | type[ReverseLog]

_SCALES: Mapping[str, _Scale] = {
    "": Linear,
    "LINEAR_SCALE": Linear,
    "LOG_SCALE": Log,
    "REVERSE_LOG_SCALE": ReverseLog,
}


def read_space(configs: Mapping[str, Any], file: Path) -> SearchSpace:
    """The search space of a study.json's `parameter_configs`."""
    space = {}
    for name, config in configs.items():
        try:
            if len(name) > LONGEST_KEY:
                raise ValueError(f"must have a name of {LONGEST_KEY} characters at most")
            space[name] = _dimension(config)
        except (KeyError, OverflowError, TypeError, ValueError, SearchSpaceError) as error:
            said = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(f"{file}: parameter_configs.{name} {said}") from None
    return space


def _dimension(config: Any) -> Dimension | Value:
    if not isinstance(config, dict):
        raise ValueError("must be an object")
    if config["type"] in ("DISCRETE", "CATEGORICAL"):
        values = config["feasible_points"]
        if not isinstance(values, list) or not values:
            raise ValueError("must have a list of feasible_points")
        if not all(is_value(value) for value in values):
            raise ValueError("must have feasible_points that are finite numbers, or texts")
        fixed: Value = values[0]
        return Choice(*values) if len(values) > 1 else fixed
    low, high = plain(config["min_value"]), plain(config["max_value"])
    scale = config.get("scale") or ""
    if scale not in _SCALES:
        raise ValueError(
            f"has scale {scale!r}, which is none of {', '.join(filter(None, _SCALES))}"
        )
    if config["type"] not in ("INTEGER", "DOUBLE"):
        raise ValueError(f"has type {config['type']!r}, which is unknown")
    if config["type"] == "INTEGER":
        low, high = whole_number(low), whole_number(high)
        if low is None or high is None:
            raise ValueError("has type 'INTEGER', and ends that are no whole numbers")
    if low == high:
        lone: Value = low
        return lone
    if config["type"] == "INTEGER":
        return Integer(low, high, log=scale == "LOG_SCALE")
    return _SCALES[scale](float(low), float(high))


def read_params(space: SearchSpace, parameters: Mapping[str, Any], file: Path) -> dict[str, Value]:
    """The metaparameters of a metadata.json's `parameters`: all that the space has, whatever was
    fixed, and of further ones those that are a number or a text."""
    params: dict[str, Value] = {}
    for name, value in parameters.items():
        if is_value(value) and value is not None:
            params[name] = _value(space.get(name), name, value, file)
        elif name in space:
            raise DataError(f"{file}: parameters.{name} must be a finite number or a text")
    for name, entry in space.items():
        if name not in params:
            if isinstance(entry, Dimension):
                raise DataError(f"{file}: parameters.{name} is missing")
            params[name] = entry
    return params


def _value(entry: Dimension | Value | None, name: str, value: Value, file: Path) -> Value:
    """A value as a dimension of the space has it, or as it stands where there is none."""
    if isinstance(entry, Choice):
        return _chosen(entry, name, value, file)
    if not isinstance(entry, Dimension):
        return value
    number = whole_number(value) if isinstance(entry, Integer) else plain(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise DataError(f"{file}: parameters.{name} is {value!r}, which is no value of {entry}")
    return number


def _chosen(choice: Choice, name: str, value: Value, file: Path) -> Value:
    """The choice that a value stands for, however its last digits were written."""
    for one in choice.values:
        if one == value or plain(one) == plain(value) or _close(plain(one), plain(value)):
            return one
    raise DataError(f"{file}: parameters.{name} is {value!r}, which is no value of {choice}")


def _close(one: Value, other: Value) -> bool:
    return (
        isinstance(one, float | int)
        and isinstance(other, float | int)
        and math.isclose(one, other, rel_tol=1e-6)
    )
