"""Who is answered, and what may be asked, by real requests to a server that notes what passes."""

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from batchfront.report.web.guards import guarded, is_loopback, only_reading
from tests.web import ask, served


class Application:
    """Answers everything with "done", and remembers what reached it."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        self.reached.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
        return [b"done"]


@pytest.fixture
def app() -> Application:
    return Application()


@pytest.fixture
def reading(app: Application) -> Iterator[str]:
    with served(guarded(only_reading(app, "for reading"), "127.0.0.1")) as address:
        yield address


@pytest.fixture
def open_to_changes(app: Application) -> Iterator[str]:
    with served(guarded(app, "127.0.0.1")) as address:
        yield address


@pytest.mark.parametrize(
    "method",
    ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "GETT", "BREW"],
)
@pytest.mark.parametrize("path", ["/", "/api/studies/1", "//api//studies/1", "/%2e%2e/api"])
def test_whatever_is_no_reading_is_refused_with_one_line(
    reading: str, app: Application, method: str, path: str
) -> None:
    answer = ask(reading, path, method)
    assert answer.status == 405
    assert answer.json == {"reason": "for reading"}
    assert answer.text.count("\n") == 1
    assert answer.header("Allow") == "GET, HEAD"
    assert app.reached == []


@pytest.mark.parametrize(
    "header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"]
)
def test_a_header_that_names_another_method_changes_nothing(
    reading: str, app: Application, header: str
) -> None:
    assert ask(reading, "/", "POST", {header: "GET"}).status == 405
    assert app.reached == []
    assert ask(reading, "/?_method=DELETE", "GET", {header: "DELETE"}).status == 200
    assert app.reached == ["GET /"]


def test_reading_is_answered(reading: str, app: Application) -> None:
    assert ask(reading).body == b"done"
    assert ask(reading, method="HEAD").body == b""
    assert app.reached == ["GET /", "HEAD /"]


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.", "", "[", "a@"],
)
def test_on_loopback_another_sites_name_is_refused(
    reading: str, app: Application, host: str
) -> None:
    answer = ask(reading, "/", "GET", {"Host": host})
    assert answer.status == 403
    assert "is not this server's" in answer.json["reason"]
    assert app.reached == []


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
@pytest.mark.parametrize("port", ["", ":{port}", ":9000"])
def test_on_loopback_its_own_names_are_answered_also_through_a_tunnel(
    reading: str, name: str, port: str
) -> None:
    host = name + port.format(port=urlsplit(reading).port)
    assert ask(reading, "/", "GET", {"Host": host}).status == 200


def test_elsewhere_any_name_is_answered(app: Application) -> None:
    with served(guarded(app, "192.0.2.1")) as address:
        assert ask(address, "/", "GET", {"Host": "dashboard.example"}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_change_that_another_sites_page_asks_for_is_refused(
    open_to_changes: str, app: Application, headers: dict[str, str]
) -> None:
    assert ask(open_to_changes, "/", "POST", headers).status == 403
    assert app.reached == []
    assert ask(open_to_changes, "/", "GET", headers).status == 200


@pytest.mark.parametrize("sent", [None, "own", "fetched"])
def test_a_change_that_its_own_page_or_a_program_asks_for_is_made(
    open_to_changes: str, sent: str | None
) -> None:
    own = open_to_changes.rstrip("/")
    headers = {None: {}, "own": {"Origin": own}, "fetched": {"Sec-Fetch-Site": "same-origin"}}
    assert ask(open_to_changes, "/", "POST", headers[sent]).status == 200


@pytest.mark.parametrize("path", ["/", "/refused"])
def test_every_answer_tells_browsers_not_to_frame_or_to_guess(reading: str, path: str) -> None:
    answer = ask(reading, path, "GET" if path == "/" else "POST")
    assert answer.header("X-Content-Type-Options") == "nosniff"
    assert answer.header("X-Frame-Options") == "DENY"
    assert "frame-ancestors 'none'" in answer.header("Content-Security-Policy")


def test_loopback_is_told_by_address() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.8.8.8", "::1", "localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "10.0.0.1", "", "example.com"]))
