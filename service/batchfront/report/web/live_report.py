"""The report, served: a page each is made anew when it has changed, while someone looks at it."""

from collections.abc import Iterable, Sequence
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from batchfront.frontier.queries import require
from batchfront.report.html import DASHBOARD, Dashboard
from batchfront.report.scripts import linked_scripts
from batchfront.report.web.kept_pages import EVERY, PATIENCE, KeptPages
from batchfront.report.web.live_pages import INDEX, LivePages
from batchfront.store.database import Storage


def live_report(
    storage: Storage,
    workloads: Sequence[str],
    every: float = EVERY,
    dashboard: str = DASHBOARD,
    patience: float = PATIENCE,
) -> tuple[WSGIApplication, KeptPages]:
    """An application that serves the pages of these workloads, or of all, and the pages themselves.

    Raises UsageError for a workload without studies, or a dashboard at no http URL.
    """
    require(storage, workloads)
    scripts, files = linked_scripts()
    live = LivePages(storage, workloads, Dashboard(dashboard), scripts)
    pages = KeptPages(live.renew, live.waiting(), every, patience)
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
        page = pages.read(_workload(environ)) if path == "/" else None
        if page is None:
            plain = [("Content-Type", "text/plain; charset=utf-8")]
            said = b"there is no such page; / has all\n"
            return _answer(start, "404 Not Found", said, plain, head)
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

    return serve, pages


def _workload(environ: WSGIEnvironment) -> str:
    """The one whose page is asked for; empty of the first page."""
    asked = parse_qs(str(environ.get("QUERY_STRING", "")))
    return asked.get("workload", [INDEX])[0]


def _answer(
    start: StartResponse, status: str, body: bytes, headers: list[tuple[str, str]], head: bool
) -> list[bytes]:
    start(status, [*headers, ("Content-Length", str(len(body)))])
    return [] if head else [body]
