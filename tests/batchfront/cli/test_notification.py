"""Whoever doesn't look is told how a run goes: by a command, or by HTTP."""

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from batchfront.cli.notification import STALLED_SECONDS, News, Notifier, StallWatch
from batchfront.errors import BatchfrontError, UsageError
from batchfront.ledger.status import Status, load_status
from batchfront.store.database import Storage
from batchfront.study.study import Filter
from tests.schemas import hold
from tests.searches import NAME, end, planned, reached
from tests.waiting import Seconds


class Hook(BaseHTTPRequestHandler):
    """Keeps what is posted; answers as it is told to."""

    posted: list[tuple[str, Any]]
    answer: int
    leads_to = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.posted.append((self.headers["Content-Type"], json.loads(body)))
        self.send_response(self.answer)
        if self.leads_to:
            self.send_header("Location", self.leads_to)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[tuple[type[Hook], str]]:
    class Mine(Hook):
        posted: list[tuple[str, Any]] = []  # noqa: RUF012
        answer = 200

    server = HTTPServer(("127.0.0.1", 0), Mine)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield Mine, f"http://127.0.0.1:{server.server_port}/secret"
    server.shutdown()
    server.server_close()


def writing(to: Path) -> str:
    """A command that writes what it is told to a file."""
    code = f"import sys; open({str(to)!r}, 'a').write(sys.stdin.read() + chr(10))"
    return f'{sys.executable} -c "{code}"'


def news(notifier: Notifier, storage: Storage) -> News:
    return News(notifier, storage, Filter(), NAME, "/there/report.html")


def test_a_command_is_told_on_its_standard_input(storage: Storage, tmp_path: Path) -> None:
    planned(storage, batch_sizes=(4,), trials=2)
    end(storage, f"{NAME}/b4", {0: reached(40), 1: reached(50)})
    news(Notifier(writing(tmp_path / "told")), storage).ended(0)
    told = json.loads((tmp_path / "told").read_text())
    hold("notify", told)
    assert (told["event"], told["workload"], told["report"]) == ("done", NAME, "/there/report.html")
    assert told["text"] == f"batchfront: {NAME} is done: batch size 4 takes 40 steps"
    assert (told["trials"], told["trials_done"]) == (2, 2)
    (size,) = told["batch_sizes"]
    assert (size["batch_size"], size["steps_to_target"], size["goal"]) == (4, 40, 0.1)
    assert size["outcomes"] == {"reached": 2}


def test_a_url_is_told_by_post(storage: Storage, hook: tuple[type[Hook], str]) -> None:
    planned(storage, batch_sizes=(4,))
    mine, url = hook
    told = news(Notifier(url), storage)
    told.ended(0, "--max-time 10m")
    told.ended(130)
    told.ended(1)
    assert {kind for kind, _ in mine.posted} == {"application/json"}
    assert [(said["event"], said["text"].partition(NAME)[2]) for _, said in mine.posted] == [
        ("stopped", " was stopped: by --max-time 10m"),
        ("stopped", " was stopped: it was interrupted"),
        ("failed", " has failed: it didn't come to an answer; its output says why"),
    ]


def test_a_url_is_one_in_capitals_and_between_spaces(
    storage: Storage, hook: tuple[type[Hook], str]
) -> None:
    planned(storage, batch_sizes=(4,))
    mine, url = hook
    news(Notifier(f" {url.replace('http', 'HTTP')}\n"), storage).ended(0)
    assert len(mine.posted) == 1


def test_a_command_may_have_a_url_among_its_arguments(storage: Storage, tmp_path: Path) -> None:
    planned(storage, batch_sizes=(4,))
    news(Notifier(f"{writing(tmp_path / 'told')} https://example.org"), storage).ended(0)
    assert (tmp_path / "told").read_text()


def test_what_ends_a_run_is_told_and_raised(storage: Storage, tmp_path: Path) -> None:
    planned(storage, batch_sizes=(4,))
    told = news(Notifier(writing(tmp_path / "told")), storage)
    with pytest.raises(BatchfrontError, match="died"), told.of_failure():
        raise BatchfrontError("a worker died")
    with pytest.raises(KeyboardInterrupt), told.of_failure():
        raise KeyboardInterrupt
    said = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert [one["event"] for one in said] == ["failed", "stopped"]
    assert said[0]["text"].endswith("has failed: a worker died")


