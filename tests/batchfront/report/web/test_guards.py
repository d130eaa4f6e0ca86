"""What may be asked, by real requests to a server that notes what passes."""

from collections.abc import Iterator

import pytest

from batchfront.report.web.guards import guarded, only_reading
from tests.web import Application, ask, served


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
