"""What is meant by an entry of a search space that other libraries write otherwise.

Optuna's distributions are taken as they are, their meaning being the same. Of anything else that
isn't a dimension or a fixed value it is said what to write.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from batchfront.errors import SearchSpaceError
from batchfront.workload.given import needs, needs_listed, shown, takes
from batchfront.workload.search_space import Choice, Dimension, Integer, Linear, Log, SearchSpace

_WRITTEN = 6  # values of a choice that a message writes out

_ANY = "Log(low, high), Linear(low, high), Integer(low, high), Choice(...) or a fixed value"


def as_space(workload: str, given: object) -> dict[str, Any]:
    """A search space as it is meant: of names, dimensions and fixed values.

    Raises SearchSpaceError, with what to write, for what can't be one.
    """
    where = f"{workload}: the search space"
    if not isinstance(given, Mapping):
        raise SearchSpaceError(
            f"{where} is {shown(given)}; write a dict of names to ranges, such as "
            '{"learning_rate": Log(1e-3, 1.0)}'
        )
    try:
        entries = list(given.items())
    except Exception as error:  # of a mapping of the user's own
        raise SearchSpaceError(f"{where} can't be read: {type(error).__name__}: {error}") from error
    for name, _ in entries:
        if not isinstance(name, str) or not name:
            raise SearchSpaceError(
                f"{where} has the name {shown(name)}; names of metaparameters are strings, such as "
                '"learning_rate"'
            )
    return {name: _entry(f"{workload}: search_space[{name!r}]", one) for name, one in entries}


def as_space_or_function(
    workload: str, given: object
) -> dict[str, Any] | Callable[[int], SearchSpace]:
    """The same, or the function from the batch size to one, of which only the parameters are
    looked at."""
    if not callable(given) or isinstance(given, Mapping | type):
        return as_space(workload, given)
    if not takes(given, 1):
        raise SearchSpaceError(
            f"{workload}: search_space is a function of {needs_listed(given)}; "
            'write one of the batch size: lambda batch_size: {"learning_rate": Log(1e-3, 1.0)}'
        )
    return given


def _entry(where: str, entry: Any) -> Any:
    if isinstance(entry, Dimension | bool | int | float | str) or entry is None:
        # Those of NumPy are floats and strings, too, and are kept as JSON has them.
        kept: Any = entry
        return kept.item() if type(entry).__module__ == "numpy" else entry
    optunas = sys.modules.get("optuna.distributions")  # who has one has imported it
    if optunas is not None and isinstance(entry, optunas.BaseDistribution):
        return _of_optuna(where, entry)
    try:
        if getattr(entry, "shape", None) == () and callable(entry.item):  # of NumPy, or torch
            return _entry(where, entry.item())
        wanted = _what_to_write(entry)
    except Exception:  # whatever an object raises that is looked at
        wanted = _ANY
    raise SearchSpaceError(f"{where} is {shown(entry)}; write {wanted}")


def _of_optuna(where: str, entry: Any) -> Any:
    if hasattr(entry, "choices"):
        return Choice(*entry.choices) if len(entry.choices) > 1 else entry.choices[0]
    low, high, step = entry.low, entry.high, entry.step
    if low == high:
        return low
    if isinstance(low, int) and step == 1:
        return Integer(low, high, entry.log)
    if step is None:
        return (Log if entry.log else Linear)(low, high)
    count = int((high - low) / step + 0.5) + 1
    values = [low + place * step for place in range(min(count, 2 * _WRITTEN))]
    written = _choice(values, count)
    kind = "Integer" if isinstance(low, int) else "Linear"
    raise SearchSpaceError(
        f"{where} has steps of {step:g}, which a range here has not; write {written} for just "
        f"these, or {kind}({low:g}, {high:g}) for all between"
    )


def _choice(values: list[Any], count: int | None = None) -> str:
    """A choice of these as it is written, if they aren't too many."""
    if (count or len(values)) > 2 * _WRITTEN:
        return "Choice(*values)"
    return f"Choice({', '.join(_written(value) for value in values)})"


