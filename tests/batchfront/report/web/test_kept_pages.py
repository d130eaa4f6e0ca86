"""Pages that are kept: made anew when something has changed, and never half."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from batchfront.errors import StorageError
from batchfront.report.page import NOTICE
from batchfront.report.web.kept_pages import Fresh, KeptPages, Made, NoSuchPage
from tests.waiting import LONG, eventually

WAITING = f"<main>{NOTICE}being made</main>"


class Source:
    """A database as pages see it: a state that the test sets, and what was asked of it."""

    def __init__(self) -> None:
        self.state, self.reads = 0, 0
        self.made: list[str] = []
        self.error: Exception | None = None
        self.read: Callable[[], object] = lambda: None
        self.make: Callable[[], object] = lambda: None
        self.whole = True

    def renew(self, name: str, before: object) -> Fresh | None:
        self.reads += 1
        self.read()
        if self.error is not None:
            raise self.error
        if name == "none":
            raise NoSuchPage
        state = self.state
        return (
            None
            if state == before
            else Fresh(state, lambda: Made(self._text(name, state)), self.whole)
        )

    def _text(self, name: str, state: int) -> str:
        self.make()
        self.made.append(name)
        return f"<main>{NOTICE}{name} in state {state}</main>"


def text(kept: KeptPages, name: str = "a") -> str:
    page = kept.read(name)
    assert page is not None
    return page.body.decode()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def kept(source: Source) -> Iterator[KeptPages]:
    pages = KeptPages(source.renew, WAITING, every=0.0, patience=LONG)
    yield pages
    pages.close()


def test_a_page_is_made_anew_when_something_has_changed_and_not_otherwise(
    source: Source, kept: KeptPages
) -> None:
    assert "a in state 0" in text(kept)
    assert "a in state 0" in text(kept)
    assert source.made == ["a"]
    source.state = 7
    assert "a in state 7" in text(kept)
    assert source.made == ["a", "a"]


def test_nothing_is_done_for_a_page_that_nobody_reads(source: Source, kept: KeptPages) -> None:
    assert source.reads == 0
    assert ("a in" in text(kept), "b in" in text(kept, "b")) == (True, True)
    source.state = 1
    assert "b in state 1" in text(kept, "b")
    assert source.made == ["a", "b", "b"]


def test_the_database_is_left_alone_between_looks_however_many_read(source: Source) -> None:
    kept = KeptPages(source.renew, every=60.0, patience=LONG)
    with ThreadPoolExecutor(8) as readers:
        assert len({*readers.map(lambda _: text(kept), range(200))}) == 1
    assert source.reads == 1
    kept.close()


def test_a_page_with_more_to_show_is_read_on_at_once(source: Source) -> None:
    kept = KeptPages(source.renew, every=60.0, patience=LONG)
    source.whole = False
    assert "state 0" in text(kept)
    source.state, source.whole = 1, True
    assert "state 1" in text(kept)
    source.state = 2
    assert "state 1" in text(kept)
    kept.close()


def test_there_is_no_page_of_what_is_not_there_and_none_is_kept_of_what_has_gone(
    source: Source, kept: KeptPages
) -> None:
    assert kept.read("none") is None
    assert "a in" in text(kept)
    source.error = NoSuchPage()
    assert kept.read("a") is None
    source.error = None
    assert "a in state 0" in text(kept)  # planned again


def test_those_that_nobody_has_read_for_longest_make_room(source: Source) -> None:
    kept = KeptPages(source.renew, every=60.0, patience=LONG, most=400)  # two of them
    for name in ("a", "b", "a", "c", "a", "b"):
        assert f"{name} in" in text(kept, name)
    assert source.made == ["a", "b", "c", "b"]
    kept.close()


def test_an_outage_keeps_the_last_page_and_says_so_until_it_is_over(
    source: Source, kept: KeptPages
) -> None:
    assert 'role="status" hidden' in text(kept)
    source.error = StorageError("no route to postgresql://me:secret@db")
    said = text(kept)
    assert "a in state 0" in said
    assert "The database does not answer. Below is what it showed on " in said
    assert "hidden" not in said
    assert "secret" not in said
    assert said == text(kept)  # so that a browser is not given it again and again
    never = text(kept, "b")
    assert "being made" in never
    assert "The database does not answer.<" in never
    source.error, source.state = None, 1
    assert "a in state 1" in text(kept)
    assert "does not answer" not in text(kept)


def test_an_error_in_the_page_itself_is_said_too(source: Source, kept: KeptPages) -> None:
    source.error = KeyError("<script>")
    assert "This page could not be made anew." in text(kept)
    assert "script" not in text(kept)


def test_a_reader_is_not_held_up_by_a_database_that_hangs(source: Source) -> None:
    hanging, answer = Event(), Event()

    def hang() -> None:
        hanging.set()
        assert answer.wait(LONG)

    kept = KeptPages(source.renew, WAITING, every=0.0, patience=0.01, overdue=0.0)
    eventually(lambda: "a in state 0" in text(kept))
    source.state, source.read = 1, hang
    assert "a in state 0" in text(kept)
    assert hanging.wait(LONG)
    assert "a in state 0" in text(kept)
    assert "The database does not answer." in text(kept)
    answer.set()
    eventually(lambda: "a in state 1" in text(kept))
    kept.close()


def test_a_page_that_is_long_in_the_making_is_no_outage(source: Source) -> None:
    making, made = Event(), Event()

    def make() -> None:
        making.set()
        assert made.wait(LONG)

    kept = KeptPages(source.renew, WAITING, every=0.0, patience=0.01, overdue=0.0)
    source.make = make
    assert "being made" in text(kept)
    assert making.wait(LONG)
    assert "does not answer" not in text(kept)
    made.set()
    eventually(lambda: "a in state 0" in text(kept))
    kept.close()
