"""Making a study: its row beside Optuna's, with what Optuna's users are told of it."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select

from batchfront import __version__
from batchfront.errors import StorageError, UsageError
from batchfront.store.database import Storage
from batchfront.store.optuna_dashboard import note_attributes
from batchfront.store.optuna_tables import MARK, create_study, optuna_studies
from batchfront.store.schema import meta, studies
from batchfront.study.dashboard_note import study_note
from batchfront.study.study import Definition, Study, Unreadable, find_named


def wait_for_planners(conn: Connection) -> None:
    """Until this transaction ends, nobody else plans: whoever plans the same at this moment waits
    here, and then finds the studies made."""
    conn.execute(select(meta).where(meta.c.key == "schema").with_for_update())


def new_id(
    storage: Storage,
    conn: Connection,
    name: str,
    attributes: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> int:
    """Make Optuna's study of a new one, under an id that no row of ours has: an orphan keeps its
    own, which SQLite would give to the next study.

    attributes, settings -- for users of the study, and for Optuna and its dashboard

    Raises StorageError if there is one of this name that can't be read, and UsageError if somebody
    else's study has the name.
    """
    if isinstance(there := find_named(conn, name), Unreadable):
        raise StorageError(there.told(storage.url))
    if optuna_studies(conn, name):
        raise UsageError(
            f"{storage} holds an Optuna study named {name} that isn't batchfront's: delete it with "
            "Optuna, or choose another name or --storage"
        )
    taken = set(conn.execute(select(studies.c.id)).scalars())
    return create_study(conn, name, {MARK: __version__, **attributes}, settings, taken=taken)


def add_study(storage: Storage, conn: Connection, study: Definition) -> Study:
    """Store a definition, whose name is new, as a study without slots. Raises UsageError as
    `new_id` does."""
    attributes = {
        "workload": study.workload,
        "batch_size": study.batch_size,
        "goal": dict(study.identity["goal"]),
    }
    note = note_attributes(study_note(study))
    made = Study(**study.columns, id=new_id(storage, conn, study.name, attributes, note))
    conn.execute(insert(studies).values(**made.to_row(), created_at=storage.now))
    return made
