"""`batchfront dashboard`, as a process: what it serves, to whom, and how it ends."""

import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

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


NAME = ("--allowed-host", "batchfront.example")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("dashboard",), "can read every study: there is no authentication"),
        (("dashboard", "--allow-changes", *NAME), "can read, change and delete every study"),
        (("report", "--serve"), "can read it: there is no authentication"),
    ],
)
def test_listening_beyond_this_machine_is_warned_of_and_still_not_under_any_name(
    planned: None, started: Start, arguments: tuple[str, ...], says: str
) -> None:
    with serving(started, *arguments, "--host", "0.0.0.0") as server:
        assert f"warning: whoever reaches 0.0.0.0 {says}" in server.said
        here = server.address.replace("0.0.0.0", "127.0.0.1")
        answers = {
            host: ask(here, "/", "GET", {"Host": host}).status
            for host in ("localhost", "evil.example", "batchfront.example:8080")
        }
        assert answers["evil.example"] == 403
        assert answers["localhost"] in (200, 302)
        assert answers["batchfront.example:8080"] in (
            (200, 302) if "--allow-changes" in arguments else (403,)
        )


def test_what_may_change_needs_its_name_and_the_command_that_is_advised_has_it(
    planned: None, started: Start, batchfront: Run
) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "not-here.example"):
        refused = batchfront("dashboard", "--allow-changes", "--host", host)
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        advised = shlex.split(refused.err.split("`")[1])
        assert advised[:5] == ["batchfront", "dashboard", "--allow-changes", "--host", host]
        assert advised[5] == "--allowed-host"
        if host == "0.0.0.0":
            with serving(started, *advised[1:]) as dashboard:
                here = dashboard.address.replace("0.0.0.0", "127.0.0.1")
                named = {"Host": advised[6]}
                assert ask(here, "/api/studies/1", "DELETE", named, {}).status == 204


@pytest.mark.parametrize("arguments", [("dashboard",), ("report", "--serve")])
def test_it_is_shown_to_who_has_the_token_and_healthy_for_everyone(
    planned: None, started: Start, folder: Path, arguments: tuple[str, ...]
) -> None:
    secret = "correct-horse-battery-staple"
    (folder / "token").touch(0o600)
    (folder / "token").write_text(f"{secret}\n")
    with serving(started, *arguments, "--token-file", "token") as server:
        assert server.said.count("\n") == 1
        assert "to who has the token of token" in server.said
        path = "/api/studies" if arguments == ("dashboard",) else "/"
        assert ask(server.address, path).status == 401
        bearer = {"Authorization": f"Bearer {secret}"}
        assert "blobs/linear/momentum" in ask(server.address, path, "GET", bearer).text
        assert ask(server.address, path, "DELETE", bearer).status == 405
        assert ask(server.address, f"{path}?token={secret}").status == 303
        assert ask(server.address, f"{path}?token=wrong-{secret}").status == 401
        assert ask(server.address, "/healthz").body == b"ok\n"
        metrics = ask(server.address, "/metrics", "GET", bearer)
        assert (metrics.status == 200) == (arguments != ("dashboard",))
        assert ask(server.address, "/metrics").status == 401
        code, said = server.end(signal.SIGTERM)
        assert (code, said) == (0, "")
        assert secret not in server.said


@pytest.mark.parametrize("arguments", [("dashboard",), ("report", "--serve")])
def test_a_token_that_others_can_read_or_guess_is_refused_or_warned_of(
    planned: None, started: Start, batchfront: Run, folder: Path, arguments: tuple[str, ...]
) -> None:
    (folder / "token").write_text("hunter2")
    (folder / "token").chmod(0o644)
    refused = batchfront(*arguments, "--token-file", "token")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert refused.err.endswith(": `chmod 600 token`\n")
    (folder / "token").chmod(0o600)
    with serving(started, *arguments, "--token-file", "token", "--host", "0.0.0.0") as server:
        assert "a token as short as that of token can be guessed" in server.said
        assert "travel unencrypted" in server.said
        assert "no authentication" not in server.said
        assert "hunter2" not in server.said
    (folder / "token").write_text("")
    assert "is empty" in batchfront(*arguments, "--token-file", "token").err
    assert "can't be read" in batchfront(*arguments, "--token-file", "missing").err


def test_a_name_that_is_none_is_one_line(batchfront: Run) -> None:
    refused = batchfront("dashboard", "--allowed-host", "http://batchfront.example:8080")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "is no host's name" in refused.err


def test_names_come_from_the_environment_too(
    planned: None, started: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHFRONT_ALLOWED_HOST", "one.example two.example")
    with serving(started, "dashboard") as server:
        for host, status in (("two.example", 302), ("one.example", 302), ("evil.example", 403)):
            assert ask(server.address, "/", "GET", {"Host": host}).status == status


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
