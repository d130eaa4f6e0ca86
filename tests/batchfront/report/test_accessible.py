"""Whoever can't see the page, or has no mouse, can use it: axe finds nothing serious on any."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from batchfront.report.files import write_report
from batchfront.report.html import DASHBOARD
from batchfront.report.web.guards import guarded
from batchfront.report.web.live_report import live_report
from batchfront.report.web.login import behind_login
from batchfront.report.web.token import Token
from batchfront.store.database import Storage
from tests.batchfront.report.conftest import DRAWN
from tests.waiting import eventually
from tests.web import Application, served

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]

SCHEMES = ("light", "dark")


def findings(tab: Any) -> list[str]:
    """What axe finds that is serious or critical: a line for each element."""
    found = Axe().run(tab).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:200]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def in_both_schemes(tab: Any) -> Iterator[list[str]]:
    for scheme in SCHEMES:
        tab.emulate_media(color_scheme=scheme)
        yield findings(tab)


@pytest.mark.parametrize("screen", ["phone", "desktop"])
def test_the_page_of_a_workload(visit: Visit, page: Path, screen: str) -> None:
    for scheme in SCHEMES:
        assert findings(visit(page, screen, scheme)) == []


def test_the_page_of_several_workloads(visit: Visit, odd_page: Path) -> None:
    assert findings(visit(odd_page)) == []


def test_a_page_whose_trials_are_linked(visit: Visit, raced: Storage, tmp_path: Path) -> None:
    tab = visit(write_report(raced, (), tmp_path / "linked.html", DASHBOARD))
    names = "[...document.querySelectorAll('table a[target]')].map(a => a.ariaLabel)"
    assert tab.evaluate(names)
    assert all(name.startswith("trial ") for name in tab.evaluate(names))
    assert findings(tab) == []


def test_the_index(visit: Visit, odd: Storage, tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    tab = visit(write_report(odd, (), folder))
    assert list(in_both_schemes(tab)) == [[], []]


def test_a_served_page(opened: Any, raced: Storage) -> None:
    app, pages = live_report(raced, (), every=0.0)
    with served(guarded(app, "127.0.0.1")) as address:
        opened.goto(address)
        drawn = "document.querySelector('.main-svg') !== null"
        eventually(lambda: opened.evaluate(drawn), drawn)
        opened.evaluate(DRAWN)
        assert findings(opened) == []
    pages.close()


def test_the_login(opened: Any) -> None:
    app = behind_login(Application(), Token("a-token-of-its-own"))
    with served(guarded(app, "127.0.0.1")) as at:
        opened.goto(at)
        assert list(in_both_schemes(opened)) == [[], []]


def test_the_keyboard_gets_past_the_header_and_to_the_buttons_of_a_figure(
    visit: Visit, odd_page: Path
) -> None:
    tab = visit(odd_page)
    tab.reload()  # as whoever opens it has it, with no figure drawn that it isn't near
    tab.keyboard.press("Tab")
    focused = "document.activeElement"
    assert tab.evaluate(f"{focused}.textContent") == "Skip to the content"
    assert tab.evaluate(f"{focused}.getBoundingClientRect().left") >= 0
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    assert tab.evaluate(f"document.getElementById('content').contains({focused})")
    tab.evaluate(DRAWN)
    button = tab.locator(".modebar-btn").first
    button.focus()
    shown = "getComputedStyle(document.querySelector('.modebar')).opacity"
    eventually(lambda: tab.evaluate(shown) == "1", shown)
