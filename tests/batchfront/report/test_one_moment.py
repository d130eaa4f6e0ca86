"""A page, a command's output and an answer in Python are of one moment, and read once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from batchfront.cli.main import main
from batchfront.frontier.dataframes import load_trials_frame
from batchfront.frontier.frontier import load_frontier
from batchfront.frontier.queries import load_trials
from batchfront.report.files import write_report
from batchfront.report.web.dashboard import Studies
from batchfront.report.web.live_pages import INDEX
from batchfront.report.web.live_report import live_report
from batchfront.store.snapshot import snapshot
from batchfront.store.url import Storage, open_storage
from batchfront.study import study
from tests.batchfront.report.rows import add_study

NAME = "a/b/c"
TRIALS = [
    {
        "outcome": outcome,
        "steps": 100,
        "steps_lower": 90,
        "params": {"learning_rate": 0.1, "momentum": 0.9},
        "curve": [(50, "validation", "error rate", 0.5), (50, "train", "loss", 1.0)],
    }
    for outcome in ("reached", "capped", "stalled", "diverged")
]


@pytest.fixture
def written(storage: Storage) -> Storage:
    """Two studies of four trials, and winners that were run again."""
    for batch_size in (8, 16):
        add_study(storage, NAME, batch_size, TRIALS)
    again = [TRIALS[0] | {"repeats": 0, "steps": steps} for steps in (110, 120)]
    add_study(storage, NAME, 8, again, purpose="confirm")
    add_study(storage, NAME, 16, again, purpose="linear")
    return storage


@contextmanager
def transactions() -> Iterator[set[int]]:
    """The transactions that read studies or slots meanwhile, in whatever engine."""
    begun, reading = 0, set[int]()

    def begin(connection: Connection) -> None:
        nonlocal begun
        begun += 1
        connection.info["transaction"] = begun

    def execute(connection: Connection, cursor: object, statement: str, *rest: object) -> None:
        if "bf_studies" in statement or "bf_slots" in statement:
            reading.add(connection.info["transaction"])

    event.listen(Engine, "begin", begin)
    event.listen(Engine, "before_cursor_execute", execute)
    try:
        yield reading
    finally:
        event.remove(Engine, "begin", begin)
        event.remove(Engine, "before_cursor_execute", execute)


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The search spaces that are parsed."""
    found: list[Any] = []
    parse = study.restore_space

    def counted(described: Any) -> Any:
        found.append(described)
        return parse(described)

    monkeypatch.setattr(study, "restore_space", counted)
    return found


def test_a_page_is_one_transaction_and_parses_each_studys_space_once(
    written: Storage, tmp_path: Path, parses: list[Any]
) -> None:
    with transactions() as reading:
        write_report(written, (), tmp_path / "report.html")
    assert len(reading) == 1
    assert len(parses) == 2


def test_a_served_page_is_one_transaction_each_time_it_is_made(written: Storage) -> None:
    with transactions() as reading:
        _, pages = live_report(written, (), every=0.0)
        pages.read(INDEX)
        reading.clear()
        add_study(written, NAME, 32, TRIALS)
        reading.clear()
        page = pages.read(INDEX)
        assert page is not None
        assert b"batch size 32" in page.body
    pages.close()
    assert len(reading) == 1


def test_the_dashboards_figure_is_one_transaction(written: Storage) -> None:
    studies = Studies(written, changes=False)
    found = studies.get_all_studies()[0].system_attrs
    with transactions() as reading:
        assert any("steps-to-target" in name for name in found)
    assert len(reading) == 1


COMMANDS = (
    "frontier a/b/c",
    "frontier a/b/c --format json",
    "curve",
    "analyze compare",
    "analyze rules a/b/c",
    "analyze outcomes a/b/c",
    "analyze budget a/b/c",
    "analyze goals a/b/c",
    "analyze effect a/b/c --metaparameter learning_rate",
    "status",
    "export --output exported",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_commands_output_is_one_transaction(
    written: Storage, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = written.url.render_as_string(hide_password=False)
    with transactions() as reading, pytest.raises(SystemExit) as ended:
        main([*command.split(), "--storage", url])
    assert not ended.value.code
    assert len(reading) == 1


@pytest.mark.parametrize("load", [load_frontier, load_trials_frame])
def test_an_answer_in_python_is_one_transaction(
    written: Storage, load: Callable[..., object]
) -> None:
    with transactions() as reading:
        load(written.url.render_as_string(hide_password=False), NAME)
    assert len(reading) == 1


@pytest.mark.every_storage
def test_what_is_written_between_two_reads_of_a_moment_is_not_seen(storage: Storage) -> None:
    add_study(storage, NAME, 8, TRIALS)
    other = open_storage(storage.url.render_as_string(hide_password=False))
    with snapshot(storage) as moment:
        before = load_frontier(moment, NAME)
        add_study(other, NAME, 16, TRIALS)
        assert load_frontier(moment, NAME) == before
        assert load_trials(moment, 2) == ()
    assert len(load_frontier(storage, NAME).points) == 2
    other.close()


@pytest.mark.every_storage
def test_a_page_is_of_the_moment_at_which_it_was_begun(storage: Storage, tmp_path: Path) -> None:
    add_study(storage, NAME, 8, TRIALS)
    other = open_storage(storage.url.render_as_string(hide_password=False))
    written = []

    def write(conn: object, cursor: object, statement: str, *rest: object) -> None:
        if "bf_slots" in statement and not written:
            written.append(statement)
            add_study(other, NAME, 4096, TRIALS)

    event.listen(storage.engine, "after_cursor_execute", write)
    page = write_report(storage, (), tmp_path / "report.html").read_text()
    assert written
    assert "4,096" not in page
    assert "4,096" in write_report(storage, (), tmp_path / "report.html").read_text()
    other.close()
