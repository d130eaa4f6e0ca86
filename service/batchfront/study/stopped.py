"""What stopped the last run of a search before all was done, for whoever looks at it later."""

from sqlalchemy import update

from batchfront.store.database import Storage
from batchfront.store.schema import studies
from batchfront.study.study import Filter


def note_stop(storage: Storage, wanted: Filter, option: str | None) -> None:
    """Keep the option, as it was said, that has stopped a run of these studies; None: none has."""
    theirs = update(studies).where(wanted.clause())
    if option is None:
        theirs = theirs.where(studies.c.stopped_by.is_not(None))
    with storage.write() as conn:
        conn.execute(theirs.values(stopped_by=option))
