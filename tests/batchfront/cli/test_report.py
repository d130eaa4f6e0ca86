"""`batchfront report --serve`, as a process, while a worker runs."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.batchfront.cli.conftest import Result
from tests.batchfront.cli.servers import serving
from tests.waiting import eventually
from tests.web import ask

Run = Callable[..., Result]
Write = Callable[..., str]
Start = Callable[..., "subprocess.Popen[str]"]

NAME = "blobs/linear/momentum"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_it_serves_the_page_which_follows_the_workers_until_a_signal(
    batchfront: Run,
    workload_file: Write,
    started: Start,
    folder: Path,
    number: int,
    code: int,
) -> None:
    file = workload_file()
    assert batchfront("plan", file, "--trials", "2").code == 0
    with serving(started, "report", "--serve") as report:
        assert report.address.startswith("http://127.0.0.1:")
        eventually(lambda: "No trial has reached the goal yet." in ask(report.address).text)
        assert batchfront("work", file).code == 0
        eventually(lambda: "Steps to target</h3>" in ask(report.address).text)
        assert ask(report.address, "/", "DELETE").status == 405
        assert ask(report.address, "/", "GET", {"Host": "evil.example"}).status == 403
        assert report.end(number) == (code, "")
    assert not (folder / "report.html").exists()


def test_a_workload_without_studies_is_refused(batchfront: Run, workload_file: Write) -> None:
    assert batchfront("plan", workload_file(), "--trials", "1").code == 0
    result = batchfront("report", "--serve", "not/there/sgd")
    assert result.code == 2
    assert f"there are: {NAME}" in result.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--dashboard", "javascript:alert(1)"), "not the address of a dashboard"),
        (("--figures", "here", "--serve"), "--figures and --serve: use one of them"),
        (("--figure-format", "gif"), "'gif' is not one of 'svg', 'png', 'pdf'"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    batchfront: Run, workload_file: Write, arguments: tuple[str, ...], said: str
) -> None:
    assert batchfront("plan", workload_file(), "--trials", "1").code == 0
    result = batchfront("report", *arguments)
    assert result.code == 2
    assert said in result.err
