"""What all tests share: one thread, and databases with their tables made once.

A test marked `every_storage` runs on SQLite and on PostgreSQL; any other on SQLite.
"""

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from batchfront.store.url import Storage, open_storage
from tests.postgres import TEMPLATE, NoPostgres, Postgres
from tests.processes import Child, forkserver
from tests.waiting import LONG

torch.set_num_threads(1)
os.environ["BATCHFRONT_ENGINE"] = "sequential"  # of commands: to compare two takes a second
os.environ["BATCHFRONT_CODE"] = str(Path(__file__).parent)  # of commands, too
optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(scope="session")
def made_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with all tables and no studies; making one takes a second."""
    path = tmp_path_factory.mktemp("made") / "empty.db"
    open_storage(f"sqlite:///{path}", create=True).close()
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One PostgreSQL for all tests of this process, with a template of a made database."""
    try:
        server = Postgres()
    except NoPostgres as error:
        pytest.skip(str(error))
    try:
        open_storage(server.url(TEMPLATE), create=True).close()
        server.execute(f"ALTER DATABASE {TEMPLATE} ALLOW_CONNECTIONS false")
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres(postgres_server: Postgres) -> Iterator[Postgres]:
    """The server, which a test may stop, crash or freeze: it is up again for the next one."""
    yield postgres_server
    postgres_server.make_sure()


@pytest.fixture
def postgres_database(postgres: Postgres) -> Iterator[str]:
    """The URL of a PostgreSQL database of the test's own."""
    name = postgres.create()
    yield postgres.url(name)
    postgres.make_sure()
    postgres.drop(name)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep what was imported and collected from being looked through for garbage again and again:
    a million objects, a second each time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the benchmarks, which take minutes, unless `-m` names them; and begin with what
    takes a minute in one test, or one process would be at it when all others are done."""
    items.sort(key=lambda item: item.path.name != "test_checks.py")
    if "benchmarks" in config.getoption("markexpr"):
        return
    benchmarks = [item for item in items if item.get_closest_marker("benchmarks")]
    config.hook.pytest_deselected(items=benchmarks)
    items[:] = [item for item in items if item not in benchmarks]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test marked `every_storage` once on each, if it has to do with one."""
    if metafunc.definition.get_closest_marker("every_storage"):
        both = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]
        for name in {"database", "empty_database"} & set(metafunc.fixturenames):
            metafunc.parametrize(name, both, indirect=True)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table of the workloads that ran on small data."""
    reports = [r for found in terminalreporter.stats.values() for r in found]
    kept = [item for report in reports for item in getattr(report, "user_properties", ())]
    rows = sorted({tuple(row) for key, row in kept if key == "workload on small data"})
    if rows:
        terminalreporter.section("workloads on small data")
    for name, parameters, ends in rows:
        terminalreporter.write_line(f"{name:<66} {parameters:>12,} parameters  {ends}")


@pytest.fixture
def database(request: pytest.FixtureRequest, made_database: Path, tmp_path: Path) -> str:
    """The URL of a database of the test's own."""
    if getattr(request, "param", "sqlite") == "postgresql":
        url: str = request.getfixturevalue("postgres_database")
        return url
    path = tmp_path / "trials.db"
    shutil.copy(made_database, path)
    return f"sqlite:///{path}"


@pytest.fixture
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database in which nothing has been made yet."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create(template="template0")
    yield server.url(name)
    server.make_sure()
    server.drop(name)


@pytest.fixture
def storage(database: str) -> Iterator[Storage]:
    """The same, opened."""
    opened = open_storage(database)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def at_once() -> Callable[..., list[Any]]:
    """Runs a module's function in so many processes at once, and gathers what they return.

    Its arguments: what is given, then the process's number, then a barrier for all of them.
    """
    context = forkserver("tests.conftest", "batchfront.worker.backends.models")  # torch, but once

    def run(count: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        barrier, found = context.Barrier(count), context.Queue()
        parts = [(function, arguments, n, barrier, found) for n in range(count)]
        processes = [Child(_report, part) for part in parts]
        for process in processes:
            process.start()
        answers = [found.get(timeout=LONG) for _ in processes]
        for process in processes:
            process.join(LONG)
        assert [process.exitcode for process in processes] == [0] * count, answers
        return answers

    return run


@pytest.fixture(scope="session")
def eight_processes(at_once: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """The same, in eight."""
    return partial(at_once, 8)


def _report(
    function: Callable[..., Any], arguments: tuple[Any, ...], n: int, barrier: Any, found: Any
) -> None:
    try:
        found.put(function(*arguments, n, barrier))
    except BaseException as error:
        found.put(f"{type(error).__name__}: {error}")
        raise
