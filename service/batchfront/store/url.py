"""One URL to one database, made ready."""

import os
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import NoSuchModuleError

from batchfront.errors import StorageError, UsageError
from batchfront.store.commands import EXAMPLE, command
from batchfront.store.database import Storage, parse_url, shown
from batchfront.store.migrations import check_schema, make_schema, upgrade_schema
from batchfront.store.unmade import Unmade

_VARIABLE = "BATCHFRONT_PASSWORD_FILE"


def with_password(url: URL) -> URL:
    """The URL with the password in the file that BATCHFRONT_PASSWORD_FILE names, where it is set
    and the URL is of a server and has none of its own. The file's last line may end in a newline.

    Raises UsageError for a file that can't be read or is empty.
    """
    name = os.environ.get(_VARIABLE)
    if not name or url.get_backend_name() == "sqlite" or url.password is not None:
        return url
    try:
        password = Path(name).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise UsageError(f"{_VARIABLE} {name}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{_VARIABLE} {name}: is not text in UTF-8") from None
    if not password:
        raise UsageError(f"{_VARIABLE} {name}: is empty; it should hold the password")
    return url.set(password=password)


def open_storage(text: str, *, create: bool = False) -> Storage:
    """Open the database at a URL, its schema checked, or made first if `create`.

    Raises UsageError for a URL that can't be meant, StorageError for a database that is missing,
    unwritable, corrupt, or of another version, and Unreachable for one that doesn't answer.
    """
    storage = _storage(parse_url(text), create)
    with storage.errors_named():
        (make_schema if create else check_schema)(storage)
    return storage


def open_to_write(text: str) -> Storage:
    """Open the database at a URL for a command that writes to it. A server's tables are made at
    once if there are none, and a file with the first that is written: a command that is refused
    before leaves none behind.

    Raises what `open_storage` does.
    """
    url = parse_url(text)
    if url.get_backend_name() == "sqlite":
        _check_file(url, create=True)
        if _is_missing(url):
            return Unmade(url, create=True)
    return open_storage(text, create=True)


def init_storage(text: str, *, upgrade: bool = False) -> str:
    """Make a database's tables, or with `upgrade` bring older ones to this version. Harmless where
    there is nothing to do.

    Returns what was done, in one line. Raises what `open_storage` does.
    """
    storage = _storage(parse_url(text), create=True)
    with storage.errors_named():
        if upgrade:
            before, after = upgrade_schema(storage)
            done = f"upgraded from version {before} to {after}" if before < after else "up to date"
        else:
            done = "tables made" if make_schema(storage) else "tables are there"
    storage.close()
    return f"{storage}: {done}"


def _storage(url: URL, create: bool) -> Storage:
    if url.get_backend_name() == "sqlite":
        _check_file(url, create)
    try:
        return Storage(with_password(url), create=create)
    except (NoSuchModuleError, ImportError) as error:
        raise UsageError(
            f"storage {shown(url)}: its database driver can't be loaded ({error}); "
            "use sqlite:/// or postgresql+psycopg2://"
        ) from None


def _is_missing(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists()


def _check_file(url: URL, create: bool) -> None:
    if not url.database or url.database == ":memory:":
        raise UsageError("storage sqlite:// in memory can't be shared with workers; name a file")
    file = Path(url.database)
    if create and not file.parent.is_dir():
        raise StorageError(f"database {file}: the folder {file.parent} does not exist")
    if file.is_dir():
        raise StorageError(f"database {file}: is a folder; name a file in it")
    if not _is_missing(url):
        return
    if not create:
        raise StorageError(f"no database {file}: {command(url, 'run', EXAMPLE)}, say, makes one")
    if not os.access(file.parent, os.W_OK):
        raise StorageError(f"database {file}: the folder {file.parent} can't be written to")
