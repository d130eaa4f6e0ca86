"""Follows code from a function or an object through the user's own modules, by what it names."""

import ast
import logging
import re
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import partial
from hashlib import blake2b
from importlib import import_module
from operator import attrgetter
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from batchfront.workload.code.module_text import (
    compiled,
    essential,
    global_names,
    imports_within,
    references,
    statement_names,
    written,
)
from batchfront.workload.code.own_modules import (
    OURS,
    VERSIONED_ELSEWHERE,
    Home,
    OwnModules,
    package_version,
)
from batchfront.workload.code.versions import WHICH, checksum
from batchfront.workload.user_error import error_in

log = logging.getLogger(__name__)

_BY_NAME = {"globals", "eval", "exec", "__import__", "import_module", "modules"}
"""What reaches definitions by names that are not in the code; `modules` is that of `sys`."""

_READS = re.compile(r"_*(load|read|parse)|from_?(file|csv|npy|txt)|genfromtxt")
"""The names of functions that read a file."""

_PLAIN = (bool, int, float, str, list, tuple, dict, set)

_OF_EVERY_MODULE = {"__name__", "__file__", "__package__", "__spec__", "__loader__", "__path__"}
"""Where a file lies, which doesn't count."""

_OF_EVERY_CLASS = {
    *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__"),
    *("__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl"),
}


