"""What stands between a browser and an application, whatever the application answers.

Each guard takes a WSGI application and gives one. None of them knows a user: who may read is up to
`behind_login`.
"""

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from batchfront.report.web.answers import refuse
from batchfront.report.web.hosts import known_hosts

_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    # Beside a policy of the application's own, which a browser keeps as well.
    ("Content-Security-Policy", "frame-ancestors 'none'"),
]


def guarded(app: WSGIApplication, host: str, allowed: Sequence[str] = ()) -> WSGIApplication:
    """What every server here has: headers that browsers heed, and the host check.

    host    -- the address that the server listens on
    allowed -- names that it may be asked for by, beside those that `known_hosts` says
    """
    return _with_headers(known_hosts(_same_origin_changes(app), host, allowed))


def only_reading(app: WSGIApplication, reason: str) -> WSGIApplication:
    """Answers GET and HEAD; anything else gets 405 and the reason, and never reaches `app`.

    It goes by the method of the request line alone: what a header or a form field says of the
    method (X-HTTP-Method-Override, `_method`) doesn't count, here or in what is behind.
    """

    def reading(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return app(environ, start)
        return refuse(environ, start, "405 Method Not Allowed", reason, [("Allow", "GET, HEAD")])

    return reading


def _same_origin_changes(app: WSGIApplication) -> WSGIApplication:
    """Refuses a change that another site's page asks for in a visitor's browser."""

    def same(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD") or not _from_elsewhere(environ):
            return app(environ, start)
        return refuse(
            environ, start, "403 Forbidden", "a page of another site may change nothing here"
        )

    return same


def _from_elsewhere(environ: WSGIEnvironment) -> bool:
    """Whether the browser says that another site's page asks. Other programs say nothing."""
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None:  # what the browser itself found, whatever a proxy made of the host
        return site not in ("same-origin", "none")
    origin = environ.get("HTTP_ORIGIN")
    return origin is not None and _netloc(origin) != environ.get("HTTP_HOST", "").lower()


def _with_headers(app: WSGIApplication) -> WSGIApplication:
    def answering(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        def started(status, headers, *error):  # type: ignore[no-untyped-def]
            return start(status, [*headers, *_HEADERS], *error)

        return app(environ, started)

    return answering


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
