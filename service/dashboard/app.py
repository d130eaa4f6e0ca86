"""The dashboard as a WSGI application."""

import logging
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from optuna_dashboard import wsgi  # type: ignore[attr-defined]
from sqlalchemy import select

from service.commands import command
from service.dashboard.studies import Studies
from service.database import Storage
from service.errors import StorageError
from service.web import only_reading, refuse

log = logging.getLogger(__name__)


def dashboard(storage: Storage, *, changes: bool = False) -> WSGIApplication:
    """The Optuna dashboard on a database, with the frontier's figure on each study's page.

    Unless `changes`, only GET and HEAD are answered: the dashboard's own page needs nothing else
    to show what there is, all its other requests are changes. None of what it answers to a GET
    writes, and the database would refuse it.
    """
    app = _while_the_database_answers(wsgi(Studies(storage, changes)), storage)
    if changes:
        return app
    editable = command(storage, "dashboard", "--allow-changes")
    return only_reading(app, f"this dashboard is for reading; {editable} makes it editable")


def _while_the_database_answers(app: WSGIApplication, storage: Storage) -> WSGIApplication:
    """Says that the database is away, where the dashboard would say "internal server error" and
    log a page of its code for each request."""
    away = False

    def asking(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        nonlocal away
        try:
            with storage.read() as conn:
                conn.execute(select(1))
        except StorageError as error:
            if not away:
                log.warning("%s", error)
            away = True
            return refuse(start, "503 Service Unavailable", "the database does not answer")
        away = False
        return app(environ, start)

    return asking
