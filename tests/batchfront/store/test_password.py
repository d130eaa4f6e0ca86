"""The password's way from a file into the URL, and nowhere else."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from batchfront.errors import UsageError
from batchfront.store.url import open_storage, with_password

SERVER = make_url("postgresql+psycopg2://batchfront@postgres/batchfront?sslmode=require")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "password"
    path.write_text("p@ss:w/rd %\n")
    monkeypatch.setenv("BATCHFRONT_PASSWORD_FILE", str(path))
    return path


def test_the_file_s_password_is_the_url_s(file: Path) -> None:
    assert with_password(SERVER) == SERVER.set(password="p@ss:w/rd %")


def test_a_url_with_a_password_keeps_it(file: Path) -> None:
    url = SERVER.set(password="its own")
    assert with_password(url) is url


def test_a_file_database_has_none(file: Path) -> None:
    url = make_url("sqlite:///studies.db")
    assert with_password(url) is url


def test_without_the_variable_libpq_looks_for_one_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BATCHFRONT_PASSWORD_FILE", raising=False)
    assert with_password(SERVER) is SERVER


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "can't be read"), (b"\n", "is empty"), (b"\xff\xfe", "is not text")],
)
def test_a_bad_file_is_named(file: Path, content: bytes | None, complaint: str) -> None:
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(UsageError, match=f"BATCHFRONT_PASSWORD_FILE {file}: {complaint}"):
        with_password(SERVER)


def test_it_is_looked_for_wherever_a_database_is_opened(file: Path) -> None:
    file.unlink()
    with pytest.raises(UsageError, match="BATCHFRONT_PASSWORD_FILE"):
        open_storage("postgresql://batchfront@127.0.0.1/batchfront")
