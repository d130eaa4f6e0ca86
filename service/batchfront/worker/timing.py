"""How long a workload's training takes on the devices that are here, part by part."""

from pathlib import Path

from batchfront.errors import UsageError
from batchfront.frontier.frontier import load_frontier
from batchfront.store.commands import command
from batchfront.store.database import Storage
from batchfront.study.code import spec_here
from batchfront.study.study import Filter, find_studies
from batchfront.training.device_names import has_no_gpu, refuse_more_processes
from batchfront.vocabulary import SEARCHES
from batchfront.worker.timed import Say, Subject, Timed, TimingOptions
from batchfront.workload import catalog
from batchfront.workload.outline import Outlined
from batchfront.workload.source import find_source
from batchfront.workload.trust import Trust
from batchfront.workload.workload import Workload


def time_workload(
    storage: Storage, named: str, options: TimingOptions, here: Path, say: Say = lambda _: None
) -> Timed:
    """Time a workload's training on the devices that are here. Nothing is stored.

    named -- the workload's name in the database, or what `plan` takes
    here  -- the folder in which a module is looked for first

    Raises UsageError for what can't be timed, UntrustedCode if its code may not run, IdentityError
    if that has changed since it was planned, and whatever its training does.
    """
    subject = _subject(storage, named, options, here)
    kind = subject.studies[0].kind if subject.studies else None
    # Late: each kind brings its own, and a workload torch.
    if kind is None:
        from batchfront.worker.timed_models import time_models

        return time_models(storage, subject, options, say)
    from batchfront.worker.timed_reports import time_reports

    return time_reports(storage, subject, options, say)


def _subject(storage: Storage, named: str, options: TimingOptions, here: Path) -> Subject:
    code = options.code
    with storage.read() as conn:
        there = find_studies(conn, Filter(purposes=SEARCHES))
    known = {study.workload for study in there}
    if named in known:
        return _planned(storage, named, code)
    outlined = catalog.look_up(named, here)
    if isinstance(outlined, Outlined):
        outlined.refuse_larger(options.batch_sizes or ())
        if has_no_gpu(options.device):
            refuse_more_processes(max(options.devices_per_trial))
    found = catalog.load(named, here)  # which its user has named, and so allowed
    if found.name in known:
        source = find_source(named, here)
        return _planned(
            storage, found.name, (*code, *map(str, () if source is None else source.places))
        )
    if not isinstance(found, Workload):
        raise UsageError(
            f"{found.name} is a {type(found).__name__.lower()}, whose steps are timed by running a "
            f"trial of it; plan it first: {command(storage, 'plan', named)}"
        )
    return Subject(found.name, catalog.spec_for_workers(named, here))


def _planned(storage: Storage, workload: str, code: tuple[str, ...]) -> Subject:
    """A workload that has studies."""
    with storage.read() as conn:
        studies = find_studies(conn, Filter((workload,), purposes=SEARCHES))
    studies.sort(key=lambda study: study.batch_size)
    if not studies[0].spec:
        raise UsageError(
            f"{workload} was imported, and its code isn't here to be timed; write what its steps "
            f"take into a file, and bring it in: {command(storage, 'import timings', 'FILE')}"
        )
    spec = spec_here(studies[0], Trust.of(code))
    return Subject(workload, spec, code, tuple(studies), load_frontier(storage, workload))
