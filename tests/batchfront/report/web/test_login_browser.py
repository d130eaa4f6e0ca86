"""Logging in, in a real browser; and another site's page, which reads and changes nothing."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit
from wsgiref.types import WSGIApplication

import pytest

from batchfront.report.web.answers import answer
from batchfront.report.web.dashboard import dashboard
from batchfront.report.web.guards import guarded
from batchfront.report.web.login import behind_login
from batchfront.report.web.token import Token
from batchfront.store.database import Storage
from tests.waiting import eventually
from tests.web import ask, served

pytestmark = pytest.mark.browser

SECRET = "correct-horse/battery+staple=7"
TOLD = urlencode({"token": SECRET})
LISTED = "clouds/mlp/momentum"


@pytest.fixture
def address(raced: Storage) -> Iterator[str]:
    """A dashboard behind a login."""
    with served(guarded(behind_login(dashboard(raced), Token(SECRET)), "127.0.0.1")) as found:
        yield found


def elsewhere(html: str) -> WSGIApplication:
    """A page of another site: for a browser, localhost is another one than 127.0.0.1."""
    return lambda environ, start: answer(environ, start, html.encode(), "text/html")


def other_site(address: str) -> str:
    return address.replace("127.0.0.1", "localhost")


def shows_the_studies(tab: Any) -> None:
    tab.get_by_text(LISTED).first.wait_for()


def knows_no_token(tab: Any) -> None:
    """Nothing that a page, its history or its requests to others could show has the token."""
    (cookie,) = tab.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert SECRET not in str(cookie)
    seen = "[location.href, document.referrer, document.cookie, JSON.stringify(localStorage)]"
    assert SECRET not in str(tab.evaluate(seen))
    assert "token" not in str(tab.evaluate(seen))


def test_the_login_page_leads_to_what_was_asked_for(opened: Any, address: str) -> None:
    opened.goto(f"{address}dashboard?x=1")
    field = opened.get_by_label("Token")
    field.fill("wrong")
    field.press("Enter")
    opened.get_by_text("That is not this server's token.").wait_for()
    opened.get_by_label("Token").fill(SECRET)
    opened.get_by_role("button", name="Log in").click()
    shows_the_studies(opened)
    assert urlsplit(opened.url).path == "/dashboard"
    knows_no_token(opened)
    assert {method for method, _ in opened.asked} == {"GET", "POST"}


def test_the_token_in_an_address_is_gone_from_where_it_leads(opened: Any, address: str) -> None:
    opened.goto(f"{address}dashboard?{TOLD}")
    shows_the_studies(opened)
    assert urlsplit(opened.url).path == "/dashboard"
    knows_no_token(opened)
    opened.reload()
    shows_the_studies(opened)
    opened.go_back()
    assert SECRET not in opened.url
    opened.goto(f"{address}login")
    shows_the_studies(opened)


@pytest.mark.parametrize("link", ["dashboard", f"dashboard?{TOLD}"])
def test_a_link_of_another_site_leads_to_the_page_of_who_is_logged_in(
    opened: Any, address: str, link: str
) -> None:
    """To a browser it is another site that asks, and a cookie like this one is kept from it."""
    opened.goto(f"{address}dashboard?{TOLD}")
    shows_the_studies(opened)
    with served(elsewhere(f'<a id="link" href="{address}{link}">go</a>')) as other:
        opened.goto(other_site(other))
        opened.locator("#link").click()
        shows_the_studies(opened)
    assert urlsplit(opened.url).path == "/dashboard"
    knows_no_token(opened)


def test_a_link_of_another_site_with_the_token_logs_in(opened: Any, address: str) -> None:
    with served(elsewhere(f'<a id="link" href="{address}dashboard?{TOLD}">go</a>')) as other:
        opened.goto(other_site(other))
        opened.locator("#link").click()
        shows_the_studies(opened)
    knows_no_token(opened)


def test_without_it_nothing_is_shown_and_the_page_asks_for_nothing_else(
    opened: Any, address: str
) -> None:
    opened.goto(f"{address}dashboard")
    opened.get_by_label("Token").wait_for()
    assert LISTED not in opened.content()
    assert opened.asked == [("GET", f"{address}dashboard")]
    assert not [said for said in opened.heard if "Security Policy" in said]


ATTACK = """
<script>
  const results = [];
  const attempt = (name, promise) => promise.then(
    (found) => results.push([name, found]), () => results.push([name, "refused"]));
  const read = (answer) => answer.type === "opaque" ? "opaque" : answer.text();
  Promise.all([
    attempt("read", fetch("TARGETapi/studies", { credentials: "include" }).then(read)),
    attempt("blind", fetch("TARGETapi/studies", { mode: "no-cors" }).then(read)),
    attempt("delete", fetch("TARGETapi/studies/1", { method: "DELETE" }).then(read)),
    attempt("post", fetch("TARGETapi/studies", {
      method: "POST", mode: "no-cors", credentials: "include",
      headers: { "Content-Type": "text/plain" },
      body: '{"study_name": "pwned", "directions": ["minimize"]}',
    }).then(read)),
  ]).then(() => { document.title = JSON.stringify(results); });
</script>
<iframe src="TARGETdashboard"></iframe>
"""


def test_another_sites_page_reads_nothing_and_changes_nothing_where_changes_are_allowed(
    opened: Any, raced: Storage
) -> None:
    with served(guarded(dashboard(raced, changes=True), "127.0.0.1")) as address:
        before = ask(address, "/api/studies").body
        with served(elsewhere(ATTACK.replace("TARGET", address))) as other:
            opened.goto(other_site(other))
            eventually(lambda: opened.title().startswith("["))
            assert LISTED not in opened.title()
            assert {result for _, result in json.loads(opened.title())} <= {"refused", "opaque"}
            (frame,) = opened.frames[1:]
            assert LISTED not in frame.content()
        assert ask(address, "/api/studies").body == before


def test_a_name_that_was_made_to_point_here_reads_nothing(opened: Any, raced: Storage) -> None:
    """DNS rebinding: for the browser, all that the server answers would be that site's own. It
    takes every name below localhost to this machine, without asking anyone."""
    with served(guarded(dashboard(raced), "0.0.0.0")) as address:
        port = urlsplit(address).port
        refused = opened.goto(f"http://evil.localhost:{port}/api/studies")
        assert refused.status == 403
        assert LISTED not in opened.content()
        for name in ("localhost", "127.0.0.1"):
            assert opened.goto(f"http://{name}:{port}/api/studies").status == 200