class Walk:
    """Follows code, and gathers a checksum for each definition that it meets."""

    def __init__(self, package: str) -> None:
        self.entries: dict[str, str] = {}
        self.versions = True
        self._own = OwnModules(package)
        self._ahead: deque[Callable[[], None]] = deque()  # as calls go deeper than a stack may
        self._met: dict[Any, str] = {}
        self._labels: Counter[str] = Counter()
        self._user = ""  # the text that is followed
        self._uses: dict[Any, set[str]] = {}  # definition to the texts that use it
        self._sums: dict[Any, str] = {}
        self._kept: list[object] = []  # as an id is free for another once its object is gone

    def follow(self, role: str, part: Any) -> None:
        """Follow a part of the workload, all the way; say so where that can't be done."""
        try:
            self.entries[role] = checksum([self.value(part)])
            while self._ahead:
                self._ahead.popleft()()
        except Exception as error:  # as objects may raise whatever they like when looked at
            log.warning("changes in the code of the %s are not seen: %s", role, error_in(error))
            self._ahead.clear()
            self.entries[role] = "not followed"
        self._tell_namesakes_apart()

    def value(self, value: Any) -> str:
        """What an object is, as text; the code behind it is followed."""
        if value is None or isinstance(value, (bool, int, float, complex, bytes)):
            return repr(value)
        if isinstance(value, str):  # a path: the same file lies elsewhere on another machine
            return repr(Path(value).name if Path(value).is_absolute() else value)
        if isinstance(value, PurePath):
            return repr(value.name)
        if id(value) in self._met:
            return self._met[id(value)]
        self._met[id(value)] = type(value).__qualname__  # of what it is met in again
        self._kept.append(value)
        self._met[id(value)] = found = self._object(value)
        return found

    def _object(self, value: Any) -> str:
        match value:
            case FunctionType():
                return self._function(value)
            case MethodType():
                return f"{self.value(value.__func__)} of {self.value(value.__self__)}"
            case type():
                return self._class(value)
            case ModuleType():
                return self._through(value, ())
            case BuiltinFunctionType():
                return self._foreign(value.__module__ or "", value.__qualname__)
            case staticmethod() | classmethod():
                return self.value(value.__func__)
            case property():
                return self._all((value.fget, value.fset))
            case partial():
                given = self._all(value.args), self._pairs(value.keywords)
                return f"partial {self.value(value.func)} {given}"
            case dict():
                return self._pairs(value)
            case list() | tuple():
                return self._all(value)
            case set() | frozenset():
                return repr(sorted(map(self.value, value)))
            case Enum():
                return f"{self.value(type(value))}.{value.name}"
            case np.ndarray():
                return _of_array(value)
            case np.generic() | range() | slice():
                return repr(value)
        if _is_torchs(value, "Tensor"):
            return _of_array(value.detach().cpu().resolve_conj().resolve_neg().numpy(force=True))
        if _is_torchs(value, "dtype", "device"):
            return repr(value)
        return self._instance(value)

    def _all(self, values: Iterable[Any]) -> str:
        return repr([self.value(one) for one in values])

    def _pairs(self, values: Mapping[Any, Any]) -> str:
        return repr([(self.value(key), self.value(one)) for key, one in values.items()])

    def _instance(self, value: Any) -> str:
        kind = type(value)
        said = self.value(kind)
        if _is_data(value):
            return said  # their content is described by themselves
        if kind.__module__.partition(".")[0] == OURS and is_dataclass(value):
            # A field that a later batchfront adds is at its default, and no change.
            given = {
                f.name: getattr(value, f.name) for f in fields(value) if not _default(f, value)
            }
            return f"{said} {self._pairs(given)}"
        if self._own.home_of(kind) or _is_torchs(value, "nn.Module"):
            slots = [name for base in kind.__mro__ for name in vars(base).get("__slots__", ())]
            held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
            return f"{said} {self._pairs({**held, **getattr(value, '__dict__', {})})}"
        # Of functools.cache, for one, and of torch.jit.script.
        wrapped = getattr(value, "__wrapped__", getattr(value, "_torchdynamo_inline", None))
        return f"{said} {self.value(wrapped)}" if isinstance(wrapped, FunctionType) else said

    def _function(self, function: FunctionType) -> str:
        home = self._own.home(function.__globals__, function.__module__)
        wrapped = vars(function).get("__wrapped__")
        beside = "" if wrapped is None else f" of {self.value(wrapped)}"
        code = function.__code__
        name = code.co_qualname
        if home is None:
            return self._foreign(function.__module__ or "", name) + beside
        top = name.partition(".")[0]
        if (
            home.text
            and home.wrote(function)
            and "<locals>" not in name
            and top in home.text.bindings
        ):
            self._definition(home, top)
            return name + beside
        cells = [_content(cell) for cell in function.__closure__ or ()]
        given = (function.__defaults__ or (), function.__kwdefaults__ or {})
        held = [self._all(cells), self._all(given[0]), self._pairs(given[1])]
        self._keep(home, name, [*self._code(home, code), *held])
        return name + beside

    def _code(self, home: Home, code: CodeType) -> list[str]:
        """What one function does, as text, wherever it stands; what it names is followed."""
        node = home.text.nested(code) if home.text else None
        if node is None:
            return [compiled(code), *self._follow(home, None, global_names(code))]
        node = essential(node)
        return [written(node), *self._follow(home, node, global_names(code))]

    def _class(self, kind: type) -> str:
        home = self._own.home_of(kind)
        name = kind.__qualname__
        if home is None:
            return self._foreign(kind.__module__, name)
        top = name.partition(".")[0]
        if home.text and "<locals>" not in name and top in home.text.bindings:
            self._definition(home, top)
            return name
        nodes = home.text.local_class(name) if home.text else []
        said = [part for node in nodes for part in self._statement(home, node)]
        held = {n: v for n, v in vars(kind).items() if n not in _OF_EVERY_CLASS}
        self._keep(home, name, [*said, self._all(kind.__bases__), self._pairs(held)])
        return name

    def _definition(self, home: Home, name: str) -> None:
        """What binds a name at the top of a module."""
        key = id(home.names), name
        self._uses.setdefault(key, set()).add(self._user)
        if key not in self._met:
            self._met[key] = name
            self._ahead.append(partial(self._define, home, name))

    def _define(self, home: Home, name: str) -> None:
        statements = home.text.bindings[name] if home.text else ()
        said = [part for statement in statements for part in self._statement(home, statement)]
        live = home.names.get(name)
        if _is_array(live) or (_from_outside(statements) and isinstance(live, _PLAIN)):
            said.append("" if isinstance(live, str) and "/" in live else self.value(live))
        for function in _functions_of(live, home.names):
            if not home.wrote(function):  # the file has changed since it was imported
                said.append(compiled(function.__code__))
            elif function.__code__.co_qualname.partition(".")[0] != name:  # put there afterwards
                said.append(self.value(function))
        for one in self._registered(live):
            self.value(one)
        self._sums[id(home.names), name] = self._keep(home, name, said)
        self._loose(home)

    def _registered(self, live: Any, depth: int = 3) -> Iterator[Any]:
        """The code that an object of a module holds: a register that decorators or subclasses
        fill."""
        inside: Iterable[Any] = ()
        if isinstance(live, Mapping):
            inside = live.values()
        elif isinstance(live, (list, tuple, set, frozenset)):
            inside = live
        elif isinstance(live, (FunctionType, type)) or self._own.home_of(type(live)):
            held = getattr(live, "__dict__", {}).values()
            inside = [one for one in held if not isinstance(one, (FunctionType, type))]
        for one in inside if depth else ():
            if isinstance(one, (FunctionType, type, partial)):
                yield one
            else:
                yield from self._registered(one, depth - 1)

    def _statement(self, home: Home, statement: Any) -> list[str]:
        node = essential(statement)
        return [written(node), *self._follow(home, node, statement_names(node))]

    def _follow(self, home: Home, node: Any, names: set[str]) -> list[str]:
        """Follow what code uses of its module; what names that were imported stand for."""
        before, self._user = self._user, checksum([written(node), sorted(names)])
        found = references(node, names) if node is not None else {(name,) for name in names}
        targets = {f"{one[0]}={self._resolve(home, one)}" for one in sorted(found)}
        for name, module, attribute in (
            imports_within(node, home.text.package) if node and home.text else ()
        ):
            targets.add(f"{name}={self._imported(module, attribute)}")
        if any(not _BY_NAME.isdisjoint(one) for one in found):
            self._whole(home)
            for beside in home.beside():
                self._through(beside, ())
        self._user = before
        return sorted(t for t in targets if t.partition("=")[2] not in ("", t.partition("=")[0]))

    def _resolve(self, home: Home, chain: tuple[str, ...]) -> str:
        """Follow a name of a module; empty for what has an entry of its own, or is built in."""
        name, text = chain[0], home.text
        if name not in home.names or name in _OF_EVERY_MODULE:
            return ""
        live = home.names[name]
        if isinstance(live, ModuleType):
            return self._through(live, chain[1:])
        if text is not None and name in text.bindings:
            self._definition(home, name)
            return ""
        if text is not None and name in text.imports:
            return self._imported(text.imports[name].module, text.imports[name].attribute)
        for module in text.stars if text is not None else ():
            if hasattr(sys.modules.get(module), name):
                return self._imported(module, name)
        return self.value(live)

    def _imported(self, module: str, attribute: str | None) -> str:
        try:
            if self._own.is_elsewhere(module):
                return self._foreign(module, attribute or "")
            found = import_module(module)
        except (Exception, SystemExit):  # which the code will meet itself, if it comes to it
            return f"{module}.{attribute}"
        if attribute == "*":
            return self._through(found, ())
        return self._through(found, () if attribute is None else (attribute,))

    def _through(self, module: ModuleType, chain: tuple[str, ...]) -> str:
        """Follow attributes of a module; all of it where none is named."""
        while chain and isinstance(getattr(module, chain[0], None), ModuleType):
            module, chain = getattr(module, chain[0]), chain[1:]
        home = self._own.home(vars(module), module.__name__)
        if home is None:
            return self._foreign(module.__name__, chain[0] if chain else "")
        if chain:
            return f"{chain[0]} {self._resolve(home, chain)}".strip()
        self._whole(home)
        return module.__name__.rpartition(".")[2]

    def _whole(self, home: Home) -> None:
        key = id(home.names), "*"
        if key in self._met or home.text is None:
            return
        self._met[key] = "*"
        for name in home.text.bindings:
            self._definition(home, name)
        self._loose(home)

    def _loose(self, home: Home) -> None:
        """What a module and those that it imports do as they are imported."""
        key = id(home.names), "loose"
        if key in self._met or home.text is None:
            return
        self._met[key] = "loose"
        said = [part for statement in home.text.loose for part in self._statement(home, statement)]
        if said:
            self._keep(home, "what it does when it is imported", said)
        if Path(home.names.get("__file__") or "").name == "__init__.py":
            return  # which may import all of a package's modules
        for module in [*(i.module for i in home.text.imports.values()), *home.text.stars]:
            found = sys.modules.get(module)
            inner = None if found is None else self._own.home(vars(found), module)
            if inner is not None:
                self._loose(inner)

    def _foreign(self, module: str, name: str) -> str:
        """Something of an installed package."""
        top = module.partition(".")[0]
        if top == OURS:  # where it stands may change
            return "" if name.startswith("_") else name
        if self.versions and top not in VERSIONED_ELSEWHERE:
            known = package_version(top)
            if known is not None:
                self.entries[top] = known
        return f"{module}.{name}"

    def _tell_namesakes_apart(self) -> None:
        """An entry for each name that several definitions have, of which is used where: else two
        that are exchanged would look the same."""
        sums: dict[str, set[str]] = {}
        for (_, name), sum_ in self._sums.items():
            sums.setdefault(name, set()).add(sum_)
        uses: dict[str, list[tuple[str, str]]] = {}
        for (module, name), users in self._uses.items():
            sum_ = self._sums.get((module, name), "")
            uses.setdefault(name, []).extend((user, sum_) for user in users)
        for name, found in uses.items():
            if len(sums.get(name, ())) > 1:
                self.entries[f"{WHICH}{name} is used"] = checksum(sorted(found))

    def _keep(self, home: Home, name: str, said: list[str]) -> str:
        label = f"{home.shown}:{name}"
        self._labels[label] += 1
        number = self._labels[label]
        sum_ = self.entries[f"{label}#{number}" if number > 1 else label] = checksum(said)
        return sum_


