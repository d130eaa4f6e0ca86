"""The report page, served: made anew when the database has changed, while someone looks at it."""

from collections.abc import Iterable, Sequence
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from batchfront.frontier.queries import last_change, require
from batchfront.report.data import load_subjects
from batchfront.report.html import DASHBOARD, Dashboard
from batchfront.report.page import page as page_of
from batchfront.report.scripts import linked_scripts
from batchfront.report.web.kept_page import EVERY, PATIENCE, KeptPage
from batchfront.store.database import Storage


def live_report(
    storage: Storage,
    workloads: Sequence[str],
    every: float = EVERY,
    dashboard: str = DASHBOARD,
    patience: float = PATIENCE,
) -> tuple[WSGIApplication, KeptPage]:
    """An application that serves the page of these workloads, or of all, and the page itself.

    Raises UsageError for a workload without studies, or a dashboard at no http URL.
    """
    require(storage, workloads)
    linked = Dashboard(dashboard)
    scripts, files = linked_scripts()

    def renew(before: object) -> tuple[object, str] | None:
        with storage.read() as moment:
            state = last_change(moment, workloads)
            if state == before:
                return None
            subjects = load_subjects(moment, workloads, linked)
        return state, page_of(subjects, scripts, linked)

    kept = KeptPage(renew, every, patience)
    encoded = {f"/{name}": text.encode() for name, text in files.items()}

    def serve(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO") or "/"
        head = environ["REQUEST_METHOD"] == "HEAD"
        if path in encoded:
            lasting = [
                ("Content-Type", "text/javascript; charset=utf-8"),
                ("Cache-Control", "max-age=31536000, immutable"),
            ]
            return _answer(start, "200 OK", encoded[path], lasting, head)
        if path != "/":
            plain = [("Content-Type", "text/plain; charset=utf-8")]
            return _answer(start, "404 Not Found", b"there is only one page, /\n", plain, head)
        page = kept.read()
        headers = [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Security-Policy", scripts.policy),
            ("Cache-Control", "no-cache"),  # kept by the browser, and asked for each time
            ("ETag", page.tag),
        ]
        if page.tag in environ.get("HTTP_IF_NONE_MATCH", ""):
            start("304 Not Modified", headers[1:])
            return []
        return _answer(start, "200 OK", page.body, headers, head)

    return serve, kept


def _answer(
    start: StartResponse, status: str, body: bytes, headers: list[tuple[str, str]], head: bool
) -> list[bytes]:
    start(status, [*headers, ("Content-Length", str(len(body)))])
    return [] if head else [body]
