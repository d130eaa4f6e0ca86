"""Everything there is to look at, in order."""

from collections.abc import Iterator, Mapping, Sequence

from batchfront.doctor.database import examine_database
from batchfront.doctor.finding import Finding, failure
from batchfront.doctor.machine import examine_machine
from batchfront.doctor.studies import examine_studies
from batchfront.doctor.timings import examine_timings
from batchfront.doctor.workers import examine_workers, load_workers
from batchfront.errors import StorageError
from batchfront.store.url import open_storage
from batchfront.workload.trust import Trust


def examine(url: str, folders: Mapping[str, str], code: Sequence[str] = ()) -> list[Finding]:
    """Look at a database, its workers and studies, and at this machine.

    folders -- what a folder is for, to the folder or fsspec URL that workers here would use
    code    -- the files and folders whose code they would be told to trust

    Returns what was found, also where the database can't be opened. Raises UsageError for a URL
    that can't be meant, or code that isn't there.
    """
    trust = Trust.of(code)
    found: list[Finding] = []
    try:
        found.extend(_stored(url, trust))  # as far as it comes
    except StorageError as error:
        found.append(failure("database", str(error)))
    return found + list(examine_machine(folders))


def _stored(url: str, trust: Trust) -> Iterator[Finding]:
    storage = open_storage(url)
    try:
        yield from examine_database(storage)
        there = load_workers(storage)
        yield from examine_workers(storage, there)
        yield from examine_studies(storage, sum(worker.alive for worker in there), trust)
        yield from examine_timings(storage)
    finally:
        storage.close()
