"""The report, served: a page each is made anew when it has changed, while someone looks at it."""

from collections.abc import Iterable, Sequence
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from batchfront.frontier.queries import require
from batchfront.report.html import Dashboard
from batchfront.report.options import NOTHING_MORE, PageOptions
from batchfront.report.scripts import linked_scripts
from batchfront.report.web.answers import VARIES, answer
from batchfront.report.web.kept_pages import EVERY, PATIENCE, KeptPages, Page
from batchfront.report.web.live_pages import INDEX, LivePages
from batchfront.store.database import Storage

_TABLES = "/tables/"


def live_report(
    storage: Storage,
    workloads: Sequence[str],
    every: float = EVERY,
    dashboard: str | None = None,
    patience: float = PATIENCE,
    asked: PageOptions = NOTHING_MORE,
) -> tuple[WSGIApplication, KeptPages]:
    """An application that serves the pages of these workloads, or of all, and the pages themselves.

    asked -- what is asked of the pages

    Raises UsageError for a workload without studies, or a dashboard at no http URL.
    """
    require(storage, workloads)
    scripts, files = linked_scripts()
    live = LivePages(storage, workloads, Dashboard(dashboard), scripts, asked)
    pages = KeptPages(live.renew, live.waiting(), every, patience)
    encoded = {f"/{name}": text.encode() for name, text in files.items()}

    def serve(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO") or "/"
        if path in encoded:
            lasting = [("Cache-Control", "max-age=31536000, immutable")]
            script = "text/javascript; charset=utf-8"
            return answer(environ, start, encoded[path], script, headers=lasting)
        of_table = path.startswith(_TABLES)
        page = pages.read(_workload(environ)) if path == "/" or of_table else None
        if page is None:
            said, plain = b"there is no such page; / has all\n", "text/plain; charset=utf-8"
            return answer(environ, start, said, plain, "404 Not Found")
        if of_table:
            return _table(environ, start, page, path.removeprefix(_TABLES))
        headers = [
            ("Content-Security-Policy", scripts.policy),
            ("Cache-Control", "no-cache"),  # kept by the browser, and asked for each time
            ("ETag", page.tag),
        ]
        if page.tag in environ.get("HTTP_IF_NONE_MATCH", ""):
            start("304 Not Modified", [*headers, VARIES])
            return []
        return answer(environ, start, page.body, "text/html; charset=utf-8", headers=headers)

    return serve, pages


def _table(environ: WSGIEnvironment, start: StartResponse, page: Page, name: str) -> list[bytes]:
    """Answer with a file of the page's tables."""
    plain = "text/plain; charset=utf-8"
    if page.files is None:
        said, soon = b"the page is being made; ask again in a moment\n", [("Retry-After", "3")]
        return answer(environ, start, said, plain, "503 Service Unavailable", soon)
    if name not in page.files:
        said = f"the page has no such table; it has {', '.join(page.files)}\n".encode()
        return answer(environ, start, said, plain, "404 Not Found")
    file, fresh = page.files[name], [("Cache-Control", "no-cache")]
    return answer(environ, start, file.content.encode(), file.kind, headers=fresh)


def _workload(environ: WSGIEnvironment) -> str:
    """The one whose page is asked for; empty of the first page."""
    asked = parse_qs(str(environ.get("QUERY_STRING", "")))
    return asked.get("workload", [INDEX])[0]
