"""Options as data: all that is to be said of an option stands with the field that holds its value.

Command line flags and their help, environment variables, checks, a study's identity and the
arguments of workers are made from such fields. A new option is one field.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from batchfront.errors import UsageError

Must = tuple[Callable[[Any], bool], str]
"""What a value has to satisfy, and how that is said: "must be at least 1"."""


@dataclass(frozen=True)
class Kind:
    """A kind of value that is written in a way of its own.

    name  -- in the help: SIZES
    parse -- reads a text; raises ValueError, which says what would be right
    text  -- writes a value, as `parse` reads it
    """

    name: str
    parse: Callable[[str], Any]
    text: Callable[[Any], str] = str


@dataclass(frozen=True)
class Option:
    """What is said of an option beside its name, which is its field's.

    kind       -- bool (a flag), int, float, str, or how its values are written
    help       -- whole sentences, as the help and the reference print them
    choices    -- the only values there are
    must       -- what a value has to satisfy, and how that is said
    fallback   -- the value of an option that is None, where nothing else gives one
    otherwise  -- the default in words, where it is no plain value
    defines    -- whether it is part of a study's definition: see `batchfront.plan.options`
    flags      -- of the command line, where the name alone doesn't give them
    metavar    -- what the help calls its value
    superseded -- what says the same today, of an option of earlier versions; it is taken, not shown
    repeated   -- whether it may be said more than once, each time with another value of a tuple
    """

    kind: type | Kind
    help: str
    choices: tuple[str, ...] = ()
    must: Must | None = None
    fallback: Any = None
    otherwise: str = ""
    defines: bool = False
    flags: str = ""
    metavar: str | None = None
    superseded: str = ""
    repeated: bool = False

    def text(self, value: Any) -> str:
        """A value as it is written on a command line."""
        return self.kind.text(value) if isinstance(self.kind, Kind) else str(value)


def option(kind: type | Kind, help: str, *, default: Any = None, **said: Any) -> Any:  # noqa: A002
    """A field of a frozen dataclass that is an option; `said` is the rest of an `Option`."""
    return field(default=default, metadata={"option": Option(kind, help, **said)})


def options_of(options: Any) -> dict[str, Option]:
    """The options that a dataclass, or an instance of it, has, by name."""
    return {f.name: f.metadata["option"] for f in fields(options) if "option" in f.metadata}


def flag(name: str) -> str:
    """An option's flag: --batch-sizes."""
    return f"--{name.replace('_', '-')}"


def check(options: Any) -> None:
    """Raise UsageError that names each value that its option doesn't allow. None is left open."""
    problems = []
    for name, said in options_of(options).items():
        value = getattr(options, name)
        if value is None:
            continue
        if said.choices and value not in said.choices:
            problems.append(f"{flag(name)} {value!r}: must be one of {', '.join(said.choices)}")
        elif said.must is not None and not said.must[0](value):
            problems.append(f"{flag(name)} {said.text(value)}: {said.must[1]}")
    if problems:
        raise UsageError("; ".join(problems))


def arguments(options: Any) -> list[str]:
    """The command line that says all of these options, the defaults too: where it is read, the
    environment may say otherwise."""
    told: list[str] = []
    for name, said in options_of(options).items():
        value = getattr(options, name)
        if said.kind is bool:
            on, _, off = (said.flags or flag(name)).partition("/")
            told += [on] if value else [off] if off else []
        elif said.repeated:
            told += [word for one in value for word in (flag(name), said.text(one))]
        elif value is not None:
            told += [flag(name), said.text(value)]
    return told


def at_least(least: int) -> Must:
    """A number that is no smaller."""
    return lambda value: value >= least, f"must be at least {least}"


SOME_TIME: Must = (lambda seconds: seconds > 0, "must be longer than 0; write 90s, 30m, 12h or 1d")
"""A duration that isn't over before anything has begun."""


def _batch_sizes(text: str) -> tuple[int, ...]:
    """`2,8,32`, or `2..1024` for the powers of two between, or both."""
    sizes: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"(-?\d+)(?:\.\.(\d+))?", part.strip())
        if not found:
            raise ValueError(f"{part.strip()!r} is not a batch size; write 2,8,32 or 2..1024")
        low, high = int(found[1]), int(found[2] or found[1])
        if low < 1:
            raise ValueError(f"{low} is not a batch size; the smallest is 1")
        powers = {1 << n for n in range(high.bit_length()) if 1 << n >= low}
        if found[2] and not powers:
            raise ValueError(f"{part.strip()} holds no power of two; write 2..1024, low end first")
        sizes |= powers if found[2] else {low}
    return tuple(sorted(sizes))


_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1, "": 1}


def _seconds(text: str) -> float:
    """Seconds, written 90, 90s, 30m, 12h or 1d."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a duration; write 90s, 30m, 12h or 1d")
    return float(found[1]) * _SECONDS[found[2]]


def _duration(seconds: float) -> str:
    whole = (unit for unit, size in _SECONDS.items() if seconds >= size and seconds % size == 0)
    unit = next(whole, "s")
    return f"{seconds / _SECONDS[unit]:.15g}{unit}"


BATCH_SIZES = Kind("SIZES", _batch_sizes, lambda sizes: ",".join(map(str, sizes)))

DURATION = Kind("DURATION", _seconds, _duration)
