"""`batchfront report --serve`, as a process, while a worker runs."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from markupsafe import Markup

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
        nobody = "No trial has reached the goal yet."  # of which a word is a link
        eventually(lambda: nobody in Markup(ask(report.address).text).striptags())
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
        (("--price", "-1"), "--price -1.0: must be at least 0 and at most 1e12, such as 2.5"),
        (("--devices", "0"), "0 is no number of devices; the smallest is 1"),
        (("--machines", "none.toml"), "none.toml"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    batchfront: Run, workload_file: Write, arguments: tuple[str, ...], said: str
) -> None:
    assert batchfront("plan", workload_file(), "--trials", "1").code == 0
    result = batchfront("report", *arguments)
    assert result.code == 2
    assert said in result.err


def test_the_page_is_asked_for_prices(batchfront: Run, folder: Path) -> None:
    (folder / "steps.csv").write_text(
        "workload,batch_size,seed,steps\nnlp/gpt/adam,4,0,900\nnlp/gpt/adam,8,0,500\n"
    )
    (folder / "timed.csv").write_text(
        "workload,device,devices,batch_size,seconds_per_step\n"
        "nlp/gpt/adam,TPU v5,1,4,0.5\nnlp/gpt/adam,TPU v5,1,8,0.6\nnlp/gpt/adam,TPU v5,2,8,0.4\n"
    )
    assert batchfront("import", "points", "steps.csv").code == 0
    assert batchfront("import", "timings", "timed.csv").code == 0
    assert batchfront("report", "--price", "7").code == 0
    text = (folder / "report.html").read_text()
    assert "Cost against time</h4>" in text
    assert "TPU v5</dt>" in text
