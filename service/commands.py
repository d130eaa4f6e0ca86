"""The commands that messages advise: whole, so that they can be pasted into a shell as they are."""

import os
import shlex

from sqlalchemy import URL

from service.database import DEFAULT_URL, Storage


def command(where: Storage | URL, name: str, *words: str) -> str:
    """A command of batchfront on a database, in backticks.

    It names the database unless that is the one which the command finds without being told, and
    never a password, which comes from where it came from this time.
    """
    url = where.url if isinstance(where, Storage) else where
    told = [] if _text(url) == _found() else ["--storage", _text(url)]
    return f"`{shlex.join(['batchfront', *name.split(), *words, *told])}`"


def _found() -> str:
    """The database of commands that are not told one."""
    from service.storage import parse_url  # which checks the tables, and advises commands itself

    return _text(parse_url(os.environ.get("BATCHFRONT_STORAGE") or DEFAULT_URL))


def _text(url: URL) -> str:
    secret = [name for name in url.query if "password" in name]
    return url.set(password=None).difference_update_query(secret).render_as_string()
