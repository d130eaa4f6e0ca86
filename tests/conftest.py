"""What all tests share: one thread, and a database with its tables made once."""

import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="session")
def eight_processes() -> Callable[..., list[Any]]:
    """Runs a module's function in eight processes at once, and gathers what they return.

    Its arguments: what is given, then the process's number, then a barrier for all eight.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.conftest", "service.worker"])  # torch, but once

    def run(function: Callable[..., Any], *arguments: Any) -> list[Any]:
        barrier, found = context.Barrier(8), context.Queue()
        parts = [(function, arguments, n, barrier, found) for n in range(8)]
        processes = [context.Process(target=_report, args=part, daemon=True) for part in parts]
        for process in processes:
            process.start()
        answers = [found.get(timeout=60) for _ in processes]
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0] * 8, answers
        return answers

    return run


def _report(
    function: Callable[..., Any], arguments: tuple[Any, ...], n: int, barrier: Any, found: Any
) -> None:
    try:
        found.put(function(*arguments, n, barrier))
    except BaseException as error:
        found.put(f"{type(error).__name__}: {error}")
        raise
