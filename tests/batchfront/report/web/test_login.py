"""Who gets through a login, by real requests, and what it tells to whom."""

import logging
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from batchfront.report.web.guards import guarded, only_reading
from batchfront.report.web.login import behind_login
from batchfront.report.web.token import Token
from tests.web import Answer, Application, ask, send, served

SECRET = "correct-horse/battery+staple=7"
BEARER = {"Authorization": f"Bearer {SECRET}"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def app() -> Application:
    return Application()


@pytest.fixture
def address(app: Application) -> Iterator[str]:
    reading = only_reading(app, "for reading")
    with served(guarded(behind_login(reading, Token(SECRET)), "127.0.0.1")) as found:
        yield found


def cookie(answer: Answer) -> dict[str, str]:
    """The cookie that an answer sets, as a browser brings it back."""
    pair, *attributes = answer.header("Set-Cookie").split("; ")
    assert attributes == ["Path=/", "HttpOnly", "SameSite=Strict"]
    return {"Cookie": pair}


def form(address: str, headers: dict[str, str] | None = None, **fields: str) -> Answer:
    body = urlencode(fields)
    about = [f"{name}: {value}" for name, value in {**BROWSER, **(headers or {})}.items()]
    kind = ("Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}")
    return send(address, "POST /login HTTP/1.1", "Host: localhost", *about, *kind, body=body)


def test_a_program_gets_through_with_the_token_as_a_bearer(address: str, app: Application) -> None:
    for scheme in ("Bearer", "bearer"):
        answer = ask(address, "/x?y=1", "GET", {"Authorization": f"{scheme} {SECRET}"})
        assert (answer.status, answer.body) == (200, b"done")
        assert answer.header("Set-Cookie") == ""
    assert app.told[0]["QUERY_STRING"] == "y=1"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {SECRET}x"},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": SECRET},
        {"Authorization": f"Bearer {SECRET}, Bearer {SECRET}"},
        {"Cookie": SECRET},
        {"Cookie": f"token={SECRET}"},
        {"X-Token": SECRET},
        {"Referer": f"http://localhost/?token={SECRET}"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"])
def test_nobody_else_does_whatever_they_ask_for(
    address: str, app: Application, headers: dict[str, str], method: str
) -> None:
    for path in ("/", "/x?y=1", "//x", "/login/../x", "/login/", "/LOGIN", "/%6cogin/x"):
        answer = ask(address, path, method, headers)
        assert answer.status == 401
        assert answer.header("WWW-Authenticate").startswith("Bearer")
        assert answer.header("Set-Cookie") == ""
        assert answer.text.count("\n") == (method != "HEAD")
    assert app.reached == []


def test_logged_in_nothing_more_than_reading_is_allowed(address: str, app: Application) -> None:
    let_in = cookie(ask(address, f"/?{urlencode({'token': SECRET})}"))
    for headers in (BEARER, let_in):
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert ask(address, "/x", method, headers).status == 405
    assert app.reached == []


def test_a_browser_that_names_it_once_is_sent_on_with_a_cookie_and_without_the_token(
    address: str, app: Application
) -> None:
    told = urlencode({"a": "b c", "token": SECRET, "d": ""})
    answer = ask(address, f"/some%20page?{told}", "GET", BROWSER)
    assert (answer.status, answer.body) == (303, b"")
    assert answer.header("Location") == "/some%20page?a=b+c&d="
    assert answer.header("Cache-Control") == "no-store"
    assert SECRET not in str(answer.headers)
    let_in = cookie(answer)
    assert app.reached == []
    assert ask(address, "/some%20page", "GET", let_in | BROWSER).body == b"done"


@pytest.mark.parametrize("path", ["//evil.example/", "///evil.example", "/\\evil.example", "//"])
def test_it_is_sent_to_no_other_server(address: str, path: str) -> None:
    told = urlencode({"token": SECRET})
    for target in (f"{path}?{told}", f"http://localhost{path}?{told}"):
        answer = send(address, f"GET {target} HTTP/1.1", "Host: localhost")
        assert answer.status == 303
        place = answer.header("Location")
        assert place.startswith("/")
        assert not place.startswith(("//", "/\\"))
    for place in (path, f"http:{path}", "javascript:x", "\thttp://evil.example", "evil.example"):
        sent = form(address, token=SECRET, next=place).header("Location")
        assert sent.startswith("/")
        assert not sent.startswith(("//", "/\\"))


def test_a_wrong_one_in_the_address_is_refused_but_for_who_is_logged_in(
    address: str, app: Application
) -> None:
    let_in = cookie(form(address, token=SECRET, next="/"))
    assert ask(address, "/?token=wrong", "GET", BROWSER).status == 401
    assert ask(address, "/?token=", "GET", BROWSER).status == 401
    assert ask(address, "/?token=wrong", "GET", BROWSER | let_in).header("Location") == "/"
    assert app.reached == []


def test_the_login_page_takes_the_token_and_goes_on_to_what_was_asked_for(address: str) -> None:
    page = ask(address, "/x?y=<1>", "GET", BROWSER)
    assert page.status == 401
    assert page.header("Content-Type") == "text/html; charset=utf-8"
    assert 'name="next" value="/x?y=&lt;1&gt;"' in page.text
    wrong = form(address, token="wrong", next="/x?y=1")
    assert wrong.status == 401
    assert "That is not this server&#39;s token." in wrong.text
    assert 'name="next" value="/x?y=1"' in wrong.text
    right = form(address, token=f" {SECRET}\n", next="/x?y=1")
    assert (right.status, right.header("Location")) == (303, "/x?y=1")
    assert ask(address, "/x", "GET", cookie(right)).body == b"done"


def test_who_is_logged_in_goes_from_the_login_page_to_the_first(address: str) -> None:
    assert ask(address, "/login", "GET", BROWSER).status == 401
    let_in = cookie(form(address, token=SECRET))
    assert ask(address, "/login", "GET", BROWSER | let_in).header("Location") == "/"


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}], ids=str
)
def test_no_other_site_can_log_a_visitor_in(address: str, headers: dict[str, str]) -> None:
    assert form(address, headers, token=SECRET).status == 403


