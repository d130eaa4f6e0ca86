"""A login for pages that are shown to others: whoever has the token, and nobody else, gets through.

Programs send it with each request (`Authorization: Bearer TOKEN`). A browser gives it once, on the
login page or as `?token=TOKEN`, and has a cookie from then on; the address that it is sent on to,
and so its history and what it tells other servers, is without the token.
"""

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from urllib.parse import parse_qs, parse_qsl, quote, urlencode
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from markupsafe import Markup

from batchfront.report.html import rendered
from batchfront.report.scripts import asset
from batchfront.report.web.answers import answer, refuse
from batchfront.report.web.token import Token

LOGIN = "/login"

_LARGEST_FORM = 16_384  # bytes

_WRONG = "That is not this server's token."

_ASKED = "This page is shown to who has its token."

_NEEDED = "this needs the server's token: Authorization: Bearer TOKEN, or ?token=TOKEN once"


def behind_login(app: WSGIApplication, token: Token) -> WSGIApplication:
    """Lets those through to `app` who have the token; what may be done there is the same for all.

    The application sees neither the token nor the cookie.
    """

    def asking(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        scheme, _, said = environ.pop("HTTP_AUTHORIZATION", "").partition(" ")
        known = token.in_cookies(environ.pop("HTTP_COOKIE", ""))
        environ.pop("REQUEST_URI", None)
        given, environ["QUERY_STRING"] = _without_token(environ.get("QUERY_STRING", ""))
        method, at_door = environ["REQUEST_METHOD"], environ.get("PATH_INFO") == LOGIN
        if at_door and method == "POST":
            return _log_in(environ, start, token)
        if method in ("GET", "HEAD") and (at_door or given is not None):
            if known or token.matches(given or ""):
                return _let_in(start, token, _place(environ))
            return _refuse(environ, start, _ASKED if given is None else _WRONG)
        if known or (scheme.lower() == "bearer" and token.matches(said.strip())):
            return app(environ, start)
        return _refuse(environ, start, _ASKED)

    return asking


def _log_in(environ: WSGIEnvironment, start: StartResponse, token: Token) -> Iterable[bytes]:
    """Answers the login page's form."""
    body = environ["wsgi.input"].read(_LARGEST_FORM)
    form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    place = _local(form.get("next", ["/"])[0])
    if token.matches(form.get("token", [""])[0].strip()):
        return _let_in(start, token, place)
    return _refuse(environ, start, _WRONG, place)


def _let_in(start: StartResponse, token: Token, place: str) -> Iterable[bytes]:
    name, value = token.cookie
    cookie = f"{name}={value}; Path=/; HttpOnly; SameSite=Strict"
    about = [("Location", place), ("Set-Cookie", cookie), ("Cache-Control", "no-store")]
    start("303 See Other", [*about, ("Content-Length", "0")])
    return []


def _refuse(
    environ: WSGIEnvironment, start: StartResponse, says: str, place: str = ""
) -> Iterable[bytes]:
    """A sentence for a program; a page with a form for a browser."""
    status = "401 Unauthorized"
    about = [("WWW-Authenticate", 'Bearer realm="batchfront"'), ("Cache-Control", "no-store")]
    if "text/html" not in environ.get("HTTP_ACCEPT", ""):
        return refuse(environ, start, status, _NEEDED, about)
    # Where a link of another site has led here, the browser has kept the cookie to itself: it sends
    # it when this page asks for itself.
    elsewhere = environ.get("HTTP_SEC_FETCH_SITE") in ("cross-site", "same-site")
    style = asset("login.css")
    page = rendered(
        "login.html",
        again=elsewhere and environ["REQUEST_METHOD"] == "GET",
        style=Markup(style),
        says=says,
        login=LOGIN,
        place=place or _place(environ),
    )
    own = b64encode(sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{own}'; img-src data:; "
        "base-uri 'none'; form-action 'self'"
    )
    headers = [*about, ("Content-Security-Policy", policy)]
    return answer(environ, start, page.encode(), "text/html; charset=utf-8", status, headers)


def _without_token(query: str) -> tuple[str | None, str]:
    """The token that a query gives, and the query without."""
    pairs = parse_qsl(query, keep_blank_values=True)
    given = [value for name, value in pairs if name == "token"]
    if not given:
        return None, query
    return given[0], urlencode([pair for pair in pairs if pair[0] != "token"])


def _place(environ: WSGIEnvironment) -> str:
    """Where a request asks for, as a path of this server."""
    path = environ.get("SCRIPT_NAME", "") + (environ.get("PATH_INFO") or "/")
    path = "/" if path == LOGIN else path
    query = environ.get("QUERY_STRING", "")
    return _local(quote(path.encode("latin-1")) + (f"?{query}" if query else ""))


def _local(place: str) -> str:
    """A place of this server's, and of no other's: // and /\\ would begin another's name."""
    cleaned = "".join(character for character in place if "!" <= character <= "~")
    return "/" + cleaned.lstrip("/\\")
