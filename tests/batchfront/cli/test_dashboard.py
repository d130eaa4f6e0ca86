"""`batchfront dashboard`, as a process: what it serves, to whom, and how it ends."""

import signal
import subprocess
from collections.abc import Callable

import optuna
import pytest

from tests.batchfront.cli.conftest import Result
from tests.batchfront.cli.servers import serving
from tests.web import ask

Run = Callable[..., Result]
Write = Callable[..., str]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def planned(batchfront: Run, workload_file: Write) -> None:
    """Two studies that nobody has run."""
    assert batchfront("plan", workload_file(), "--trials", "1").code == 0


def names() -> list[str]:
    return sorted(optuna.get_all_study_names("sqlite:///batchfront.db"))


NAMES = ["blobs/linear/momentum/b2", "blobs/linear/momentum/b8"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_it_serves_this_machine_for_reading_until_a_signal(
    planned: None, started: Start, number: int, code: int
) -> None:
    with serving(started, "dashboard") as dashboard:
        assert dashboard.address.startswith("http://127.0.0.1:")
        assert dashboard.said.count("\n") == 1
        assert "for reading" in dashboard.said
        listed = ask(dashboard.address, "/api/studies").json["study_summaries"]
        assert sorted(study["study_name"] for study in listed) == NAMES
        refused = ask(dashboard.address, "/api/studies/1", "DELETE")
        assert refused.status == 405
        assert "--allow-changes" in refused.json["reason"]
        assert ask(dashboard.address, "/", "GET", {"Host": "evil.example"}).status == 403
        assert dashboard.end(number) == (code, "")
    assert names() == NAMES


def test_it_lets_changes_through_when_told_to(planned: None, started: Start) -> None:
    with serving(started, "dashboard", "--allow-changes") as dashboard:
        assert "changes allowed" in dashboard.said
        elsewhere = {"Origin": "https://evil.example"}
        assert ask(dashboard.address, "/api/studies/1", "DELETE", elsewhere, {}).status == 403
        assert names() == NAMES
        assert ask(dashboard.address, "/api/studies/1", "DELETE", {}, {}).status == 204
    assert names() == NAMES[1:]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("dashboard",), "can read every study: there is no authentication"),
        (("dashboard", "--allow-changes"), "can read, change and delete every study"),
        (("report", "--serve"), "can read it: there is no authentication"),
    ],
)
def test_listening_beyond_this_machine_is_warned_of(
    planned: None, started: Start, arguments: tuple[str, ...], says: str
) -> None:
    with serving(started, *arguments, "--host", "0.0.0.0") as server:
        assert f"warning: whoever reaches 0.0.0.0 {says}" in server.said
        port = server.address.rstrip("/").rpartition(":")[2]
        answer = ask(f"http://127.0.0.1:{port}/", "/", "GET", {"Host": "a.name.of.ours"})
        assert answer.status in (200, 302)


@pytest.mark.parametrize("arguments", [("dashboard",), ("report", "--serve")])
def test_a_port_in_use_is_one_line(
    planned: None, started: Start, batchfront: Run, arguments: tuple[str, ...]
) -> None:
    with serving(started, "dashboard") as first:
        port = first.address.rstrip("/").rpartition(":")[2]
        result = batchfront(*arguments, "--port", port)
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert f"--host 127.0.0.1 --port {port}: can't listen there" in result.err
    assert batchfront(*arguments, "--port", "70000").code == 2


def test_the_password_of_the_database_is_not_said(batchfront: Run) -> None:
    url = "postgresql://me:secret@127.0.0.1:1/none"
    for arguments in (("dashboard",), ("report", "--serve")):
        result = batchfront(*arguments, "--storage", url)
        assert result.code == 1
        assert "secret" not in result.err
        assert "me:***@127.0.0.1" in result.err
