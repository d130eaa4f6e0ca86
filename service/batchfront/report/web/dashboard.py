"""The dashboard as a WSGI application."""

import json
import re
from collections.abc import Callable, Container, ItemsView, Iterable, Iterator, Mapping
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from optuna.storages import RDBStorage
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard import wsgi  # type: ignore[attr-defined]
from sqlalchemy import event, select

from batchfront.frontier.frontier import load_frontiers
from batchfront.frontier.queries import last_change
from batchfront.report.web.answers import answer, refuse
from batchfront.report.web.dashboard_figure import NAME, frontier_figure
from batchfront.report.web.dashboard_trials import importances, show
from batchfront.report.web.guards import only_reading
from batchfront.report.web.health import answering
from batchfront.store.commands import command
from batchfront.store.database import Storage, engine_options
from batchfront.store.optuna_dashboard import figure_attributes, without_figure
from batchfront.store.schema import studies


class Studies(RDBStorage):
    """The studies of a database, each with the figure of its workload as it is now.

    Unless `changes`, the connections refuse to write, whatever is asked of them: a role that can
    only read is enough, and one that can write changes nothing.

    fresh -- seconds for which a figure is shown again without a look at the database
    """

    def __init__(self, storage: Storage, changes: bool, fresh: float = 2.0) -> None:
        url = storage.url.render_as_string(hide_password=False)
        super().__init__(url, _engine_options(storage, changes), skip_table_creation=True)
        if storage.engine.dialect.name == "sqlite" and not changes:
            self.engine.dispose()  # what was opened before the listener
            event.listen(self.engine, "connect", _query_only)
        self._storage = storage
        self._figures = _Figures(storage, fresh)

    def get_all_studies(self) -> list[FrozenStudy]:
        """As Optuna has them, and each with its figure."""
        found = super().get_all_studies()
        for study in found:
            study.system_attrs = _WithFigure(study, self._figures)
        return found

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """As Optuna has them, with what batchfront knows of them."""
        found = super().get_all_trials(study_id, deepcopy, states)
        with self._storage.read() as moment:
            show(moment, study_id, found)
        return found


def _engine_options(storage: Storage, changes: bool) -> dict[str, Any]:
    options = engine_options(storage.url)
    if storage.engine.dialect.name == "sqlite":
        return options
    pool = {"pool_size": 2, "max_overflow": 6}
    return options | pool | {"execution_options": {"postgresql_readonly": not changes}}


def _query_only(connection: Any, _: object) -> None:
    connection.execute("PRAGMA query_only=ON")


class _Figures:
    """The workloads' figures, each drawn again when its frontier may have changed."""

    def __init__(self, storage: Storage, fresh: float) -> None:
        self._storage, self._fresh = storage, fresh
        self._lock = Lock()
        self._drawn: dict[str, tuple[float, object, dict[str, str]]] = {}

    def of_study(self, study_id: int) -> dict[str, str]:
        """The attributes of a study's figure; none for a study that is not batchfront's."""
        query = select(studies.c.workload).where(studies.c.id == study_id)
        with self._lock:
            with self._storage.read() as moment:
                workload = moment.execute(query).scalar_one_or_none()
                if workload is None:
                    return {}
                read_at, state, drawn = self._drawn.get(workload, (0.0, None, {}))
                if drawn and monotonic() - read_at < self._fresh:
                    return drawn
                now = last_change(moment, (workload,))
                changed = [] if now == state else load_frontiers(moment, (workload,))
            for frontier in changed:
                drawn = figure_attributes(NAME, frontier_figure(frontier))
            self._drawn[workload] = (monotonic(), now, drawn)
            return drawn


class _WithFigure(dict[str, Any]):
    """A study's system attributes, with its figure once someone goes through all of them.

    The dashboard reads every study for each page, and figures for the one on it; drawing those
    of all workloads each time would take long.
    """

    def __init__(self, study: FrozenStudy, figures: _Figures) -> None:
        super().__init__(without_figure(study.system_attrs, NAME))
        self._figure: Callable[[], Mapping[str, str]] | None = lambda: figures.of_study(
            study._study_id
        )

    def __iter__(self) -> Iterator[str]:
        self._draw()
        return super().__iter__()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        self._draw()
        return super().items()

    def _draw(self) -> None:
        if self._figure is not None:
            draw, self._figure = self._figure, None
            self.update(draw())


def dashboard(
    storage: Storage, *, changes: bool = False, fresh: float = 2.0, patience: float = 5.0
) -> WSGIApplication:
    """The Optuna dashboard on a database, with the frontier's figure on each study's page.

    Unless `changes`, only GET and HEAD are answered: the dashboard's own page needs nothing else
    to show what there is, all its other requests are changes. None of what it answers to a GET
    writes, and the database would refuse it. A figure is shown again for `fresh` seconds,
    and the database is given `patience` seconds to answer.
    """
    shown = Studies(storage, changes, fresh)
    app = _while_the_database_answers(_with_importances(wsgi(shown), shown), storage, patience)
    if changes:
        return app
    editable = command(storage, "dashboard", "--allow-changes")
    return only_reading(app, f"this dashboard is for reading; {editable} makes it editable")


_IMPORTANCES = re.compile(r"/api/studies/([0-9]+)/param_importances")


def _with_importances(app: WSGIApplication, shown: Studies) -> WSGIApplication:
    """Tells importances of all trials that are shown with a value. The dashboard itself goes by
    those alone that are complete, of which a race has one."""

    def telling(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        asked = _IMPORTANCES.fullmatch(environ.get("PATH_INFO", ""))
        found = None
        if asked is not None and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            with suppress(KeyError):  # there is no such study, as the dashboard says
                found = importances(shown.get_all_trials(int(asked[1]), deepcopy=False))
        if found is None:
            return app(environ, start)
        body = json.dumps({"param_importances": [found]}).encode()
        return answer(environ, start, body, "application/json")

    return telling


def _while_the_database_answers(
    app: WSGIApplication, storage: Storage, patience: float
) -> WSGIApplication:
    """Says that the database is away, where the dashboard would say "internal server error" and
    log a page of its code for each request. Of many requests one asks the database: while it hangs,
    the others would wait for each other's connections."""
    there = answering(storage, 0.0, patience)

    def asking(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if not there.get():
            return refuse(environ, start, "503 Service Unavailable", "the database does not answer")
        # The dashboard takes it for granted, and clients needn't send it.
        environ.setdefault("HTTP_ACCEPT_ENCODING", "identity")
        return app(environ, start)

    return asking
