"""Finds workloads: in the catalog, in a module, in a file of Python, or as a sweep file.

The catalog is what the entry points of the group `batchfront.workloads` offer, ours and those of
any other installed package. Each refers to a mapping of names to functions that return a
workload, or to a function that returns such a mapping.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from batchfront.errors import BatchfrontError, CatalogError
from batchfront.phrases import first_few
from batchfront.printable import shell_word
from batchfront.workload.base import VARIANT_SIGN, WorkloadBase
from batchfront.workload.given import shown
from batchfront.workload.outline import Outlined
from batchfront.workload.program import Program
from batchfront.workload.read_ahead import look_for
from batchfront.workload.sweep_file import read_sweep_file
from batchfront.workload.user_error import error_in, is_installed
from batchfront.workload.user_file import function_in, importable, lies_in, loading
from batchfront.workload.workload import Workload

GROUP = "batchfront.workloads"

BEFORE = {"studies": "batchfront_studies"}
"""The names that packages of ours had before, which stored studies still say."""

T = TypeVar("T")

Maker = Callable[[], WorkloadBase]
"""What stands for a workload until it is wanted."""


def names() -> list[str]:
    """The names in the catalog, sorted.

    Raises CatalogError for an entry point that can't be loaded, or a name claimed twice.
    """
    return sorted(_by_name(lambda one: _outlined(one) or _offered(one)))


def outlines() -> dict[str, Mapping[str, Any]]:
    """Workload name to its outline, of the packages that offer some: as `OUTLINES`, in the module
    of their entry point. Neither makes any workload nor imports what they train with.

    Raises CatalogError for an entry point that can't be loaded.
    """
    return {
        name: described
        for entry_point in entry_points(group=GROUP)
        for name, described in (_outlined(entry_point) or {}).items()
    }


def entries() -> dict[str, Maker]:
    """The catalog: workload name to the function that makes the workload."""
    return _by_name(_offered)


def _by_name(offered: Callable[[EntryPoint], Mapping[str, T]]) -> dict[str, T]:
    """What all entry points offer. Raises CatalogError for a name that two of them claim."""
    found: dict[str, T] = {}
    claimed_by: dict[str, EntryPoint] = {}
    for entry_point in entry_points(group=GROUP):
        for name, offer in offered(entry_point).items():
            if name in found:
                raise CatalogError(
                    f"workload {name} is claimed by two entry points: "
                    f"{_shown(claimed_by[name])} and {_shown(entry_point)}"
                )
            found[name], claimed_by[name] = offer, entry_point
    return found


def load(spec: str, here: Path | None = None) -> WorkloadBase:
    """The workload that `spec` names.

    spec -- a name in the catalog (`digits/mlp/momentum`); `package.module:function`, with the
            folder that holds the package before it where need be (`/home/me:pack.module:function`);
            or `path/to/file.py:function`, where the function may be left out if the file has
            exactly one that is annotated to return a Workload or a Loop; or `path/to/sweep.toml`
    here -- the folder in which a module is looked for first, as `python -m` does in the current
            one; None: only where Python finds it by itself

    Raises CatalogError if there is no such workload or its code does not run, and passes on the
    WorkloadError of a workload whose parts do not fit together.
    """
    if spec.endswith(NOWHERE):
        raise CatalogError(
            f"{spec.removesuffix(NOWHERE)} was planned from Python, and stands in no file that a "
            "worker could load; its trials are asked for, by batchfront.open(URL).trial(NAME)"
        )
    if is_sweep_file(spec):
        return read_sweep_file(Path(spec)).program
    look_up(spec, here)  # which is quick to refuse
    path, function = split_file(spec)
    if path:
        with loading(spec):
            return workload_from(function_in(Path(path), function), spec)
    if ":" in spec:
        with loading(spec):
            return workload_from(_attribute(spec, here), spec)
    catalog = entries()
    if spec not in catalog:
        raise _unknown(spec, catalog)
    return workload_from(catalog[spec], spec)


def look_up(spec: str, here: Path | None = None) -> WorkloadBase | None:
    """What is known of the workload that `spec` names before its code runs: all of a sweep file,
    and the outline of one in the catalog, where there is one. None of any other.

    Raises CatalogError where `load` would, as far as that can be seen.
    """
    if is_sweep_file(spec):
        return load(spec, here)
    path, function = split_file(spec)
    if path:
        look_for(Path(path), function)
    if is_of_a_file(spec) or spec.endswith(NOWHERE):
        return None
    found = [_outlined(entry_point) for entry_point in entry_points(group=GROUP)]
    known = {name: one for offered in found for name, one in (offered or {}).items()}
    if spec in known:
        return Outlined.of(known[spec])
    if None not in found:
        raise _unknown(spec, known)
    return None


def load_trained(spec: str) -> Workload:
    """The workload that `spec` names, if it is one that batchfront trains.

    Raises CatalogError if its training loop is its own.
    """
    found = load(spec)
    if not isinstance(found, Workload):
        raise CatalogError(f"{spec} is a {type(found).__name__}, not a Workload")
    return found


def is_sweep_file(spec: str) -> bool:
    """Whether a spec names a sweep file, and so a program."""
    return spec.endswith(".toml")


def spec_for_workers(spec: str, here: Path | None = None) -> str:
    """The same spec, right from any working directory: with the path of a file made absolute, and
    the folder of a module that was loaded from `here`, unless it is installed."""
    if is_sweep_file(spec):
        return str(Path(spec).resolve())
    path, function = split_file(spec)
    if path:
        return f"{Path(path).resolve()}{':' if function else ''}{function}"
    if here is None or ":" not in spec:
        return spec
    folder, name, _ = split_module(spec)
    held = Path(folder or here).resolve()
    module = sys.modules.get(name)
    if module is None or not lies_in(held, module) or (not folder and _is_installed(name, held)):
        return spec
    return f"{held}:{spec.removeprefix(f'{folder}:')}"


NOWHERE = " (planned from Python)"
"""The end of the spec of a workload that stands in no file."""


def is_of_a_file(spec: str) -> bool:
    """Whether a spec names a file or a module, and not a workload of the catalog."""
    return ":" in spec or spec.endswith(".py") or is_sweep_file(spec)


def place_of(spec: str) -> str | None:
    """The file that a spec from any folder names, or the folder of its module; None if neither."""
    if is_sweep_file(spec):
        return spec
    return split_file(spec)[0] or split_module(spec)[0] or None


def offers(function: str, file: Path) -> bool:
    """Whether a function of a module's file makes one of the catalog's workloads."""
    for make in entries().values():
        module = sys.modules.get(getattr(make, "__module__", None) or "")
        if module is not None and getattr(make, "__qualname__", None) == function:
            own = getattr(module, "__file__", None)
            if own is not None and Path(own).resolve() == file:
                return True
    return False


def spec_of(workload: WorkloadBase) -> str:
    """A spec from which workers would load this workload: its sweep file, or the file of Python
    that has it as a variable. Where there is none, as in a notebook, `load` says so of what this
    returns."""
    if isinstance(workload, Program):
        return str(Path(workload.path).resolve())
    return spec_in_files(workload) or workload.name + NOWHERE


def spec_in_files(given: object) -> str | None:
    """A spec of an object that a file of the user's has as a variable: a workload, or a function
    that makes one. None where no loaded file has it."""
    own = getattr(given, "train", given)  # a loop's function, of which it is likely to be beside
    first = sys.modules.get(getattr(own, "__module__", None) or "")
    for module in filter(None, (first, *list(sys.modules.values()))):
        file = getattr(module, "__file__", None)
        if file is None or is_installed(Path(file)):
            continue
        for name, value in vars(module).items():
            if value is given:
                return f"{Path(file).resolve()}:{name}"
    return None


def _is_installed(name: str, folder: Path) -> bool:
    """Whether Python finds a loaded module without its folder too, and the same one."""
    top = sys.modules[name.partition(".")[0]]
    path = [entry for entry in sys.path if Path(entry).resolve() != folder]
    others = [finder for finder in sys.meta_path if finder is not PathFinder]
    found = [finder.find_spec(top.__name__, None) for finder in others]
    specs = [*found, PathFinder.find_spec(top.__name__, path)]
    return any(spec.origin == top.__file__ for spec in specs if spec is not None and spec.origin)


def split_file(spec: str) -> tuple[str, str]:
    """Path and function of a file spec; the function is empty if not given, both if it is none."""
    if spec.endswith(".py"):
        return spec, ""
    head, _, tail = spec.rpartition(":")
    return (head, tail) if head.endswith(".py") else ("", "")


def split_module(spec: str) -> tuple[str, str, str]:
    """Folder, module and function of a module spec; the folder is empty if not given."""
    where, _, function = spec.rpartition(":")
    folder, _, name = where.rpartition(":")
    return folder, name, function


def _outlined(entry_point: EntryPoint) -> Mapping[str, Mapping[str, Any]] | None:
    """The outlines that a package offers; None if it offers none."""
    with _naming(entry_point):
        module = importlib.import_module(entry_point.module)
    return getattr(module, "OUTLINES", None)


def _offered(entry_point: EntryPoint) -> Mapping[str, Maker]:
    with _naming(entry_point):
        offer = entry_point.load()
        catalog = offer() if callable(offer) else offer
    if not isinstance(catalog, Mapping):
        raise CatalogError(
            f"entry point {_shown(entry_point)} offers a {type(catalog).__name__}, "
            "not a mapping of names to functions that return a Workload"
        )
    return catalog


@contextmanager
def _naming(entry_point: EntryPoint) -> Iterator[None]:
    try:
        yield
    except BatchfrontError:
        raise
    except Exception as e:
        raise CatalogError(f"entry point {_shown(entry_point)} failed: {error_in(e)}") from e


def _shown(entry_point: EntryPoint) -> str:
    package = entry_point.dist.name if entry_point.dist else "an unknown package"
    return f"{entry_point.name} = {entry_point.value} of {package}"


def _attribute(spec: str, here: Path | None) -> object:
    folder, name, attribute = split_module(spec)
    first = Path(folder).resolve() if folder else here
    if folder and not Path(folder).is_dir():
        raise CatalogError(f"{spec}: no folder {folder}")
    try:
        with nullcontext() if first is None else importable(first):
            module = _module(name)
    except BatchfrontError:
        raise
    except Exception as e:
        hint = ""
        if isinstance(e, ModuleNotFoundError) and e.name and f"{name}.".startswith(f"{e.name}."):
            hint = " (a file is named as path/to/file.py:function)"
        raise CatalogError(f"{spec}: importing {name!r} failed: {error_in(e)}{hint}") from e
    try:
        return getattr(module, attribute)
    except AttributeError:
        near = get_close_matches(attribute, dir(module), n=3)
        raise CatalogError(
            f"{spec}: module {name} has no {attribute!r}"
            + (f"; did you mean {' or '.join(near)}?" if near else "")
        ) from None


def _module(name: str) -> ModuleType:
    """Import a module, also one of ours by the name that it had before.

    `studies` may be a package of the user's own: what it has is meant, and only a module that isn't
    found is looked for among ours. Should a stored study mean ours where the user's has one of that
    name too, they are not mistaken for each other: what is loaded has to give the study the
    definition and the code that it was planned with, or is refused.

    Raises ModuleNotFoundError, of the name that was given.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        top, dot, rest = name.partition(".")
        ours = f"{BEFORE.get(top)}{dot}{rest}"
        # And not for want of something that it imports.
        is_missing = f"{name}.".startswith(f"{error.name}.")
        if top not in BEFORE or not is_missing or not _exists(ours):
            raise
        return importlib.import_module(ours)


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a module in what is no package
        return False