def test_a_link_of_another_site_leads_to_a_page_that_asks_again_once(address: str) -> None:
    again = '<meta http-equiv="refresh" content="0">'
    for site, asks in (("cross-site", True), ("same-site", True), ("same-origin", False)):
        page = ask(address, "/", "GET", BROWSER | {"Sec-Fetch-Site": site})
        assert (again in page.text) == asks
    assert again not in ask(address, "/", "GET", BROWSER).text


@pytest.mark.parametrize("body", ["", "token", "token=", "next=/", "token=%ff", "=&=&;", "{}"])
def test_a_form_without_it_is_refused(address: str, body: str) -> None:
    answer = send(
        *(address, "POST /login HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"),
        body=body,
    )
    assert answer.status == 401


def test_what_is_behind_sees_neither_the_token_nor_the_cookie(
    address: str, app: Application
) -> None:
    let_in = cookie(form(address, token=SECRET, next="/"))
    for headers in (BEARER, let_in, BEARER | let_in):
        ask(address, "/x", "GET", headers)
    assert len(app.reached) == 3
    told = str(app.told)
    assert SECRET not in told
    assert let_in["Cookie"].partition("=")[2] not in told


def test_it_is_said_to_nobody(
    address: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    told = urlencode({"token": SECRET})
    answers = [
        ask(address, f"/?{told}", "POST", BROWSER),
        ask(address, f"/?{told}", "GET", BROWSER | {"Host": "evil.example"}),
        ask(address, f"/?{told}", "GET"),
        ask(address, f"/?{told}x", "GET", BROWSER),
        ask(address, "/", "GET", {"Authorization": f"Basic {SECRET}"}),
        send(address, f"GET /?{told} HTTP/1.1", "Host: localhost", "Content-Length: x"),
        send(address, f"GET /?{told} HTTP/1.1", "Host: localhost", f" {SECRET}", "bad header"),
    ]
    for answer in answers:
        assert SECRET not in f"{answer.headers} {answer.body!r}"
    assert SECRET not in caplog.text
    assert SECRET not in "".join(capfd.readouterr())


def test_pages_behind_it_tell_other_servers_no_address(address: str) -> None:
    for answer in (ask(address, "/", "GET", BEARER), ask(address, "/", "GET", BROWSER)):
        assert answer.header("Referrer-Policy") == "same-origin"
