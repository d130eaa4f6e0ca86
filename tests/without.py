"""Environments in which some modules can't be imported, as if they were not installed."""

from collections.abc import Iterable

_CODE = """\
import sys
from importlib.machinery import PathFinder


class Others(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            return None
        return super().find_spec(name, path, target)


sys.meta_path[:] = [Others if finder is PathFinder else finder for finder in sys.meta_path]
"""


def hiding(modules: Iterable[str]) -> str:
    """Code that, imported as a process starts, has it find none of these modules, as if they were
    not installed: what is None in `sys.modules` is there for libraries that look for it there."""
    return _CODE.replace("{names}", repr(set(modules)))
