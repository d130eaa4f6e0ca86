"""Commands as messages advise them."""

import shlex

import pytest

from batchfront.store.commands import command
from batchfront.store.database import parse_url


def test_words_are_quoted_and_the_database_is_named_with_all_but_its_passwords() -> None:
    url = parse_url("postgresql://ana:secret@db/runs?sslmode=require&sslpassword=secret")
    found = command(url, "import batch-science", "a folder", "--workloads", "*")
    assert shlex.split(found.strip("`")) == [
        *("batchfront", "import", "batch-science", "a folder", "--workloads", "*"),
        *("--storage", "postgresql+psycopg2://ana@db/runs?sslmode=require"),
    ]


def test_a_launchers_database_is_named_to_who_reads_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BATCHFRONT_STORAGE", "sqlite:///runs.db")
    told = "`batchfront status --storage sqlite:///runs.db`"
    assert command(parse_url("sqlite:///runs.db"), "status") == told


def test_a_database_that_the_environment_names_with_a_password_is_left_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert command(parse_url("sqlite:///batchfront.db"), "status") == "`batchfront status`"
    monkeypatch.setenv("BATCHFRONT_STORAGE", "postgresql://ana:secret@db/runs")
    assert command(parse_url("postgresql://ana@db/runs"), "status") == "`batchfront status`"
    other = "`batchfront status --storage sqlite:///batchfront.db`"
    assert command(parse_url("sqlite:///batchfront.db"), "status") == other
