"""Tables of a TOML file whose values are checked as they are taken, and whose rest is refused."""

import math
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from batchfront.errors import SweepFileError
from batchfront.options import DURATION
from batchfront.phrases import listed, nearest

REQUIRED: Final[Any] = object()
"""Instead of a default: the key has to be there."""


class Table:
    """One table of a file.

    Every key that is known is taken once, by the method for its type; `close` then refuses the
    others. All raise SweepFileError, which names file, table and key, for a value of another type,
    or one that is missing.
    """

    def __init__(self, file: str, name: str, values: Mapping[str, Any]) -> None:
        self.file, self.name, self.values = file, name, values
        self._known: list[str] = []

    def refuse(self, key: str, wrong: str) -> SweepFileError:
        """The error of a key, in one line."""
        return SweepFileError(f"{self.at(key)}: {wrong}")

    def at(self, key: str) -> str:
        """Where a key stands: file, table and key."""
        return f"{self.file}, [{self.name}] {key}" if self.name else f"{self.file}, [{key}]"

    def take(self, key: str, default: Any = REQUIRED, wanted: str = "") -> Any:
        """The value of a key, whatever it is."""
        self._known.append(key)
        if key in self.values:
            return self.values[key]
        if default is REQUIRED:
            raise self.refuse(key, f"is missing{self.instead_of(key)}; write {wanted}")
        return default

    def instead_of(self, key: str) -> str:
        """What stands there of which a missing key may be meant, for a message."""
        near = [k for k in self.values if nearest(key, [k]).startswith("; did")]
        return f" ({near[0]} isn't known)" if near else ""

    def text(self, key: str, default: Any = REQUIRED, *, such_as: str) -> Any:
        """A text that isn't empty."""
        value = self.take(key, default, f"{key} = {such_as}")
        if value is default:
            return value
        if not isinstance(value, str) or not value.strip():
            raise self.refuse(key, f"{shown(value)} is no text; write {key} = {such_as}")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self.refuse(key, f"{shown(value)} is neither true nor false")
        return value

    def whole(self, key: str, default: Any = REQUIRED, *, least: int, such_as: int) -> Any:
        """A whole number, no smaller than `least`."""
        value = self.take(key, default, f"{key} = {such_as}")
        return value if value is default else self.as_whole(key, value, least, such_as)

    def as_whole(self, key: str, value: object, least: int, such_as: int | None = None) -> int:
        """A value as a whole number; 5e4 is one too."""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            instead = "" if such_as is None else f"; write {key} = {such_as}"
            raise self.refuse(key, f"{shown(value)} is no whole number{instead}")
        if value < least:
            raise self.refuse(key, f"{value} is too small; the least is {least}")
        return value

    def number(self, key: str, default: Any = REQUIRED, *, such_as: str) -> Any:
        """A finite number."""
        value = self.take(key, default, f"{key} = {such_as}")
        return value if value is default else self.as_number(key, value)

    def as_number(self, key: str, value: object) -> float:
        """A value as a finite number."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            hint = "; without quotes" if isinstance(value, str) and _is_number(value) else ""
            raise self.refuse(key, f"{shown(value)} is no number{hint}")
        if not math.isfinite(value):
            raise self.refuse(key, f"{value} is no finite number")
        return float(value)

    def seconds(self, key: str, default: float | None) -> float | None:
        """A duration: a number of seconds, or a text such as "90s" or "10m"."""
        value = self.take(key, default)
        if value is default:
            return value
        if isinstance(value, str):
            try:
                return float(DURATION.parse(value))
            except ValueError as error:
                raise self.refuse(key, str(error)) from None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(key, f'{shown(value)} is no duration; write "90s" or "10m"')
        if value < 0 or not math.isfinite(value):
            raise self.refuse(key, f"{value} is no duration; seconds are 0 or more")
        return float(value)

    def items(self, key: str, *, such_as: str) -> list[Any]:
        """A list; empty if there is none."""
        value = self.take(key, [])
        if not isinstance(value, list):
            raise self.refuse(key, f"{shown(value)} is no list; write {key} = {such_as}")
        return value

    def table(self, key: str, *, required: bool = False, such_as: str = "") -> "Table":
        """A table in this one; empty if there is none."""
        value = self.take(key, REQUIRED if required else {}, such_as)
        if not isinstance(value, dict):
            raise self.refuse(key, f"{shown(value)} is no table; write {such_as}")
        return Table(self.file, f"{self.name}.{key}" if self.name else key, value)

    def checked(self, key: str, make: Callable[[], Any], wrong: type[Exception]) -> Any:
        """What `make` makes of a key's value; its error becomes one of this key."""
        try:
            return make()
        except wrong as error:
            raise self.refuse(key, str(error)) from error

    def close(self, elsewhere: Mapping[str, str] = {}) -> None:
        """Refuse the keys that weren't taken, with what was perhaps meant.

        elsewhere -- keys of other tables, by key: a key that stands in the wrong one
        """
        strange = [key for key in self.values if key not in self._known]
        if not strange:
            return
        first = strange[0]
        what = "key" if self.name else "table"
        if first in elsewhere and elsewhere[first] != self.name:
            hint = f"; it belongs in [{elsewhere[first]}]"
        else:
            hint = nearest(first, self._known)
        more = f" (nor is {listed(strange[1:])})" if len(strange) > 1 else ""
        raise self.refuse(first, f"is no {what} that is known{more}{hint}")


def read_toml(path: Path) -> Table:
    """A TOML file, as the table that holds its tables.

    Raises SweepFileError, with the line, if there is none or it isn't TOML.
    """
    try:
        return Table(str(path), "", tomllib.loads(path.read_bytes().decode("utf-8-sig")))
    except FileNotFoundError:
        where = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise SweepFileError(f"no file {path}{where}") from None
    except OSError as error:
        raise SweepFileError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SweepFileError(f"{path}: isn't UTF-8, at byte {error.start}") from None
    except RecursionError:
        raise SweepFileError(f"{path}: its arrays and tables lie too deep in one another") from None
    except tomllib.TOMLDecodeError as error:
        raise SweepFileError(f"{path}: isn't TOML: {error}{_toml_hint(path, str(error))}") from None


def _toml_hint(path: Path, said: str) -> str:
    """What TOML wants, for the slips that its own words don't explain."""
    line = _line_of(path, said)
    if "escape" in said:
        return "; write a regular expression in single quotes: 'step (?P<step>\\d+)'"
    if "Invalid value" in said and line.partition("=")[2].strip()[:1].isalpha():
        return "; a text stands in quotes, and true, false, inf and nan are written small"
    return f": {line.strip()}" if line.strip() else ""


def _line_of(path: Path, said: str) -> str:
    words = said.replace(",", " ").split()
    if "line" not in words:
        return ""
    lines = path.read_text(errors="replace").splitlines()
    number = int(words[words.index("line") + 1])
    return lines[number - 1] if number <= len(lines) else ""


def shown(value: object) -> str:
    """A value as TOML writes it, shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        text = f"[{', '.join(map(shown, value))}]"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{key} = {shown(entry)}" for key, entry in value.items()) + "}"
    elif isinstance(value, str):
        text = f'"{value}"'
    else:
        text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
