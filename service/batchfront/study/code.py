"""The code of a study's workload on this machine: which may be loaded, and which is meant."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import exists, select

from batchfront.errors import IdentityError, UsageError
from batchfront.store.commands import command
from batchfront.store.database import Storage
from batchfront.store.schema import free, imported, slots, studies
from batchfront.study.study import Filter, Study, find_studies
from batchfront.study.variants import base_of
from batchfront.workload import catalog
from batchfront.workload.source import Source, find_source
from batchfront.workload.sweep_file import read_sweep_file
from batchfront.workload.trust import Trust


def spec_here(study: Study, trust: Trust) -> str:
    """The spec by which a study's workload is loaded here, if that may be.

    Raises UntrustedCode if nobody has said so, and IdentityError, before anything of it runs, if
    its files aren't those that the study was planned with.
    """
    try:
        return trust.spec(study.workload, study.spec, study.checksums)
    except IdentityError as error:
        variant = () if study.variant is None else ("--variant", study.variant)
        raise IdentityError(str(error), (study.spec, *variant, "--accept-changes")) from None


@dataclass(frozen=True)
class Meant:
    """What a command's workloads come to: the names of planned ones, and the files that they were
    named by, whose code may run."""

    names: tuple[str, ...]
    code: tuple[str, ...]


def meant(storage: Storage, workloads: Sequence[str], here: Path) -> Meant:
    """Find the planned workloads that a user has named, by their names or by what `plan` took.

    Nothing of a file is run for it. Raises UsageError for a file that no study was planned from.
    """
    if not any(map(catalog.is_of_a_file, workloads)):
        return Meant(tuple(workloads), ())
    with storage.read() as conn:
        there = find_studies(conn, Filter())
    known = {study.workload for study in there}
    names: list[str] = []
    code: list[str] = []
    for given in workloads:
        if given in known or not catalog.is_of_a_file(given):
            names.append(given)
            continue
        source = find_source(given, here)
        if source is None:
            raise UsageError(f"there is no file of {given} here")
        of_it = dict.fromkeys(study.workload for study in _planned_from(source, there))
        if not of_it:
            raise UsageError(
                f"nothing in {storage} was planned from {given}: {command(storage, 'plan', given)}"
            )
        names += of_it
        code += map(str, source.places)
    return Meant(tuple(dict.fromkeys(names)), tuple(code))


def open_without_code(storage: Storage, wanted: Filter) -> list[str]:
    """The workloads whose trials aren't all done, and which nobody can run here: they were
    imported."""
    some = exists().where(slots.c.study_id == studies.c.id, free)
    query = select(studies.c.workload).where(wanted.clause(), imported, some).distinct()
    with storage.read() as conn:
        return list(conn.execute(query.order_by(studies.c.workload)).scalars())


def _planned_from(source: Source, there: Iterable[Study]) -> Iterable[Study]:
    """The studies that were planned from a file, here or, as far as can be told, elsewhere."""
    program = None
    if catalog.is_sweep_file(source.path.name):
        program = read_sweep_file(source.file).program.name
    checksums = source.checksums()
    for study in there:
        if program is not None:
            if study.kind == "program" and base_of(study.workload, study.variant) == program:
                yield study
            continue
        planned = find_source(study.spec)
        same_file = planned is not None and planned.file == source.file
        function = "" if study.spec.endswith(".py") else study.spec.rpartition(":")[2]
        same_function = not (source.function and function) or source.function == function
        if same_function and (same_file or study.checksums == checksums):
            yield study
