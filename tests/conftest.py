"""What all tests share: one thread, and a database with its tables made once."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import torch

from service.storage import Storage, open_storage

torch.set_num_threads(1)
optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(scope="session")
def made_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with all tables and no studies; making one takes a second."""
    path = tmp_path_factory.mktemp("made") / "empty.db"
    open_storage(f"sqlite:///{path}", create=True).close()
    return path


@pytest.fixture
def database(made_database: Path, tmp_path: Path) -> str:
    """The URL of a database of the test's own."""
    path = tmp_path / "trials.db"
    shutil.copy(made_database, path)
    return f"sqlite:///{path}"


@pytest.fixture
def storage(database: str) -> Iterator[Storage]:
    """The same, opened."""
    opened = open_storage(database)
    yield opened
    opened.close()
