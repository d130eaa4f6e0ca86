"""Where the code of a workload stands, and its checksums: found without running any of it."""

import ast
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from batchfront.errors import CatalogError
from batchfront.workload.catalog import BEFORE, is_sweep_file, split_file, split_module
from batchfront.workload.user_error import is_installed

Checksums = Mapping[str, str]
"""A workload's own files, by their paths from the folder that its modules are imported from, with
the SHA-256 of each, in hexadecimal."""


@dataclass(frozen=True)
class Source:
    """The file that a workload's spec names.

    file   -- it, with no symbolic link in its path
    root   -- the folder that its own modules are imported from
    path   -- of the file, from there
    module -- its name, where the spec says a module's
    """

    file: Path
    root: Path
    path: Path
    function: str = ""
    module: str = ""

    @property
    def spec(self) -> str:
        """A spec that names this file from any folder."""
        if self.module:
            return f"{self.root}:{self.module}:{self.function}"
        return f"{self.file}:{self.function}" if self.function else str(self.file)

    @property
    def is_at_home(self) -> bool:
        """Whether its own modules are imported from where Python looks for them anyway, or from
        where the file lies: its folder or, in a package, the one that holds that. Otherwise, who
        says which folder that is says what else is imported from there."""
        home = self.file.parent
        while self.module and (home / "__init__.py").is_file():
            home = home.parent
        root = self.root.resolve()
        return root == home or root in (Path(entry).resolve() for entry in sys.path)

    @property
    def places(self) -> tuple[Path, ...]:
        """What has to be trusted for it to be imported, the fewest there are."""
        root = self.root.resolve()
        if self.is_at_home:
            return (self.file,)
        return (root,) if root in self.file.parents else (self.file, root)

    def checksums(self) -> dict[str, str]:
        """The checksums of the file and of all that it imports, in whatever function, of modules
        that lie beside it; of an installed package, of its own modules alone.

        What a sweep file says is a study's definition, and is compared as that: it has none. Raises
        CatalogError for a file that can't be read.
        """
        if is_sweep_file(self.path.name):
            return {}
        found: dict[str, str] = {}
        ahead = [self.path]
        while ahead:
            path = ahead.pop()
            name = path.as_posix()
            if name not in found:
                text = _read(self.root / path)
                found[name] = sha256(text).hexdigest()
                ahead += self._imported(path, text)
        return found

    def _imported(self, path: Path, text: bytes) -> Iterator[Path]:
        """The own modules that a file names in its imports, with the packages that they are in."""
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError):  # which running it will say
            return
        package = path.parent.parts
        if path == self.path:  # to import a module runs the packages that it is in
            yield from self._modules(package)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for one in node.names:
                    yield from self._modules(one.name.split("."))
            elif isinstance(node, ast.ImportFrom):
                up = max(len(package) + 1 - node.level, 0)
                above = package[:up] if node.level else ()
                inside = (*above, *(node.module.split(".") if node.module else ()))
                for one in node.names:
                    yield from self._modules((*inside, one.name))

    def _modules(self, names: Sequence[str]) -> Iterator[Path]:
        """The files that `import a.b.c` runs, as far as they lie in the root folder."""
        if is_installed(self.file) and [*names[:1]] != self.module.split(".")[:1]:
            return  # of other packages
        for depth in range(1, len(names) + 1):
            below = Path(*names[:depth])
            if (self.root / below / "__init__.py").is_file():
                yield below / "__init__.py"
            elif (self.root / below.with_suffix(".py")).is_file():
                yield below.with_suffix(".py")
                return
            elif not (self.root / below).is_dir():
                return


def find_source(spec: str, here: Path | None = None) -> Source | None:
    """Find the file that a spec names, where `catalog.load` would.

    here -- the folder in which a module is looked for first

    Returns None if it names none that this machine has, or a workload of the catalog.
    """
    try:
        if is_sweep_file(spec):
            return _of_file(Path(spec), "")
        path, function = split_file(spec)
        if path:
            return _of_file(Path(path), function)
        if ":" not in spec:
            return None
        folder, name, function = split_module(spec)
        return _of_module(name, function, Path(folder).resolve() if folder else here)
    except (OSError, RuntimeError, ValueError, ImportError):  # no path can be it, or it is a circle
        return None


def files_digest(spec: str) -> str:
    """One checksum of a workload's own files as they are now; of the catalog's, of none."""
    source = find_source(spec)
    files = {} if source is None else source.checksums()
    return sha256(json.dumps(sorted(files.items())).encode()).hexdigest()


def _of_file(path: Path, function: str) -> Source | None:
    file = path.resolve()
    return Source(file, file.parent, Path(file.name), function) if file.is_file() else None


def _of_module(name: str, function: str, first: Path | None) -> Source | None:
    top, dot, rest = name.partition(".")
    for meant in (name, f"{BEFORE[top]}{dot}{rest}") if top in BEFORE else (name,):
        found = None if first is None else _module(meant, first)
        found = found or _module(meant, None)
        if found is not None:
            file = Path(found)
            root = file.parents[len(meant.split(".")) - (file.name != "__init__.py")]
            return Source(file.resolve(), root, file.relative_to(root), function, meant)
    return None


def _module(name: str, folder: Path | None) -> str | None:
    """The file of Python's that `import` would take a module from: the one in a folder, or what it
    finds by itself. Unlike `importlib.util.find_spec`, this imports no package on the way."""
    names = name.split(".")
    path: Sequence[str] | None = None if folder is None else [str(folder)]
    found: ModuleSpec | None = None
    for depth in range(1, len(names) + 1):
        if path is None:
            found = importlib.util.find_spec(names[0]) if depth == 1 else None
        else:
            # By its own name alone: a package without an init asks what it is in for its path.
            found = PathFinder.find_spec(names[depth - 1], path)
        if found is None:
            return None
        path = found.submodule_search_locations
    is_text = found is not None and found.has_location and (found.origin or "").endswith(".py")
    return found.origin if found is not None and is_text else None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CatalogError(f"{file} can't be read: {error.strerror}") from None