def _written(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _what_to_write(entry: Any) -> str:
    """For an entry that means something elsewhere."""
    if isinstance(entry, Mapping):
        return _of_fields({str(key).lower(): value for key, value in entry.items()})
    if isinstance(entry, range):
        end = entry[-1] if entry else entry.start
        return f"Integer({entry.start}, {end})" if entry.step == 1 else "Choice(*values)"
    if isinstance(entry, type):
        made = issubclass(entry, Dimension)
        return f"{entry.__name__}({'...' if entry is Choice else 'low, high'})" if made else _ANY
    if callable(entry) and not hasattr(entry, "dist") and needs(entry) is not None:
        return (
            f"{_ANY}; where it shifts with the batch size, the whole search_space is the function: "
            "lambda batch_size: {...}"
        )
    if hasattr(entry, "tolist"):
        entry = entry.tolist()
    if isinstance(entry, set | frozenset):
        return _choice(sorted(entry, key=repr))
    if isinstance(entry, list | tuple):
        return _of_several(list(entry))
    return _of_ends(entry)


def _of_several(values: list[Any]) -> str:
    if not values:
        return _ANY
    if len(values) == 1:
        return f"{_written(values[0])}, which is a fixed value"
    if len(values) == 3 and isinstance(values[2], str) and all(map(_is_number, values[:2])):
        kind = "Log" if "log" in values[2].lower() else "Linear"
        return f"{kind}({_written(values[0])}, {_written(values[1])})"
    if len(values) == 2 and all(map(_is_number, values)) and values[0] != values[1]:
        return _range(min(values), max(values), just=_choice(values))
    if all(isinstance(value, str | bool | int | float) for value in values):
        return f"{_choice(list(dict.fromkeys(values)))} for just these values"
    return _ANY


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _range(low: Any, high: Any, scale: str = "", just: str = "") -> str:
    """The ranges that these two numbers may be the ends of, each with what it means."""
    kind = "Integer" if isinstance(low, int) and isinstance(high, int) else "Linear"
    ends = f"{_written(low)}, {_written(high)}"
    even = f"{kind}({ends})"
    log = f"Log({ends})" if kind == "Linear" else f"Integer({ends}, log=True)"
    if scale or low <= 0:
        ways = [log if scale == "log" and low > 0 else even]
    else:
        ways = [f"{log} for a logarithmic scale", f"{even} for an even one"]
    return ", ".join([*ways, *([f"{just} for just these two"] if just else [])])


def _of_fields(fields: Mapping[str, Any]) -> str:
    """A dict as Weights & Biases, Ax and others have them."""
    for key in ("values", "choices", "categories"):
        if isinstance(fields.get(key), list | tuple):
            return _choice(list(fields[key]))
    if "value" in fields:
        return f"{_written(fields['value'])}, which is a fixed value"
    low, high = (next((fields[k] for k in keys if k in fields), None) for keys in _ENDS)
    scale = " ".join(str(fields.get(k, "")) for k in ("distribution", "type", "scale", "prior"))
    if not (_is_number(low) and _is_number(high)):
        return _ANY
    known = fields.get("log") or fields.get("log_scale") or "log" in scale.lower()
    even = fields.get("log") is False or "uniform" in scale.lower()
    return _range(low, high, "log" if known else "even" if even else "")


_ENDS = (("low", "min", "lower", "a"), ("high", "max", "upper", "b"))


def _of_ends(entry: Any) -> str:
    """An object that has two ends: of SciPy, Ray Tune, ConfigSpace and the like."""
    if hasattr(entry, "dist") and hasattr(entry, "support"):  # SciPy's
        low, high = (end.item() if hasattr(end, "item") else end for end in entry.support())
        name = entry.dist.name
        return _range(low, high, "log" if name in ("loguniform", "reciprocal") else "even")
    low, high = (
        next((getattr(entry, k) for k in keys if hasattr(entry, k)), None) for keys in _ENDS
    )
    if not (_is_number(low) and _is_number(high)):
        return _ANY
    scale = f"{type(getattr(entry, 'sampler', None)).__name__} {type(entry).__name__}".lower()
    known = "log" in scale or getattr(entry, "log", False) is True
    return _range(low, high, "log" if known else "")
