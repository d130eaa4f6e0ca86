"""Studies whose trials ran elsewhere: there is no code here that could run more of them."""

from collections.abc import Iterable, Sequence

from service.commands import command
from service.database import Storage
from service.errors import UsageError
from service.slots import Filter, Study, find_studies


def refuse_imported(storage: Storage, studies: Iterable[Study]) -> None:
    """Raise UsageError, naming the first, if there are studies that were imported without code."""
    for study in studies:
        if not study.spec:
            raise UsageError(
                f"study {study.name} was imported, and there is no code here to run more of its "
                "trials; plan the workload under another name, or in another --storage, or delete "
                f"what is here: {command(storage, 'delete', study.workload)}"
            )


def require_code(storage: Storage, workloads: Sequence[str]) -> None:
    """Raise UsageError if one of these workloads, named by the user, was imported."""
    if workloads:
        with storage.read() as conn:
            refuse_imported(storage, find_studies(conn, Filter(tuple(workloads))))
