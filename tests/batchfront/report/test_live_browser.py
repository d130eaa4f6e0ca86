"""The served page in a real browser: it follows the database, and the reader keeps their place."""

from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import update

from batchfront.report.web.guards import guarded
from batchfront.report.web.live_report import live_report
from batchfront.report.web.server import Server
from batchfront.store.database import Storage
from batchfront.store.schema import studies
from tests.batchfront.report.conftest import DRAWN, EVIL
from tests.batchfront.report.rows import add_study
from tests.waiting import LONG, eventually
from tests.web import served

pytestmark = pytest.mark.browser

CURVE = [
    (step, split, metric, 1 / (1 + step))
    for step in (1, 10, 60)
    for split, metric in (("validation", "error rate"), ("train", "loss"))
]
LOOK = "document.dispatchEvent(new Event('visibilitychange'))"  # rather than wait for the next


def trials(steps: int) -> list[dict[str, Any]]:
    def params(number: int) -> dict[str, float]:
        return {"learning_rate": 0.01 * (1 + number), "momentum": 0.9}

    ends = [("reached", steps), ("capped", steps), ("stalled", 30), (None, 0)]
    return [
        {"params": params(n), "outcome": o, "steps": s, "steps_lower": s - 1, "curve": CURVE}
        for n, (o, s) in enumerate(ends)
    ]


@pytest.fixture
def address(storage: Storage) -> Iterator[str]:
    for batch, steps in ((8, 800), (16, 400), (32, 200)):
        add_study(storage, "a/b/c", batch, trials(steps))
    app, pages = live_report(storage, (), every=0.0)
    with served(guarded(app, "127.0.0.1")) as found:
        yield found
    pages.close()


def wait_for(tab: Any, condition: str) -> None:
    eventually(lambda: tab.evaluate(condition), condition)


def has(text: str) -> str:
    return f"document.querySelector('main').innerText.includes({text!r})"


def test_it_follows_and_the_reader_keeps_place_choices_zoom_and_focus(
    opened: Any, address: str, storage: Storage
) -> None:
    opened.goto(address)
    wait_for(opened, "document.querySelector('.main-svg') !== null")
    assert opened.evaluate("document.querySelectorAll('h2').length") == 2
    opened.locator("select[name=study]").select_option("16")
    opened.locator("select[name=curves]").select_option("loss")
    opened.locator("select[name=study]").focus()
    hidden = (
        "document.querySelector('.figure.study').data.filter(t => t.visible === 'legendonly')"
        ".map(t => t.name).join()"
    )
    opened.locator(".figure.study .legendtoggle").nth(1).click()
    wait_for(opened, f"{hidden} !== ''")
    box = opened.locator(".figure.tall .nsewdrag").first.bounding_box()
    opened.locator(".figure.tall").scroll_into_view_if_needed()
    box = opened.locator(".figure.tall .nsewdrag").first.bounding_box()
    opened.mouse.move(box["x"] + 60, box["y"] + 60)
    opened.mouse.down()
    opened.mouse.move(box["x"] + 300, box["y"] + 200, steps=5)
    opened.mouse.up()
    y_range = "JSON.stringify(document.querySelector('.figure.tall').layout.yaxis.range)"
    # To the top: what is added within sight may move what is below it.
    heading = opened.locator("h3", has_text="One study")
    heading.evaluate("heading => heading.scrollIntoView({behavior: 'instant'})")
    opened.evaluate("document.querySelector('.figure.study').mark = 'same node'")
    before = [opened.evaluate(state) for state in (hidden, y_range, "scrollY")]
    top = "document.querySelector('.controls').getBoundingClientRect().top"
    place = opened.evaluate(top)

    add_study(storage, "d/e/f", 64, trials(100))  # with which there is an index to go to
    add_study(storage, "a/b/c", 4, [{}])  # a note and a row
    opened.evaluate(LOOK)
    wait_for(opened, has("No winner yet at batch size 4"))
    wait_for(opened, has("All workloads"))

    assert opened.locator("select[name=study]").first.input_value() == "16"
    assert opened.locator("select[name=curves]").first.input_value() == "loss"
    assert opened.evaluate("document.querySelector('.figure.study').mark") == "same node"
    assert opened.evaluate(hidden) == before[0]
    assert opened.evaluate(y_range) == before[1]
    assert abs(opened.evaluate(top) - place) < 3  # what came above did not push it away
    opened.locator("select[name=study]").first.select_option("4")  # new, and it draws
    label = "document.querySelector('.figure.study').getAttribute('aria-label')"
    assert opened.evaluate(label).endswith("batch size 4")
    assert opened.heard == []
    assert all(url.startswith((address, "data:", "blob:")) for _, url in opened.asked)