def _default(field: Any, value: Any) -> bool:
    given = getattr(value, field.name)
    if field.default_factory is not MISSING:
        return repr(given) == repr(field.default_factory())
    return field.default is not MISSING and repr(given) == repr(field.default)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _from_outside(statements: Sequence[ast.AST]) -> bool:
    """Whether a constant is read from the environment or a file, so that its text says nothing of
    its value."""
    code = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    inner = (
        n
        for statement in statements
        if not isinstance(statement, code)
        for n in ast.walk(statement)
    )
    names = {getattr(node, "attr", getattr(node, "id", "")) for node in inner}
    return any(n in ("environ", "getenv", "argv", "open") or _READS.match(n) for n in names)


def _functions_of(live: Any, names: dict[str, Any]) -> list[FunctionType]:
    """A function, or a class's methods, as far as they were written in this module."""
    found = [live] if not isinstance(live, type) else list(vars(live).values())
    plain = [one.fget if isinstance(one, property) else one for one in found]
    plain = [o.__func__ if isinstance(o, (staticmethod, classmethod)) else o for o in plain]
    mine = [f for f in plain if isinstance(f, FunctionType) and f.__globals__ is names]
    return [f for f in mine if not f.__code__.co_filename.startswith("<")]  # a dataclass's own


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or _is_torchs(value, "Tensor")


def _is_torchs(value: Any, *kinds: str) -> bool:
    """Whether it is an instance of one of these classes of torch's: of none while nobody has
    imported that."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, tuple(attrgetter(kind)(torch) for kind in kinds))


def _is_data(value: Any) -> bool:
    """Whether it is a split or several, which need torch too."""
    data = sys.modules.get("batchfront.workload.data")
    return data is not None and isinstance(value, (data.Splits, data.Examples))


def _of_array(array: Any) -> str:
    said = f"array {array.dtype} {array.shape}"
    if isinstance(array, np.memmap) or array.dtype.hasobject:
        return said
    return f"{said} {blake2b(np.ascontiguousarray(array).tobytes(), digest_size=8).hexdigest()}"
