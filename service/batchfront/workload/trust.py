"""Which code a process may load because a database says so: that which it was told to trust.

Whoever can write to a database, or hands over an export, says by a study's spec what its workers
load. So a spec alone is never enough. What is loaded is of the catalog, which is what is installed
here, or lies in a place that whoever started the process has named; and there it is the very code,
by its checksums, that the study was planned with, as far as that is known.
"""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchfront.errors import IdentityError, UntrustedCode, UsageError
from batchfront.phrases import first_few
from batchfront.workload import catalog
from batchfront.workload.source import Checksums, Source, find_source


@dataclass(frozen=True)
class Trust:
    """The places that a process was told to trust: files, and folders with all that is in them."""

    places: tuple[Path, ...] = ()

    @classmethod
    def of(cls, code: Sequence[str]) -> "Trust":
        """The places that `--code` names. Raises UsageError if there is no such file or folder."""
        places = []
        for place in filter(None, code):  # as PATH may have an empty one
            try:
                places.append(Path(place).resolve(strict=True))
            except (OSError, RuntimeError, ValueError):
                raise UsageError(f"--code {place}: there is no such file or folder") from None
        return cls(tuple(places))

    def holds(self, file: Path) -> bool:
        """Whether a file, whose path has no symbolic link in it, is or lies in one of them."""
        return any(file == place or place in file.parents for place in self.places)

    def allows(self, source: Source) -> bool:
        """Whether a file lies in them, and so does the folder that its modules are imported from,
        where that isn't its own."""
        return all(map(self.holds, source.places))

    def spec(self, workload: str, spec: str, checksums: Checksums | None) -> str:
        """The spec by which this process loads a workload's code, of which nothing has run yet.

        spec      -- what the database says: where it was planned from
        checksums -- of the files that it was planned with; None: they aren't known

        The code may also lie elsewhere than it was planned from, as on another machine, in a file
        of that name. Raises UntrustedCode, with what would have to be trusted, or IdentityError.
        """
        if not catalog.is_of_a_file(spec) or spec.endswith(catalog.NOWHERE):
            return spec
        planned = find_source(spec)
        if planned is not None and self.allows(planned):
            refuse_changed(workload, planned, checksums)
            return spec
        is_at_home = planned is not None and bool(planned.module) and planned.is_at_home
        if is_at_home and planned is not None and catalog.offers(planned.function, planned.file):
            return spec
        for source in self.elsewhere(spec):
            if checksums is not None and source.checksums() == checksums:
                return source.spec
        raise self.untrusted(workload, spec)

    def sweep_files(self, spec: str) -> Iterator[Path]:
        """The sweep files that may be the one that a spec names: itself, and those of its name."""
        planned = find_source(spec)
        if planned is not None and self.holds(planned.file):
            yield planned.file
        yield from (source.file for source in self.elsewhere(spec))

    def elsewhere(self, spec: str) -> Iterator[Source]:
        """The files in the places that have the name of the one that a spec says; of a module, its
        packages too."""
        if not catalog.is_of_a_file(spec):
            return
        if catalog.is_sweep_file(spec):
            found = (str(path) for path in self._named(Path(spec).name))
        elif catalog.split_file(spec)[0]:
            path, function = catalog.split_file(spec)
            end = f":{function}" if function else ""
            found = (f"{one}{end}" for one in self._named(Path(path).name))
        else:
            _, module, function = catalog.split_module(spec)
            below = module.replace(".", "/")
            found = (
                f"{str(one).removesuffix(f'/{name}')}:{module}:{function}"
                for name in (f"{below}.py", f"{below}/__init__.py")
                for one in self._named(name)
            )
        for there in found:
            source = find_source(there)
            if source is not None and self.allows(source):
                yield source

    def _named(self, name: str) -> Iterator[Path]:
        """What has this name, or ends in this path, in the places."""
        for place in self.places:
            if place.is_file():
                yield from [place] if str(place).endswith(f"/{name}") else ()
                continue
            try:
                yield from sorted(place.rglob(glob.escape(name)))
            except (OSError, ValueError, NotImplementedError):  # it is no name that a file can have
                return

    def untrusted(self, workload: str, spec: str) -> UntrustedCode:
        """The error of code that is in none of the places."""
        planned = find_source(spec)
        if planned is None:
            return UntrustedCode(
                f"{workload}: there is no {spec} here, which it was planned from, nor a file like "
                "it where --code says; copy it here, and name its folder by --code"
            )
        place = next((one for one in planned.places if not self.holds(one)), planned.file)
        imported = "" if place == planned.file else f" with the modules of {place}"
        return UntrustedCode(
            f"{workload}: the database names its code, {planned.file}{imported}, and nobody here "
            "has allowed that to run",
            str(place),
        )


def refuse_changed(workload: str, source: Source, checksums: Checksums | None) -> None:
    """Raise IdentityError, naming the files, if a workload was planned with others than these."""
    if checksums is None:
        return
    now = source.checksums()
    if now != checksums:
        names = sorted(n for n in {*now, *checksums} if now.get(n) != checksums.get(n))
        raise IdentityError(
            f"the code of {workload} is not what it was planned with, and nothing of it has been "
            f"run; it differs in {first_few(names)}"
        )
