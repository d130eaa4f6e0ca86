"""Whether a server can do its work: for load balancers and containers, which ask often."""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from sqlalchemy import select

from batchfront.report.web.answers import answer
from batchfront.report.web.latest import Latest
from batchfront.store.database import Storage

HEALTH = "/healthz"


def answering(storage: Storage, every: float, patience: float) -> Latest[bool]:
    """Whether the database answers; `every` and `patience` as `Latest` has them."""

    def answers() -> bool:
        with storage.read() as conn:
            conn.execute(select(1))
        return True

    return Latest(answers, every, patience)


def with_health(
    app: WSGIApplication, storage: Storage, every: float = 2.0, patience: float = 2.0
) -> WSGIApplication:
    """Answers /healthz, and leaves everything else to `app`: 200 and "ok" where the database
    answers, 503 and "unavailable" where it doesn't.

    It needs no login, and tells nothing else.

    every    -- seconds between two questions to the database, at least
    patience -- seconds that it may take to answer
    """

    latest = answering(storage, every, patience)

    def asking(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != HEALTH or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return app(environ, start)
        well = latest.get()
        body, status = (
            (b"ok\n", "200 OK") if well else (b"unavailable\n", "503 Service Unavailable")
        )
        kind, headers = "text/plain; charset=utf-8", [("Cache-Control", "no-store")]
        return answer(environ, start, body, kind, status, headers)

    return asking