def workload_from(make: object, spec: str) -> WorkloadBase:
    """The workload that an object is, or that it returns as a function.

    spec -- what named it

    Raises CatalogError, which says what it is or does instead.
    """
    if isinstance(make, WorkloadBase):
        return make
    if not callable(make):
        raise CatalogError(
            f"{spec} is {shown(make)}, not a function that returns a Workload or a Loop"
        )
    if inspect.isgeneratorfunction(make):
        raise CatalogError(
            f"{spec} is a training function; name a Loop that has it, such as "
            f"`loop = Loop(name=..., train={spec.rpartition(':')[2]}, ...)` beside it"
        )
    try:
        workload = make()
    except BatchfrontError:
        raise
    except (Exception, SystemExit) as e:
        raise CatalogError(f"{spec} failed: {error_in(e)}") from e
    if not isinstance(workload, WorkloadBase):
        raise CatalogError(f"{spec} returned {shown(workload)}, not a Workload or a Loop")
    return workload


def _unknown(spec: str, names: Collection[str]) -> CatalogError:
    return CatalogError(f"no workload {spec!r} in the catalog; {_suggestion(spec, names)}")


def _suggestion(spec: str, catalog: Collection[str]) -> str:
    base, sign, variant = spec.partition(VARIANT_SIGN)
    if sign and base in catalog:
        return f"a variant of {base} is asked for by --variant {variant}"
    if sign:
        return f"a variant is asked for by its workload's own name or file, and --variant {variant}"
    if spec.endswith((".yaml", ".yml")):
        return (
            "a sweep file is TOML; one of Weights & Biases is translated by "
            f"`batchfront new program --from {shell_word(spec)}`"
        )
    within = sorted(name for name in catalog if spec and name.startswith(f"{spec.strip('/')}/"))
    if within:
        return f"there {'is' if len(within) == 1 else 'are'} {first_few(within)}"
    near = get_close_matches(spec, catalog, n=3, cutoff=0.6)
    if near:
        return f"the nearest {'is' if len(near) == 1 else 'are'} {', '.join(near)}"
    return (
        "`batchfront workloads` lists them, and a file is named as path/to/file.py:function or "
        "path/to/sweep.toml"
    )
