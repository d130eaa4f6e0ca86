"""What each served page shows: the index of a database's workloads, and the page of each."""

from collections.abc import Mapping, Sequence
from time import thread_time
from urllib.parse import quote

from markupsafe import Markup
from sqlalchemy import Connection

from batchfront.advice.timings import last_timed
from batchfront.frontier.curve import Asked
from batchfront.frontier.frontier import load_frontiers
from batchfront.frontier.queries import (
    Progress,
    how_far,
    last_change,
    load_progress,
    workload_names,
)
from batchfront.report.data import left_out, load_subjects
from batchfront.report.html import Dashboard, Part
from batchfront.report.index import COMPARED, Answers, index_page
from batchfront.report.options import PageOptions
from batchfront.report.page import Where, framed, page, unreadable_page
from batchfront.report.scripts import Scripts
from batchfront.report.sections.study import trial_files
from batchfront.report.table_files import beside
from batchfront.report.text import fitted
from batchfront.report.web.kept_pages import Fresh, Made, NoSuchPage
from batchfront.store.database import Storage

INDEX = ""
"""The name of the first page: the index of all workloads, or the page of the only one."""

_AT_ONCE = 1.0  # seconds of CPU for which answers are worked out before they are shown


class LivePages:
    """The pages of these workloads, or of all, each by the name of its workload; and INDEX.

    The page of a workload is made anew when something of that workload has changed, or its steps
    were timed. The index counts trials, and works out the answers of those workloads alone that
    have changed since.
    """

    def __init__(
        self,
        storage: Storage,
        workloads: Sequence[str],
        dashboard: Dashboard,
        scripts: Scripts,
        asked: PageOptions,
    ) -> None:
        self._storage, self._workloads = storage, tuple(workloads)
        self._dashboard, self._scripts, self._asked = dashboard, scripts, asked
        self._answers: dict[str, tuple[object, Answers]] = {}  # and of which change

    def renew(self, name: str, before: object) -> Fresh | None:
        """What a page is to show now; None where that is what it showed `before`. Raises NoSuchPage
        for a workload that isn't there."""
        with self._storage.read() as moment:
            there = [
                workload
                for workload in workload_names(moment)
                if workload in self._workloads or not self._workloads
            ]
            if name != INDEX and name not in there:
                raise NoSuchPage
            if name == INDEX and len(there) > 1:
                return self._index(moment, there, before)
            return self._page(moment, name or "".join(there), before, alone=len(there) < 2)

    def waiting(self) -> str:
        """What any page is while it is made for the first time."""
        body = Part('<p class="reading" role="status">This page is being made.</p>')
        return framed("batchfront", Markup(), body, self._scripts, self._dashboard, soon=True)

    def _page(
        self, moment: Connection, workload: str, before: object, *, alone: bool
    ) -> Fresh | None:
        wanted = [workload] if workload else []
        changes: tuple[object, ...] = ()
        if wanted:
            of_trials = last_change(moment, wanted), how_far(moment, workload)
            changes = (*of_trials, last_timed(moment, workload))
        state = (changes, alone)
        if state == before:
            return None
        where = Where(_address(workload), "" if alone else _address(INDEX))
        subjects = load_subjects(moment, wanted, self._dashboard, self._asked) if wanted else []
        if wanted and not subjects:
            why = left_out(moment, workload)
            return Fresh(
                state,
                lambda: Made(
                    unreadable_page(workload, why, self._scripts, self._dashboard, where), {}
                ),
            )

        def make() -> Made:
            text, files = beside(page(subjects, self._scripts, self._dashboard, where), where.page)
            return Made(text, files | trial_files(subjects))

        return Fresh(state, make)

    def _index(self, moment: Connection, there: Sequence[str], before: object) -> Fresh | None:
        found = load_progress(moment, self._workloads)
        progress = {name: found[name] for name in there}
        self._work_out(moment, progress)
        of = {name: change for name, (change, _) in self._answers.items()}
        if (progress, of) == before:
            return None
        answers = {name: said for name, (_, said) in self._answers.items()}
        owed = sum(of.get(name) != one.change for name, one in progress.items())

        def make() -> Made:
            where = Where(_address(INDEX))
            text = index_page(
                progress,
                answers,
                owed,
                _address,
                self._scripts,
                self._dashboard,
                where,
                self._asked.curve,
            )
            return Made(*beside(text, ""))

        return Fresh((progress, of), make, whole=len(answers) == len(progress))

    def _work_out(self, moment: Connection, progress: Mapping[str, Progress]) -> None:
        """The answers that are missing, then those of workloads that have changed, the ones that
        have waited for longest first, for a while."""
        compared = len(progress) <= COMPARED
        kept = {name: one for name, one in self._answers.items() if name in progress}
        old = [name for name, (change, _) in kept.items() if change != progress[name].change]
        until = thread_time() + _AT_ONCE
        for name in [*(name for name in progress if name not in kept), *old]:
            if thread_time() > until:
                break
            kept.pop(name, None)  # the latest comes last
            kept[name] = progress[name].change, _answers(moment, name, self._asked.curve, compared)
        self._answers = kept


def _answers(moment: Connection, workload: str, asked: Asked, compared: bool) -> Answers:
    why = left_out(moment, workload)
    for frontier in load_frontiers(moment, (workload,)):
        return Answers.of(frontier, fitted(frontier, asked), why, compared=compared)
    return Answers(notes=len(why), left_out=why)


def _address(workload: str) -> str:
    return f"?workload={quote(workload, safe='/')}" if workload else "./"
