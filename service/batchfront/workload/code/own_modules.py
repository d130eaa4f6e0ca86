"""Which modules are the user's own, whose code counts, and which are installed."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import entry_points, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from batchfront.workload.code.module_text import ModuleText
from batchfront.workload.user_error import is_installed

OURS = __name__.partition(".")[0]
"""The package of batchfront itself."""

VERSIONED_ELSEWHERE = {OURS, "torch", "numpy", *sys.stdlib_module_names}
"""Packages whose versions are no part of a workload's code."""

_texts: "WeakKeyDictionary[ModuleType, ModuleText | None]" = WeakKeyDictionary()
"""As they were when a module was first looked at: a file may change after it has been imported."""


@dataclass(frozen=True)
class Home:
    """A module of the user's own; `text` is None where its source can't be had, in a notebook."""

    names: dict[str, Any]
    shown: str
    text: ModuleText | None

    def wrote(self, function: FunctionType) -> bool:
        """Whether a function is what the text says."""
        return self.text is not None and function.__code__ in self.text.codes

    def beside(self) -> list[ModuleType]:
        """The modules that were imported from its folder and those in it."""
        folder = Path(self.names.get("__file__") or "/").parent
        files = {m: getattr(m, "__file__", None) for m in list(sys.modules.values())}
        return [m for m, file in files.items() if file and folder in Path(file).parents]


class OwnModules:
    """The modules of the user's own, and of packages that offer workloads, where they count as
    that though they are installed.

    package -- one more such package: the workload's own
    """

    def __init__(self, package: str) -> None:
        offering = (entry.value for entry in entry_points(group="batchfront.workloads"))
        tops = (value.partition(":")[0].partition(".")[0] for value in offering)
        self._packages = {package, *tops} - VERSIONED_ELSEWHERE
        self._homes: dict[int, tuple[dict[str, Any], Home | None]] = {}

    def home(self, names: dict[str, Any], name: str | None = None) -> Home | None:
        """The own module whose names these are; None if they are another's.

        name -- of the module, if its names don't say
        """
        if id(names) not in self._homes:
            found = self._find(names, names.get("__name__") or name or "")
            self._homes[id(names)] = names, found  # an id is free once its object is gone
        return self._homes[id(names)][1]

    def home_of(self, kind: type) -> Home | None:
        """The own module of a class."""
        methods = [m for m in vars(kind).values() if isinstance(m, FunctionType)]
        mine = [m.__globals__ for m in methods if m.__module__ == kind.__module__]
        module = sys.modules.get(kind.__module__)
        names = mine[0] if mine else vars(module) if module is not None else None
        return None if names is None else self.home(names, kind.__module__)

    def is_elsewhere(self, module: str) -> bool:
        """Whether a module is an installed one; without importing it."""
        top = module.partition(".")[0]
        if module in sys.modules or top in self._packages:
            return False
        return _is_installed(top)

    def _find(self, names: dict[str, Any], name: str) -> Home | None:
        top, file = name.partition(".")[0], names.get("__file__")
        if file is None:
            interactive = names.get("__spec__") is None and top not in sys.builtin_module_names
            return Home(names, name, None) if interactive else None
        path = Path(file)
        if top not in self._packages and (top == OURS or is_installed(path)):
            return None
        return Home(names, path.name, _text(names, path)) if path.suffix == ".py" else None


def package_of(function: Any) -> str:
    """The package that a part of a workload comes from."""
    while isinstance(function, partial):
        function = function.func
    return (getattr(function, "__module__", None) or "").partition(".")[0]


@cache
def package_version(package: str) -> str | None:
    """The version of what an importable package is of; the same for all kinds of machine."""
    found = _distributions().get(package)
    return version(found[0]).partition("+")[0] if found else None


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


@cache
def _is_installed(package: str) -> bool:
    if package in sys.stdlib_module_names:
        return True
    spec = find_spec(package)
    return spec is not None and spec.origin is not None and is_installed(Path(spec.origin))


def _text(names: dict[str, Any], path: Path) -> ModuleText | None:
    module = sys.modules.get(names.get("__name__") or "")
    mine = module if module is not None and vars(module) is names else None
    if mine is not None and mine in _texts:
        return _texts[mine]
    try:
        text = ModuleText(path.read_text(encoding="utf-8"), names.get("__package__") or "")
    except (OSError, SyntaxError, ValueError):
        text = None
    if mine is not None:
        _texts[mine] = text
    return text
