"""The report as files: one page of a few workloads, or an index with a page for each of many."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection

from batchfront.errors import BatchfrontError
from batchfront.frontier.queries import load_progress, require, require_some, workload_names
from batchfront.report.data import Subject, left_out, load_subjects
from batchfront.report.html import Dashboard
from batchfront.report.index import COMPARED, Answers, index_page
from batchfront.report.options import NOTHING_MORE, PageOptions
from batchfront.report.page import Where, page, unreadable_page
from batchfront.report.scripts import inline_scripts, shared_scripts
from batchfront.report.table_files import stem
from batchfront.store.snapshot import Source, snapshot
from batchfront.whole_file import require_place, writing

TOGETHER = COMPARED
"""So many workloads are written on one page."""

INDEX = "index.html"


def write_report(
    source: Source,
    workloads: Sequence[str],
    path: Path,
    dashboard: str | None = None,
    advance: Callable[[int], None] = lambda _: None,
    asked: PageOptions = NOTHING_MORE,
) -> Path:
    """Write the report of these workloads, or of all in the database when none are named.

    path      -- of one page. With more workloads than TOGETHER it is their index, and their pages
                 go into the folder `NAME_files` beside it. In a folder, the index is INDEX and the
                 pages are beside it, however few
    dashboard -- the URL of the Optuna dashboard that the trials are linked to, if they are
    advance   -- told how many workloads more have been written
    asked     -- what is asked of the pages

    All is read in one moment, and of many workloads one is held in memory at a time. Returns the
    path of the page or index. Raises UsageError for an unknown workload or a dashboard at no http
    URL, and as `batchfront.whole_file.require_place` and `write_page` do.
    """
    folder = path.is_dir()
    require_place(path, folders=True)
    linked = Dashboard(dashboard)
    with snapshot(source) as moment:
        require(moment, workloads)
        require_some(moment)
        there = workload_names(moment)
        named = [name for name in there if name in workloads or not workloads]
        if folder:
            return _write_each(moment, named, path / INDEX, "", linked, advance, asked)
        if len(named) > TOGETHER:
            beside = f"{path.stem}_files"
            return _write_each(moment, named, path, f"{beside}/", linked, advance, asked)
        subjects = load_subjects(moment, named, linked, asked)
    write_page(subjects, path, linked)
    advance(len(named))
    return path


def write_page(subjects: Sequence[Subject], path: Path, dashboard: Dashboard) -> Path:
    """Write the page of workloads that have been read.

    An existing file is replaced in one step, so that a reader never sees half a page. Returns the
    path. Raises BatchfrontError where the file can't be written.
    """
    _write(path, page(subjects, inline_scripts(), dashboard))
    return path


def _write_each(
    moment: Connection,
    workloads: Sequence[str],
    path: Path,
    beside: str,
    dashboard: Dashboard,
    advance: Callable[[int], None],
    asked: PageOptions,
) -> Path:
    """Write a page for each of these workloads, and last the index of them at this path.

    beside -- what leads from the index to the pages: empty, or a folder's name and a slash
    """
    folder = path.parent / beside
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise BatchfrontError(f"report {folder}: can't be made: {error.strerror}") from error
    scripts, files = shared_scripts()
    for name, text in files.items():
        _write(folder / name, text)
    where = Where(index=f"{'../' if beside else ''}{quote(path.name)}")
    answers: dict[str, Answers] = {}
    compared = len(workloads) <= COMPARED
    for name in workloads:
        why = left_out(moment, name)
        subjects = load_subjects(moment, (name,), dashboard, asked)
        if subjects:
            text = page(subjects, scripts(""), dashboard, where)
            (one,) = subjects
            answers[name] = Answers.of(one.frontier, one.fitted, why, compared=compared)
        else:
            text = unreadable_page(name, why, scripts(""), dashboard, where)
            answers[name] = Answers(notes=len(why), left_out=why)
        _write(folder / _file_name(name), text)
        advance(1)
    progress = load_progress(moment)
    index = index_page(
        {name: progress[name] for name in workloads},
        answers,
        0,
        lambda name: quote(f"{beside}{_file_name(name)}"),
        scripts(quote(beside)),
        dashboard,
        asked=asked.curve,
    )
    _write(path, index)
    return path


def _write(path: Path, text: str) -> None:
    with writing(path, "report") as file:
        file.write_text(text, encoding="utf-8")


def _file_name(workload: str) -> str:
    """That of a workload's page: the same whatever else there is, and no other's."""
    return f"{stem(workload)}-{sha256(workload.encode()).hexdigest()[:8]}.html"