@pytest.mark.parametrize("moved", [301, 302, 303, 307, 308])
def test_a_redirection_is_not_followed_as_it_would_lose_what_is_told(
    moved: int, storage: Storage, hook: tuple[type[Hook], str], caplog: pytest.LogCaptureFixture
) -> None:
    planned(storage, batch_sizes=(4,))
    mine, url = hook
    mine.answer, mine.leads_to = moved, url + "/elsewhere"
    news(Notifier(url), storage).ended(0)
    assert len(mine.posted) == 1
    assert f"answered {moved} " in caplog.text
    assert caplog.text.rstrip().endswith("; give the URL that it leads to")


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("http://me:secret@127.0.0.1/", "has a user name"),
        ("http://127.0.0.1:secret/", "the port of the URL, after 127.0.0.1:, is none"),
        ("http://127.0.0.1:99999/secret", "the port of the URL, after 127.0.0.1:, is none"),
        ("http://127.0.0.1/my secret", "a space"),
        ("http://127.0.0.1/sécret", "beyond ASCII"),
        ("http://[secret/", "can't be read"),
        ("ftp://127.0.0.1/secret", "a URL of 'ftp' can't be posted to"),
        ("://secret", "a URL of '' can't be posted to"),
    ],
)
def test_a_url_to_which_nothing_can_be_posted_is_refused_before_the_run(
    url: str, wrong: str
) -> None:
    with pytest.raises(UsageError, match=wrong) as refused:
        Notifier(url)
    assert "secret" not in str(refused.value)


def test_a_url_that_answers_a_little_at_a_time_is_given_up(
    storage: Storage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage, batch_sizes=(4,))
    over = Event()

    class Dripping(Hook):
        def do_POST(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
            while not over.wait(0.02):
                self.wfile.write(b"x")

    server = HTTPServer(("127.0.0.1", 0), Dripping)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr("batchfront.cli.notification._HTTP_SECONDS", 1.0)
    news(Notifier(f"http://127.0.0.1:{server.server_port}/secret"), storage).ended(0)
    over.set()
    server.shutdown()
    server.server_close()
    assert caplog.messages[0].endswith("is done: 127.0.0.1 hasn't answered after 1 s")


def test_what_a_command_leaves_in_the_background_is_not_waited_for(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    planned(storage, batch_sizes=(4,))
    pid = tmp_path / "pid"
    # It ends only after the command has been given up.
    news(Notifier(f"sh -c 'sleep 300 & echo $! > {pid}'"), storage).ended(0)
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert not caplog.messages


def test_that_nobody_could_be_told_is_a_warning_without_the_secret_of_a_url(
    storage: Storage, hook: tuple[type[Hook], str], caplog: pytest.LogCaptureFixture
) -> None:
    planned(storage, batch_sizes=(4,))
    mine, url = hook
    mine.answer = 404
    failing = f"{sys.executable} -c \"import sys; sys.exit('no mail today')\""
    with caplog.at_level(logging.WARNING):
        news(Notifier(url), storage).ended(0)
        news(Notifier("http://127.0.0.1:9/secret"), storage).ended(0)
        news(Notifier(failing), storage).ended(0)
    answered, refused, failed = caplog.messages
    assert answered == (
        "--notify: nobody was told that the run is done: 127.0.0.1 answered 404 Not Found"
    )
    assert "127.0.0.1: " in refused
    assert failed.endswith("no mail today (exit code 1)")
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("sendmial -s done", "there is no command 'sendmial' here"),
        ("", "give a command, or a URL"),
        ('mail "x', "No closing quotation"),
        ("https:///path", "the URL has no host"),
    ],
)
def test_whom_nobody_could_tell_is_refused_at_once(target: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Notifier(target)


def test_that_nothing_gets_on_is_told_once_each_time(storage: Storage) -> None:
    planned(storage, batch_sizes=(4,), trials=2)
    told: list[str] = []
    time = Seconds()

    def tell(_: Status, said: str) -> None:
        told.append(said)

    watch = StallWatch(tell, time)
    before = load_status(storage, Filter())
    assert watch(before) is None
    time.pass_by(STALLED_SECONDS)
    said = watch(before)
    assert said == "no step has been told and no trial has ended for 10 min 00 s"
    time.pass_by(STALLED_SECONDS)
    assert watch(before) is None
    end(storage, f"{NAME}/b4", {0: reached(40)})
    after = load_status(storage, Filter())
    assert watch(after) is None
    time.pass_by(STALLED_SECONDS)
    assert watch(after) == said
    assert told == [said, said]
