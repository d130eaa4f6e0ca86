"""What a user has given, whatever it is: as a number, as a function, and in a message.

Whatever an object raises when it is looked at, these don't.
"""

import inspect
import math
import operator
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from batchfront.errors import WorkloadError

_LONGEST = 40  # characters of a value in a message

_PLAIN = (bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset, range)

_TOO_MANY = 50  # entries of what isn't written out

MOST = 2**31 - 1
"""The largest number that a column of the database holds on every server."""


def shown(value: object) -> str:
    """What it is, in a few words for a message: `'10 epochs' (str)`, `a DataLoader`, `the class
    AdamW`, `the function f1_score`."""
    kind = type(value)
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if inspect.isroutine(value):
        return f"the function {_name(value)}"
    if inspect.ismodule(value):
        return f"the module {value.__name__}"
    plain = kind in _PLAIN and not (hasattr(value, "__len__") and len(value) > _TOO_MANY)
    if plain or (isinstance(value, str) and len(value) <= _TOO_MANY) or _is_number(value):
        try:
            text = " ".join(repr(value).split())
        except Exception:  # of what it holds
            return _a(kind.__name__)
        return f"{text[:_LONGEST]}{'…' * (len(text) > _LONGEST)} ({kind.__name__})"
    return _a(kind.__name__)


def _a(name: str) -> str:
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"


def attribute(value: object, name: str) -> Any:
    """An attribute of whatever object, None where it hasn't one or can't say."""
    try:
        return getattr(value, name, None)
    except Exception:  # whatever an object raises that is looked at
        return None


def _name(function: object) -> str:
    return str(attribute(function, "__name__") or type(function).__name__)


def name_of(function: object, otherwise: str) -> str:
    """A function's name, or another where it has none that can be written."""
    name = _name(function)
    return name if name.isidentifier() else otherwise


def written(function: Callable[..., object]) -> str:
    """A function's name, or a partial as it is written: "partial(AdamW, betas=(0.9, 0.95))"."""
    if not isinstance(function, partial):
        return getattr(function, "__qualname__", type(function).__name__)
    args = [getattr(a, "__qualname__", repr(a)) for a in (function.func, *function.args)]
    named = [f"{k}={getattr(v, '__qualname__', repr(v))}" for k, v in function.keywords.items()]
    return f"partial({', '.join([*args, *named])})"


def class_within(factory: object, base: tuple[str, str]) -> type | None:
    """The class that a factory is, or is a partial of, if it descends from the one of this module
    and name; without importing that."""
    while isinstance(factory, partial):
        factory = factory.func
    if not isinstance(factory, type):
        return None
    return factory if base in [(k.__module__, k.__name__) for k in factory.__mro__[1:]] else None


def _is_number(value: object) -> bool:
    return type(value).__module__ == "numpy" and attribute(value, "shape") == ()


def whole(what: str, value: Any, least: int | None = None) -> int:
    """A whole number of whatever kind, also 10000.0, as an int.

    Raises WorkloadError, which begins with `what`, for anything else, and below `least`.
    """
    wanted = "a whole number" if least is None else f"a whole number of at least {least}"
    try:
        found = None if isinstance(value, bool) else operator.index(value)
    except Exception:  # whatever an object that is none raises
        as_number = _as_number(value)
        is_whole = as_number is not None and math.isfinite(as_number) and not as_number % 1
        found = int(as_number) if is_whole and as_number is not None else None
    if found is None or (least is not None and found < least):
        raise WorkloadError(f"{what} is {shown(value)}, not {wanted}{_without_quotes(value)}")
    return found


def number(what: str, value: Any, *, infinite: bool = False) -> float:
    """A number of whatever kind as an int or a float; infinite ones only where that is said.

    Raises WorkloadError, which begins with `what`, for anything else.
    """
    found = value if type(value) is float else _as_number(value)
    if found is not None and (math.isfinite(found) or (infinite and not math.isnan(found))):
        return value if type(value) is int else found
    kind = "a number" if found is None else "a finite number"
    raise WorkloadError(f"{what} is {shown(value)}, not {kind}{_without_quotes(value)}")


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool | str | bytes | bytearray):
        return None
    try:
        return float(value.detach() if hasattr(value, "detach") else value)
    except OverflowError:  # a whole number that no float holds
        return math.nan
    except Exception:  # whatever an object that is no number raises
        return None


def _without_quotes(value: object) -> str:
    if not isinstance(value, str):
        return ""
    try:
        float(value)
    except ValueError:
        return ""
    return f": write {value.strip()}, without quotes"


def needs(function: Callable[..., Any]) -> list[str] | None:
    """The names of the parameters that a function must be given by position; None: not known."""
    parameters = _by_position(function)
    if parameters is None:
        return None
    named = (p for p in parameters if p.kind is not p.VAR_POSITIONAL)
    return [p.name for p in named if p.default is p.empty]


def needs_listed(function: Callable[..., Any]) -> str:
    """The same in a message: "outputs, targets", or "nothing"."""
    return ", ".join(needs(function) or ()) or "nothing"


def takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with so many arguments by position, as far as known."""
    parameters = _by_position(function)
    if parameters is None:
        return True
    named = [p for p in parameters if p.kind is not p.VAR_POSITIONAL]
    required = sum(p.default is p.empty for p in named)
    return required <= count and (count <= len(named) or len(named) < len(parameters))


def _by_position(function: Any) -> list[inspect.Parameter] | None:
    asked: Any = function.forward if is_torchs(function, "nn.Module") else function
    try:
        # Of a decorated function, what it is called with, and not what the one within takes.
        parameters = inspect.signature(asked, follow_wrapped=False).parameters.values()
    except Exception:  # builtins have none, and other objects raise what they like
        return None
    others = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    return [p for p in parameters if p.kind not in others]


def is_torchs(value: object, kind: str) -> bool:
    """Whether it is an instance of a class of torch's, such as "nn.Module". Who has one has
    imported torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, operator.attrgetter(kind)(torch))


def take_numbers(owner: Any, *names: str, infinite: bool = False) -> None:
    """Keep these fields of a frozen dataclass as Python's own numbers.

    Raises WorkloadError for one that is none.
    """
    for name in names:
        what = f"{type(owner).__name__}: {name}"
        found = number(what, getattr(owner, name), infinite=infinite)
        object.__setattr__(owner, name, found)


def refuse_no_bool(what: str, value: object) -> None:
    """Raise WorkloadError, which begins with `what`, for anything else than True and False."""
    if not isinstance(value, bool):
        raise WorkloadError(f"{what} is {shown(value)}; write True or False")
