"""What a shell completes where a command takes a workload.

Asked by every press of Tab, so it answers in a few tenths of a second, and with nothing rather than
with an error.
"""

import os
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread

import click
from click.shell_completion import CompletionItem
from sqlalchemy import URL

from batchfront.printable import printable
from batchfront.store.database import DEFAULT_URL, parse_url
from batchfront.store.sqlite import SqliteFile

_LONGEST_SECONDS = 1.0  # that a database may take


def to_run(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a workload to plan: by the catalog's names, this folder's sweep files, or a path."""
    names: list[str] = []
    with suppress(Exception):
        from batchfront.workload.catalog import outlines

        names += sorted(outlines())
    with suppress(OSError):
        names += sorted({path.name for path in Path().glob("*.toml")} - {"pyproject.toml"})
    return _matching(names, incomplete) or [CompletionItem(incomplete, type="file")]


def stored(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a workload by the names that the database has."""
    given = ctx.params.get("storage") or os.environ.get("BATCHFRONT_STORAGE") or DEFAULT_URL
    names: list[str] = []

    def ask() -> None:
        with suppress(Exception):
            names.extend(_names_in(parse_url(str(given))))

    # Nobody waits for a server that is away: the thread ends with the process.
    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_LONGEST_SECONDS)
    return _matching(names, incomplete)


def stored_or_to_run(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete a workload by the names that the database has, or by what can be planned."""
    known = stored(ctx, param, incomplete)
    names = {item.value for item in known}
    return [*known, *(i for i in to_run(ctx, param, incomplete) if i.value not in names)]


def folder(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a folder."""
    return [CompletionItem(incomplete, type="dir")]


def _matching(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Those that can be typed: what can't be seen in a name would reach the shell."""
    found = [name for name in names if name.startswith(incomplete)]
    return [CompletionItem(name) for name in found if printable(name) == name]


_NAMES = "SELECT DISTINCT workload FROM bf_studies ORDER BY workload"


def _names_in(url: URL) -> list[str]:
    """The workloads of a database, whatever its version is."""
    if url.get_backend_name() == "sqlite":
        at_once = url.update_query_dict({"timeout": "0.2"})
        with closing(SqliteFile(at_once).connect()) as connection:
            return [name for (name,) in connection.execute(_NAMES)]
    from sqlalchemy import create_engine, text

    from batchfront.store.url import with_password

    with create_engine(with_password(url)).connect() as conn:
        return list(conn.execute(text(_NAMES)).scalars())
