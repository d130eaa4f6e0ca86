"""The served page: made anew when something has changed, and never half."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from sqlalchemy import update

from batchfront.errors import StorageError, UsageError
from batchfront.frontier.queries import last_change
from batchfront.report.page import NOTICE
from batchfront.report.web.guards import guarded, only_reading
from batchfront.report.web.live_report import KeptPage, live_report
from batchfront.store.database import Storage
from batchfront.store.schema import slots
from tests.batchfront.report.rows import add_study
from tests.postgres import Postgres
from tests.waiting import LONG, eventually
from tests.web import ask, served

REACHED = [{"outcome": "reached", "steps": 100, "steps_lower": 90}]


class Source:
    """A database as a page sees it: a state that the test sets, and what was asked of it."""

    def __init__(self) -> None:
        self.state, self.reads, self.made = 0, 0, 0
        self.error: Exception | None = None
        self.make = self._make

    def renew(self, before: object) -> tuple[object, str] | None:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return None if self.state == before else (self.state, self.make())

    def _make(self) -> str:
        self.made += 1
        return f"<main>{NOTICE}state {self.state}</main>"


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def kept(source: Source) -> Iterator[KeptPage]:
    page = KeptPage(source.renew, every=0.0, patience=LONG)
    yield page
    page.close()


def test_it_is_made_anew_when_something_has_changed_and_not_otherwise(
    source: Source, kept: KeptPage
) -> None:
    assert "state 0" in kept.read()
    assert "state 0" in kept.read()
    assert source.made == 1
    source.state = 7
    assert "state 7" in kept.read()
    assert source.made == 2


def test_the_database_is_left_alone_between_looks_however_many_read(source: Source) -> None:
    kept = KeptPage(source.renew, every=60.0)
    with ThreadPoolExecutor(8) as readers:
        assert len({*readers.map(lambda _: kept.read(), range(200))}) == 1
    assert source.reads == 1
    kept.close()


def test_an_outage_keeps_the_last_page_and_says_so_until_it_is_over(
    source: Source, kept: KeptPage
) -> None:
    assert 'role="status" hidden' in kept.read()
    source.error = StorageError("no route to postgresql://me:secret@db")
    said = kept.read()
    assert "state 0" in said
    assert "The database does not answer. Below is what it showed on " in said
    assert "hidden" not in said
    assert "secret" not in said
    assert said == kept.read()  # so that a browser is not given it again and again
    source.error, source.state = None, 1
    assert "state 1" in kept.read()
    assert "does not answer" not in kept.read()


def test_an_error_in_the_page_itself_is_said_too(source: Source, kept: KeptPage) -> None:
    source.error = KeyError("<script>")
    assert "This page could not be made anew." in kept.read()
    assert "script" not in kept.read()


def test_a_reader_is_not_held_up_by_a_database_that_hangs(source: Source) -> None:
    hanging, answer = Event(), Event()

    def hang() -> str:
        hanging.set()
        assert answer.wait(LONG)
        return make()

    kept = KeptPage(source.renew, every=0.0, patience=0.01, overdue=0.0)
    make, source.make, source.state = source.make, hang, 1
    assert "state 0" in kept.read()
    assert hanging.wait(LONG)
    assert "state 0" in kept.read()
    assert "The database does not answer." in kept.read()
    answer.set()
    eventually(lambda: "state 1" in kept.read())
    kept.close()


@pytest.fixture
def address(storage: Storage) -> Iterator[str]:
    """The report of the test's own database, looked at anew for each reader."""
    app, kept = live_report(storage, (), every=0.0, patience=LONG)
    with served(guarded(only_reading(app, "for reading"), "127.0.0.1")) as found:
        yield found
    kept.close()


def test_the_page_is_served_before_there_is_a_study_and_follows(
    storage: Storage, address: str
) -> None:
    assert "There are no studies yet." in ask(address).text
    add_study(storage, "a/b/c", 8, REACHED)
    add_study(storage, "a/b/c", 16, [{}])
    text = ask(address).text
    assert "a/b/c" in text
    assert "1 trial is not done yet" in text
    with storage.write() as conn:
        ended = update(slots).where(slots.c.outcome.is_(None))
        conn.execute(ended.values(outcome="stalled", state="done", finished_at=1.0))
    assert "1 trial is not done yet" not in ask(address).text


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
    app, kept = live_report(storage, ["a/b/c"])
    with served(app) as found:
        assert "d/e/f" not in ask(found).text
    kept.close()
    with pytest.raises(UsageError, match="no studies of 'x/y/z'"):
        live_report(storage, ["x/y/z"])


@pytest.mark.postgresql
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_real_outage_is_said_on_the_page_and_ends(storage: Storage, postgres: Postgres) -> None:
    add_study(storage, "a/b/c", 8, REACHED)
    app, kept = live_report(storage, (), every=0.0, patience=LONG)
    with served(app) as address:
        postgres.crash()
        eventually(lambda: "The database does not answer." in ask(address).text)
        assert "a/b/c" in ask(address).text
        assert postgres.password not in ask(address).text
        postgres.start()
        eventually(lambda: "does not answer" not in ask(address).text)
    kept.close()


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
