"""A SQLite file is made by the first write, and by nothing before it."""

from pathlib import Path
from threading import Event, Thread

import pytest

from batchfront.errors import StorageError
from batchfront.store import unmade
from batchfront.store.url import open_storage, open_to_write
from batchfront.study.study import Filter, find_studies
from tests.searches import NAME, planned
from tests.waiting import LONG


def test_until_it_is_written_to_it_is_read_as_one_without_studies(tmp_path: Path) -> None:
    storage = open_to_write(f"sqlite:///{tmp_path}/trials.db")
    with storage.read() as conn:
        assert find_studies(conn, Filter()) == []
        assert str(conn.engine.url) == f"sqlite:///{tmp_path}/trials.db"
    storage.close()
    assert list(tmp_path.iterdir()) == []


def test_the_first_write_makes_it_with_its_tables(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/trials.db"
    storage = open_to_write(url)
    planned(storage)
    for one in (storage, open_storage(url)):
        with one.read() as conn:
            assert {study.workload for study in find_studies(conn, Filter())} == {NAME}
        one.close()


def test_what_somebody_else_has_made_meanwhile_is_read_and_written_to(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/trials.db"
    mine, theirs = open_to_write(url), open_to_write(url)
    with mine.read() as conn:
        assert find_studies(conn, Filter()) == []
    planned(theirs)
    with mine.read() as conn:
        assert {study.workload for study in find_studies(conn, Filter())} == {NAME}
    planned(mine)
    mine.close()
    theirs.close()


def test_an_error_while_it_is_made_is_told_each_time(tmp_path: Path) -> None:
    storage = open_to_write(f"sqlite:///{tmp_path}/trials.db")
    (tmp_path / "trials.db").write_bytes(b"not a database" * 100)
    for _ in range(2):
        with pytest.raises(StorageError, match="file is not a database"), storage.write():
            pass
    storage.close()


def test_while_one_thread_makes_it_others_find_no_studies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_to_write(f"sqlite:///{tmp_path}/trials.db")
    begun, seen, make_schema = Event(), Event(), unmade.make_schema

    def make_when_seen(made: unmade.Unmade) -> None:
        begun.set()
        assert seen.wait(LONG)
        make_schema(made)

    monkeypatch.setattr(unmade, "make_schema", make_when_seen)
    writing = Thread(target=planned, args=(storage,))
    writing.start()
    assert begun.wait(LONG)
    try:
        with storage.read() as conn:
            assert find_studies(conn, Filter()) == []
    finally:
        seen.set()
        writing.join(LONG)
    with storage.read() as conn:
        assert {study.workload for study in find_studies(conn, Filter())} == {NAME}
    storage.close()
