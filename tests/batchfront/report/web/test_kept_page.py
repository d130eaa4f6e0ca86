"""A page that is kept: made anew when something has changed, and never half."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from batchfront.errors import StorageError
from batchfront.report.page import NOTICE
from batchfront.report.web.kept_page import KeptPage
from tests.waiting import LONG, eventually


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
    assert "state 0" in kept.read().body.decode()
    assert "state 0" in kept.read().body.decode()
    assert source.made == 1
    source.state = 7
    assert "state 7" in kept.read().body.decode()
    assert source.made == 2


def test_the_database_is_left_alone_between_looks_however_many_read(source: Source) -> None:
    kept = KeptPage(source.renew, every=60.0)
    with ThreadPoolExecutor(8) as readers:
        assert len({*readers.map(lambda _: kept.read().tag, range(200))}) == 1
    assert source.reads == 1
    kept.close()


def test_an_outage_keeps_the_last_page_and_says_so_until_it_is_over(
    source: Source, kept: KeptPage
) -> None:
    assert 'role="status" hidden' in kept.read().body.decode()
    source.error = StorageError("no route to postgresql://me:secret@db")
    said = kept.read().body.decode()
    assert "state 0" in said
    assert "The database does not answer. Below is what it showed on " in said
    assert "hidden" not in said
    assert "secret" not in said
    assert said == kept.read().body.decode()  # so that a browser is not given it again and again
    source.error, source.state = None, 1
    assert "state 1" in kept.read().body.decode()
    assert "does not answer" not in kept.read().body.decode()


def test_an_error_in_the_page_itself_is_said_too(source: Source, kept: KeptPage) -> None:
    source.error = KeyError("<script>")
    assert "This page could not be made anew." in kept.read().body.decode()
    assert "script" not in kept.read().body.decode()


def test_a_reader_is_not_held_up_by_a_database_that_hangs(source: Source) -> None:
    hanging, answer = Event(), Event()

    def hang() -> str:
        hanging.set()
        assert answer.wait(LONG)
        return make()

    kept = KeptPage(source.renew, every=0.0, patience=0.01, overdue=0.0)
    make, source.make, source.state = source.make, hang, 1
    assert "state 0" in kept.read().body.decode()
    assert hanging.wait(LONG)
    assert "state 0" in kept.read().body.decode()
    assert "The database does not answer." in kept.read().body.decode()
    answer.set()
    eventually(lambda: "state 1" in kept.read().body.decode())
    kept.close()