def test_it_begins_empty_and_fills(opened: Any, storage: Storage) -> None:
    app, pages = live_report(storage, (), every=0.0)
    with served(guarded(app, "127.0.0.1")) as address:
        opened.goto(address)
        wait_for(opened, has("There are no studies yet."))
        add_study(storage, "a/b/c", 8, trials(100))
        wait_for(opened, has("a/b/c"))  # by itself
        wait_for(opened, "document.querySelector('.figure.tall .main-svg') !== null")
        assert "a/b/c" in opened.title()
    pages.close()
    assert opened.heard == []


def test_a_server_that_has_gone_is_said_and_its_return_too(opened: Any, storage: Storage) -> None:
    add_study(storage, "a/b/c", 8, trials(100))
    app, pages = live_report(storage, (), every=0.0)
    with served(app) as address:
        opened.goto(address)
        wait_for(opened, has("a/b/c"))
    opened.evaluate(LOOK)
    wait_for(opened, has("server has not answered since"))
    port = int(address.rstrip("/").rpartition(":")[2])

    server = Server(app, "127.0.0.1", port)
    thread = Thread(target=server.run)
    thread.start()
    opened.evaluate(LOOK)
    wait_for(opened, f"!{has('server has not answered since')}")
    server.stop()
    thread.join(LONG)
    pages.close()


def test_hostile_names_stay_text_when_they_arrive_later(opened: Any, storage: Storage) -> None:
    add_study(storage, "a/b/c", 8, trials(100))
    add_study(storage, "d/e/f", 8, trials(100))
    app, pages = live_report(storage, (), every=0.0)
    with served(guarded(app, "127.0.0.1")) as address:
        opened.goto(address)
        wait_for(opened, has("d/e/f"))
        hostile = f"{EVIL}{{{{7*7}}}}${{7*7}}</select></textarea><svg onload=window.pwned=3>"
        rows = [
            {**trial, "params": {"<img src=x onerror=window.pwned=4>": 0.5}, "reason": hostile}
            for trial in trials(50)
        ]
        space = {"<img src=x onerror=window.pwned=4>": {"kind": "Linear", "low": 0.0, "high": 1.0}}
        add_study(storage, hostile, 8, rows, space=space)
        opened.evaluate(LOOK)
        wait_for(opened, has(hostile))
        opened.get_by_role("link", name=hostile).click()
        wait_for(opened, "document.querySelectorAll('.figure.tall .main-svg').length >= 1")
        assert opened.locator("h2").first.inner_text() == hostile
        opened.evaluate(DRAWN)
        opened.locator(".figure.study .points path").last.hover(force=True)
        wait_for(opened, "document.querySelector('.hoverlayer .hovertext') !== null")
        assert opened.evaluate("window.pwned") is None
    pages.close()
    assert opened.heard == []


def test_the_index_leads_to_a_page_that_is_brought_up_to_date_by_itself(
    opened: Any, storage: Storage
) -> None:
    for name in ("a/b/c", "d/e/f", "g&h/../?#%2e"):
        add_study(storage, name, 8, trials(100))
    app, pages = live_report(storage, (), every=0.0)
    with served(app) as address:
        opened.goto(address)
        wait_for(opened, has("3 workloads"))
        opened.locator("input[name=find]").fill("waiting g&h")
        rows = opened.locator(".scroll[aria-labelledby=workloads] tbody tr")
        assert [rows.nth(n).is_visible() for n in range(3)] == [False, False, True]
        add_study(storage, "d/e/f", 16, trials(50))
        opened.evaluate(LOOK)
        wait_for(opened, "document.querySelector('main').textContent.includes('6 of 8')")
        assert [rows.nth(n).is_visible() for n in range(3)] == [False, False, True]
        opened.get_by_role("link", name="g&h").click()
        wait_for(opened, "document.querySelector('h2').textContent === 'g&h/../?#%2e'")
        opened.evaluate("document.querySelector('h2').mark = 'same node'")
        add_study(storage, "g&h/../?#%2e", 16, trials(50))
        opened.evaluate(LOOK)
        wait_for(opened, has("2, from 8 to 16"))
        assert opened.evaluate("document.querySelector('h2').mark") == "same node"
        with storage.write() as conn:
            gone = studies.c.workload == "g&h/../?#%2e"
            conn.execute(update(studies).where(gone).values(workload="another"))
        opened.evaluate(LOOK)
        wait_for(opened, has("has not been in the database since"))
        opened.get_by_role("link", name="All workloads").click()
        wait_for(opened, has("3 workloads"))
    pages.close()
    assert [line for line in opened.heard if "404" not in str(line)] == []
