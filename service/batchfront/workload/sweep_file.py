"""The sweep file: a program, what is searched, and how, in TOML."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchfront.workload.program import Program


@dataclass(frozen=True)
class SweepFile:
    """What a sweep file says.

    search -- options of the search, by the names of `batchfront.plan.options.SearchOptions`
    """

    program: Program
    search: Mapping[str, Any]


def read_sweep_file(path: Path) -> SweepFile:
    """Read a sweep file.

    Raises CatalogError if there is none, and SweepFileError, which names file, table and key, for
    what is wrong in it.
    """
    raise NotImplementedError
