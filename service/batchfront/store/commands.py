"""The commands that messages advise: whole, so that they can be pasted into a shell as they are."""

import os
from pathlib import Path

from sqlalchemy import URL

from batchfront.printable import shell_line
from batchfront.store.database import DEFAULT_URL, Storage, parse_url

EXAMPLE = "digits/mlp/momentum"
"""A workload that anyone can run, for who has none yet."""


def command(where: Storage | URL, name: str, *words: str) -> str:
    """A command of batchfront on a database, in backticks.

    It names the database unless that is the one which commands take that are told none. One that
    the environment names, which may be a launcher's, is left to it only where it has a password:
    that is never repeated, and comes from where it came from this time.
    """
    url = where.url if isinstance(where, Storage) else where
    found, named = _found(), "BATCHFRONT_STORAGE" in os.environ
    known = _placed(url) == _placed(found) and (not named or found.password is not None)
    told = [] if known else ["--storage", _text(url)]
    return f"`{shell_line(['batchfront', *name.split(), *words, *told])}`"


def _found() -> URL:
    """The database of commands that are not told one."""
    return parse_url(os.environ.get("BATCHFRONT_STORAGE") or DEFAULT_URL)


def _placed(url: URL) -> str:
    """The URL, a file's with all of its path."""
    if url.get_backend_name() == "sqlite" and url.database:
        url = url.set(database=str(Path(url.database).absolute()))
    return _text(url)


def _text(url: URL) -> str:
    """The URL without passwords."""
    where = (url.host, url.port, url.database)
    query = {name: value for name, value in url.query.items() if "password" not in name}
    return URL.create(url.drivername, url.username, None, *where, query).render_as_string()
