"""Studies as they were planned while there was --halving."""

import json

from sqlalchemy import select, update

from batchfront.store.database import Storage
from batchfront.store.schema import studies


def halve(storage: Storage) -> None:
    """Make all studies ones that were planned with it."""
    with storage.write() as conn:
        for row in conn.execute(select(studies.c.id, studies.c.identity)).all():
            identity = json.loads(row.identity)
            identity["search"]["halving"] = True
            changed = update(studies).where(studies.c.id == row.id)
            conn.execute(changed.values(identity=json.dumps(identity)))
