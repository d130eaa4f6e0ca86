"""Making a study: its row beside Optuna's, with what Optuna's users are told of it."""

from sqlalchemy import Connection, insert, select

from batchfront import __version__
from batchfront.store.database import Storage
from batchfront.store.optuna_dashboard import note_attributes
from batchfront.store.optuna_tables import create_study
from batchfront.store.schema import meta, studies
from batchfront.study.dashboard_note import study_note
from batchfront.study.study import Definition, Study


def wait_for_planners(conn: Connection) -> None:
    """Until this transaction ends, nobody else plans: whoever plans the same at this moment waits
    here, and then finds the studies made."""
    conn.execute(select(meta).where(meta.c.key == "schema").with_for_update())


def add_study(storage: Storage, conn: Connection, study: Definition) -> Study:
    """Store a definition, whose name is new, as a study without slots."""
    attributes = {
        "workload": study.workload,
        "batch_size": study.batch_size,
        "goal": dict(study.identity["goal"]),
        "batchfront": __version__,
    }
    note = note_attributes(study_note(study))
    made = Study(**study.columns, id=create_study(conn, study.name, attributes, note))
    conn.execute(insert(studies).values(**made.to_row(), created_at=storage.now))
    return made
