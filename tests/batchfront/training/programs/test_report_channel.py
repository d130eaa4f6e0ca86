"""What a worker hears of a program that reports, and what the program is told."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from batchfront.reporting import SOCKET
from batchfront.training.programs.report_channel import Report, ReportChannel
from tests.waiting import LONG

Start = Callable[[str], "subprocess.Popen[str]"]


class Hearing:
    """A channel, and what has come over it."""

    def __init__(self) -> None:
        self.reports: Queue[Report] = Queue()
        self.channel = ReportChannel(self.reports.put)

    def next(self) -> Report:
        return self.reports.get(timeout=LONG)


@pytest.fixture
def heard() -> Iterator[Hearing]:
    hearing = Hearing()
    yield hearing
    hearing.channel.close()


@pytest.fixture
def start(heard: Hearing) -> Iterator[Start]:
    """Starts Python programs that can report to the channel."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str) -> "subprocess.Popen[str]":
        program = subprocess.Popen(
            [sys.executable, "-c", f"import batchfront, os, sys\n{code}"],
            env={**os.environ, **heard.channel.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        return program

    yield start
    for program in started:
        program.kill()
        program.communicate()


def finish(program: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Exit code, output and errors."""
    out, err = program.communicate(timeout=LONG)
    return program.returncode, out, err


def test_a_program_waits_in_its_report_until_it_may_go_on(heard: Hearing, start: Start) -> None:
    program = start(
        "for step in (1, 2):\n"
        "    batchfront.report(step, 0.5, loss=2.0, examples=32 * step)\n"
        "    print('past', step, flush=True)"
    )
    assert heard.next() == Report(1, 0.5, 2.0, 32)
    assert program.poll() is None
    heard.channel.go()
    assert program.stdout is not None
    assert program.stdout.readline() == "past 1\n"
    assert heard.next().step == 2
    heard.channel.go()
    assert finish(program) == (0, "past 2\n", "")


def test_it_ends_quietly_where_its_trial_is_over_whatever_it_catches(
    heard: Hearing, start: Start
) -> None:
    program = start(
        "try:\n"
        "    for step in range(1, 1000):\n"
        "        try:\n"
        "            batchfront.report(step, 0.5)\n"
        "        except Exception:\n"
        "            print('swallowed')\n"
        "finally:\n"
        "    print('closed', flush=True)"
    )
    heard.next()
    heard.channel.end("capped: trial 3 has won in 90 steps")
    assert finish(program) == (0, "closed\n", "")
    assert heard.reports.empty()


def test_it_says_why_its_trial_is_over_and_says_it_again(heard: Hearing, start: Start) -> None:
    program = start(
        "for step in (1, 2):\n"
        "    try: batchfront.report(step, 0.5)\n"
        "    except batchfront.TrialEnded as ended: print(ended, '/', ended.reason)"
    )
    heard.channel.end("capped")
    assert finish(program) == (0, "capped / capped\n" * 2, "")


def test_go_lets_no_later_report_through(heard: Hearing, start: Start) -> None:
    heard.channel.go()
    program = start("batchfront.report(1, 0.5); print('past')")
    heard.next()
    assert program.poll() is None
    heard.channel.end("over")
    assert finish(program) == (0, "", "")


def test_a_worker_that_dies_ends_the_trial_instead_of_leaving_it_to_wait() -> None:
    worker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import time\n"
            "from batchfront.training.programs.report_channel import ReportChannel\n"
            "channel = ReportChannel(lambda report: print(report.step, flush=True))\n"
            f"print(channel.environment['{SOCKET}'], flush=True)\n"
            "time.sleep(600)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    path = worker.stdout.readline().strip()
    code = (
        "import batchfront\n"
        "for step in (1, 2):\n"
        "    try: batchfront.report(step, 0.5)\n"
        "    except batchfront.TrialEnded as ended: print(ended)"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, SOCKET: path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert worker.stdout.readline() == "1\n"
        worker.send_signal(signal.SIGKILL)
        gone = "the worker that ran this trial is gone\n"
        assert finish(program) == (0, 2 * gone, "")
    finally:
        worker.kill()
        worker.communicate()
        Path(path).unlink()
        Path(path).parent.rmdir()


def test_one_process_after_another_may_report(heard: Hearing, start: Start) -> None:
    for step in (1, 2):
        program = start(f"batchfront.report({step}, 0.5)")
        assert heard.next().step == step
        heard.channel.go()
        assert finish(program) == (0, "", "")


def test_a_child_may_report_where_its_parent_does_not(heard: Hearing, start: Start) -> None:
    program = start(
        "pid = os.fork()\n"
        "if pid: os.waitpid(pid, 0)\n"
        "else: batchfront.report(1, 0.25); print('child', flush=True); os._exit(0)"
    )
    assert heard.next().value == 0.25
    heard.channel.go()
    assert finish(program) == (0, "child\n", "")


def test_a_second_process_that_reports_is_refused_in_one_line(heard: Hearing, start: Start) -> None:
    program = start(
        "batchfront.report(1, 0.5)\n"
        "pid = os.fork()\n"
        "if pid: os.waitpid(pid, 0); batchfront.report(3, 0.5); sys.exit()\n"
        "try: batchfront.report(2, 0.5)\n"
        "except batchfront.UsageError as error: print(error, flush=True)\n"
        "os._exit(0)"
    )
    assert heard.next().step == 1
    heard.channel.go()
    assert heard.next().step == 3
    heard.channel.go()
    code, out, err = finish(program)
    assert (code, err) == (0, "")
    assert f"but process {program.pid} reports this trial: call it in one of them\n" in out
    assert out.count("\n") == 1


def test_a_child_takes_over_from_a_parent_that_has_ended(heard: Hearing, start: Start) -> None:
    program = start(
        "batchfront.report(1, 0.5)\n"
        "reading, writing = os.pipe()\n"
        "if os.fork(): sys.exit()\n"
        "os.close(writing); os.read(reading, 1)\n"  # until the parent has ended
        "batchfront.report(2, 0.5); print('past', flush=True)"
    )
    for step in (1, 2):
        assert heard.next().step == step
        heard.channel.go()
    assert finish(program)[:2] == (0, "past\n")


def test_steps_have_to_rise(heard: Hearing, start: Start) -> None:
    program = start("batchfront.report(10, 0.5)\nbatchfront.report(10, 0.4)")
    heard.next()
    heard.channel.go()
    code, _, err = finish(program)
    assert code == 1
    assert err.endswith("UsageError: step 10 is reported after step 10; steps have to rise\n")
    assert heard.reports.empty()


def talk(channel: ReportChannel, *lines: bytes) -> Any:
    """What the channel answers to the last of these lines, said without `batchfront.report`."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(channel.environment[SOCKET])
        answers = connection.makefile("rb")
        answer = b""
        for line in lines:
            connection.sendall(line)
            answer = answers.readline()
        return json.loads(answer)


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\n",
        b"\xff\xfe\0\n",
        b"{}\n",
        b"[1, 2]\n",
        b"null\n",
        b'{"step": 1}\n',
        b'{"step": "1", "value": 0.5}\n',
        b'{"step": 1.5, "value": 0.5}\n',
        b'{"step": true, "value": 0.5}\n',
        b'{"step": -1, "value": 0.5}\n',
        b'{"step": 1, "value": "0.5"}\n',
        b'{"step": 1, "value": null}\n',
        b'{"step": 1, "value": 0.5, "loss": []}\n',
        b'{"step": 1, "value": 0.5, "examples": 0.1}\n',
        b'{"step": 1, "value": 1' + 400 * b"0" + b"}\n",
        10_000 * b"[" + b"\n",
        100_000 * b"x",
    ],
)
def test_what_is_no_report_counts_for_nothing(heard: Hearing, line: bytes) -> None:
    assert talk(heard.channel, line)["error"].startswith("not a report: ")
    assert heard.reports.empty()


def test_garbage_disturbs_no_report(heard: Hearing, start: Start) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(heard.channel.environment[SOCKET])
        silent.sendall(b'{"step": 5, ')
        program = start("batchfront.report(1, 0.5); print('past')")
        assert heard.next().step == 1
        talk(heard.channel, b"garbage\n")
        heard.channel.go()
        assert finish(program) == (0, "past\n", "")


@pytest.mark.parametrize(
    ("value", "told"), [(b"NaN", "nan"), (b"-Infinity", "-inf"), (b"7", "7.0")]
)
def test_a_value_may_be_whole_or_not_finite(heard: Hearing, value: bytes, told: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(heard.channel.environment[SOCKET])
        connection.sendall(b'{"step": 1, "value": %s}\n' % value)
        assert str(heard.next().value) == told


def test_nothing_is_left_of_a_channel_that_is_closed() -> None:
    channel = ReportChannel(lambda _: None)
    folder = Path(channel.environment[SOCKET]).parent
    assert folder.stat().st_mode & 0o777 == 0o700
    channel.close()
    assert not folder.exists()


def test_a_long_temporary_directory_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with closing(ReportChannel(lambda _: None)) as channel:
        assert len(channel.environment[SOCKET]) <= 107
    assert list(deep.iterdir()) == []
