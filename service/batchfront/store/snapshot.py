"""One moment of a database, for all that is read together."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from batchfront.store.database import Storage
from batchfront.store.url import open_storage

Source = Storage | Connection | str
"""What can be read: a database, its URL, or one moment of it, as `snapshot` opens it."""


@contextmanager
def snapshot(source: Source) -> Iterator[Connection]:
    """Open one moment of a database: whatever is read through it, no write in between is seen.

    Given such a moment, it is that one. Raises what `open_storage` does of a URL.
    """
    if isinstance(source, Connection):
        yield source
        return
    storage = open_storage(source) if isinstance(source, str) else source
    try:
        with storage.read() as moment:
            yield moment
    finally:
        if isinstance(source, str):
            storage.close()
