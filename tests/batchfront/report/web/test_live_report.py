"""The served page: made anew when something has changed, and never half."""

import json
from collections.abc import Iterator

import pytest
from markupsafe import Markup
from sqlalchemy import update

from batchfront.errors import UsageError
from batchfront.frontier.queries import last_change
from batchfront.report.web.guards import guarded, only_reading
from batchfront.report.web.live_report import live_report
from batchfront.store.database import Storage
from batchfront.store.schema import slots
from tests.batchfront.report.rows import add_study
from tests.postgres import Postgres
from tests.waiting import LONG, eventually
from tests.web import ask, served

REACHED = [{"outcome": "reached", "steps": 100, "steps_lower": 90}]


@pytest.fixture
def address(storage: Storage) -> Iterator[str]:
    """The report of the test's own database, looked at anew for each reader."""
    app, pages = live_report(storage, (), every=0.0, patience=LONG)
    with served(guarded(only_reading(app, "for reading"), "127.0.0.1")) as found:
        yield found
    pages.close()


def seen(address: str) -> str:
    """What a reader sees of the page, whose words may be links."""
    return Markup(ask(address).text).striptags()


def test_the_page_is_served_before_there_is_a_study_and_follows(
    storage: Storage, address: str
) -> None:
    assert "There are no studies yet." in ask(address).text
    add_study(storage, "a/b/c", 8, REACHED)
    add_study(storage, "a/b/c", 16, [{}])
    text = seen(address)
    assert "a/b/c" in text
    assert "1 trial is not done yet" in text
    with storage.write() as conn:
        ended = update(slots).where(slots.c.outcome.is_(None))
        conn.execute(ended.values(outcome="stalled", state="done", finished_at=1.0))
    assert "1 trial is not done yet" not in seen(address)


def test_a_browser_that_has_the_page_is_told_so(storage: Storage, address: str) -> None:
    add_study(storage, "a/b/c", 8, REACHED)
    first = ask(address)
    tag = first.header("ETag")
    again = ask(address, "/", "GET", {"If-None-Match": tag})
    assert (again.status, again.body) == (304, b"")
    add_study(storage, "a/b/c", 16, REACHED)
    newer = ask(address, "/", "GET", {"If-None-Match": tag})
    assert newer.status == 200
    assert newer.header("ETag") != tag


def test_the_served_page_brings_its_scripts_from_here_and_from_nowhere_else(address: str) -> None:
    page = ask(address)
    policy = page.header("Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    sources = [part.split('"')[0] for part in page.text.split('<script src="')[1:]]
    assert len(sources) == 3
    for source in sources:
        script = ask(address, f"/{source}")
        assert script.status == 200
        assert script.header("Content-Type").startswith("text/javascript")
        assert "immutable" in script.header("Cache-Control")
    assert len(page.body) < 100_000


def test_head_and_unknown_paths_and_changes(address: str) -> None:
    head = ask(address, "/", "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.header("Content-Length")) == len(ask(address).body)
    assert ask(address, "/etc/passwd").status == 404
    assert ask(address, "/../page.html").status == 404
    assert ask(address, "/", "POST").status == 405


def test_only_the_named_workloads_are_served(storage: Storage) -> None:
    add_study(storage, "a/b/c", 8, REACHED)
    add_study(storage, "d/e/f", 8, REACHED)
    app, pages = live_report(storage, ["a/b/c"])
    with served(app) as found:
        assert "d/e/f" not in ask(found).text
    pages.close()
    with pytest.raises(UsageError, match="no studies of 'x/y/z'"):
        live_report(storage, ["x/y/z"])


@pytest.mark.postgresql
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_real_outage_is_said_on_the_page_and_ends(storage: Storage, postgres: Postgres) -> None:
    add_study(storage, "a/b/c", 8, REACHED)
    app, pages = live_report(storage, (), every=0.0, patience=LONG)
    with served(app) as address:
        assert "a/b/c" in ask(address).text
        postgres.crash()
        eventually(lambda: "The database does not answer." in ask(address).text)
        assert "a/b/c" in ask(address).text
        assert postgres.password not in ask(address).text
        postgres.start()
        eventually(lambda: "does not answer" not in ask(address).text)
    pages.close()


@pytest.mark.every_storage
def test_the_state_changes_with_studies_slots_and_endings_alone(storage: Storage) -> None:
    seen = [last_change(storage)]
    add_study(storage, "a/b/c", 8, [{}])
    seen.append(last_change(storage))
    with storage.write() as conn:
        conn.execute(update(slots).values(trial_id=5))
    seen.append(last_change(storage))
    with storage.write() as conn:
        conn.execute(update(slots).values(finished_at=5.0))
    seen.append(last_change(storage))
    with storage.write() as conn:
        conn.execute(update(slots).values(finished_at=6.0))
    seen.append(last_change(storage))
    assert all(seen[n] != seen[n + 1] for n in range(4))
    assert last_change(storage) == seen[-1]
    assert set(last_change(storage, ("a/b/c",))) == {"a/b/c"}
    assert last_change(storage, ("d/e/f",)) == {}


def test_the_state_changes_with_what_is_written_after_the_clock_was_set_back(
    storage: Storage,
) -> None:
    add_study(storage, "a/b/c", 8, [{}, {}])
    with storage.write() as conn:
        conn.execute(update(slots).values(finished_at=9.0))
    before = last_change(storage)
    with storage.write() as conn:  # a point that was replaced, say
        conn.execute(update(slots).where(slots.c.number == 0).values(finished_at=5.0))
    assert last_change(storage) != before


def test_tables_are_files_beside_the_page_and_follow_it(storage: Storage, address: str) -> None:
    add_study(storage, "a/b/c", 8, REACHED)
    page = ask(address).text
    assert "data:text/csv" not in page
    assert 'href="tables/a-b-c-frontier.json?workload=a/b/c"' in page
    there = ask(address, "/tables/a-b-c-frontier.json?workload=a/b/c")
    assert there.header("Content-Type") == "application/json"
    (row,) = json.loads(there.text)
    assert (row["batch size"], row["steps"]) == (8, 100)
    add_study(storage, "a/b/c", 16, REACHED)
    assert len(json.loads(ask(address, "/tables/a-b-c-frontier.json").text)) == 2
    trials = ask(address, "/tables/a-b-c-trials-16.csv").text
    assert trials.startswith("trial,outcome,steps,steps to target,metric,")
    missing = ask(address, "/tables/none.csv")
    assert missing.status == 404
    assert "a-b-c-frontier.csv" in missing.text
    assert ask(address, "/tables/a.csv?workload=x").status == 404
