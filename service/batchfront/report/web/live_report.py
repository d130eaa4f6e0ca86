"""The report, served: a page each is made anew when it has changed, while someone looks at it."""

from collections.abc import Iterable, Sequence
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from batchfront.frontier.queries import require
from batchfront.report.html import DASHBOARD, Dashboard
from batchfront.report.scripts import linked_scripts
from batchfront.report.web.answers import answer
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
        if path in encoded:
            lasting = [("Cache-Control", "max-age=31536000, immutable")]
            script = "text/javascript; charset=utf-8"
            return answer(environ, start, encoded[path], script, headers=lasting)
        page = pages.read(_workload(environ)) if path == "/" else None
        if page is None:
            said, plain = b"there is no such page; / has all\n", "text/plain; charset=utf-8"
            return answer(environ, start, said, plain, "404 Not Found")
        headers = [
            ("Content-Security-Policy", scripts.policy),
            ("Cache-Control", "no-cache"),  # kept by the browser, and asked for each time
            ("ETag", page.tag),
        ]
        if page.tag in environ.get("HTTP_IF_NONE_MATCH", ""):
            start("304 Not Modified", headers)
            return []
        return answer(environ, start, page.body, "text/html; charset=utf-8", headers=headers)

    return serve, pages


def _workload(environ: WSGIEnvironment) -> str:
    """The one whose page is asked for; empty of the first page."""
    asked = parse_qs(str(environ.get("QUERY_STRING", "")))
    return asked.get("workload", [INDEX])[0]
