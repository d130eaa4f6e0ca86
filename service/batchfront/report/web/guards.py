"""What stands between a browser and an application, whatever the application answers.

Each guard takes a WSGI application and gives one. None of them knows a user: whoever reaches the
server may read it.
"""

import json
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    # Beside a policy of the application's own, which a browser keeps as well.
    ("Content-Security-Policy", "frame-ancestors 'none'"),
]


def guarded(app: WSGIApplication, host: str) -> WSGIApplication:
    """What every server here has: headers that browsers heed, and on loopback the host check.

    host -- the address that the server listens on
    """
    app = _same_origin_changes(app)
    return _with_headers(_known_hosts(app) if is_loopback(host) else app)


def is_loopback(host: str) -> bool:
    """Whether an address is one that only this machine reaches: localhost, 127.0.0.1, ::1."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def only_reading(app: WSGIApplication, reason: str) -> WSGIApplication:
    """Answers GET and HEAD; anything else gets 405 and the reason, and never reaches `app`.

    It goes by the method of the request line alone: what a header or a form field says of the
    method (X-HTTP-Method-Override, `_method`) doesn't count, here or in what is behind.
    """

    def reading(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return app(environ, start)
        return refuse(start, "405 Method Not Allowed", reason, [("Allow", "GET, HEAD")])

    return reading


def refuse(
    start: StartResponse, status: str, reason: str, headers: Iterable[tuple[str, str]] = ()
) -> list[bytes]:
    """One line of JSON: what the Optuna dashboard's page reads a reason from, and a person can."""
    body = json.dumps({"reason": reason}).encode() + b"\n"
    about = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start(status, [*about, *headers])
    return [body]


def _known_hosts(app: WSGIApplication) -> WSGIApplication:
    """Answers only those who ask for this machine by a loopback name.

    Another site can let its own name point to 127.0.0.1 (DNS rebinding) and then read, in a
    visitor's browser, whatever a local server answers; but the Host header keeps the site's name.
    The port is left out of it: a tunnel (`ssh -L 9000:localhost:8080`) has another one.
    """

    def known(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        asked = environ.get("HTTP_HOST", "")
        if is_loopback(_name(asked)):
            return app(environ, start)
        reason = f"host {asked[:80]!r} is not this server's; ask for it as localhost"
        return refuse(start, "403 Forbidden", reason)

    return known


def _same_origin_changes(app: WSGIApplication) -> WSGIApplication:
    """Refuses a change that another site's page asks for in a visitor's browser."""

    def same(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD") or not _from_elsewhere(environ):
            return app(environ, start)
        return refuse(start, "403 Forbidden", "a page of another site may change nothing here")

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


def _name(host: str) -> str:
    """The name in a Host header, without its port; empty if it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
