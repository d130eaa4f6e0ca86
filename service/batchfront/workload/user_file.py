"""Finds the function of a user's own Python file that makes a workload, and runs the file."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any

from batchfront.errors import BatchfrontError, CatalogError
from batchfront.workload.base import WorkloadBase
from batchfront.workload.user_error import error_in


def function_in(path: Path, name: str) -> object:
    """What the file calls `name`; without a name, the only workload that it has: a function that
    returns a Workload or a Loop, or a Loop itself.

    Raises CatalogError if there is no such file or function, or the file does not run.
    """
    module = _run(path)
    functions = {n: f for n, f in vars(module).items() if _is_public_function(f, module)}
    makers = [n for n, function in functions.items() if _returns_workload(function)]
    makers += [n for n, value in vars(module).items() if isinstance(value, WorkloadBase)]
    if not name and len(makers) == 1:
        return vars(module)[makers[0]]
    if name in vars(module):
        return vars(module)[name]
    raise not_there(path, name, makers, [*functions])


def not_there(
    path: Path, name: str, makers: Sequence[str], functions: Sequence[str]
) -> CatalogError:
    if makers:
        found = f"its workloads: {', '.join(makers)}"
    else:
        found = f"its functions: {', '.join(functions)}" if functions else "it has no functions"
    if name:
        return CatalogError(f"{path} has no function {name!r}; {found}")
    return CatalogError(f"{path}: say which function, as {path}:FUNCTION; {found}")


def not_run(path: Path, error: BaseException) -> CatalogError:
    return CatalogError(f"{path} does not run: {error_in(error)}")


def _is_public_function(value: object, module: ModuleType) -> bool:
    return (
        inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not value.__name__.startswith("_")
    )


_KINDS = ("Workload", "Loop")


def _returns_workload(function: Callable[..., Any]) -> bool:
    """Whether `function` is annotated to; with postponed annotations that is but a string."""
    annotated = getattr(function, "__annotations__", {}).get("return")
    if isinstance(annotated, str):
        return names_kind(annotated)
    return isinstance(annotated, type) and issubclass(annotated, WorkloadBase)


def names_kind(text: str) -> bool:
    return text.strip("\"'").rpartition(".")[2] in _KINDS


def there(path: Path) -> Path:
    """The whole path of a file. Raises CatalogError if there is none."""
    full = path.resolve()
    if not full.is_file():
        raise CatalogError(f"no file {path}" + ("" if path.is_absolute() else f" in {Path.cwd()}"))
    return full


def _run(path: Path) -> ModuleType:
    """The file as a module, run anew, with the modules beside it importable.

    Its name in `sys.modules` is its own, whatever other files are called. Its folder comes first
    on `sys.path` while it runs and last thereafter, where it can hide nothing, so that what the
    file imports later (in its model, say) is found too.
    """
    full = there(path)
    name = f"{full.stem}_{blake2b(str(full).encode(), digest_size=6).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, full)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up by name
    try:
        with importable(full.parent):
            spec.loader.exec_module(module)
    except BatchfrontError:
        raise
    except (Exception, SystemExit) as e:
        raise not_run(path, e) from e
    return module


_loaded: ContextVar[str | None] = ContextVar("loaded", default=None)


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Know, while the block runs, that a user's code is run for the workload that it makes."""
    token = _loaded.set(what)
    try:
        yield
    finally:
        _loaded.reset(token)


def is_loading() -> str | None:
    """What is loaded just now by whoever runs this code; None where it runs for itself."""
    return _loaded.get()


_siblings: set[str] = set()
"""Names of the modules that files imported from their own folders."""


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Put `folder` first on `sys.path`, and last thereafter; its own modules replace namesakes of
    an earlier file's."""
    for name in _siblings & set(sys.modules):
        top = name.partition(".")[0]
        has_its_own = (folder / f"{top}.py").is_file() or (folder / top).is_dir()
        if has_its_own and not lies_in(folder, sys.modules[name]):
            del sys.modules[name]
    importlib.invalidate_caches()
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
        new = set(sys.modules) - before
        _siblings.update(name for name in new if lies_in(folder, sys.modules[name]))


def lies_in(folder: Path, module: ModuleType) -> bool:
    """Whether a module was imported from a folder, or from one below it."""
    file = getattr(module, "__file__", None)
    return file is not None and folder in Path(file).resolve().parents
