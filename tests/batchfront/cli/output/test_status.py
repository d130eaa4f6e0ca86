"""What a user sees of a running plan."""

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from batchfront.cli.output import status as status_view
from batchfront.cli.output.status import print_status, watch_status
from batchfront.errors import Unreachable
from batchfront.ledger.status import Failure, Status, StudyStatus, WorkerStatus

STUDY = StudyStatus(
    name="w/b8",
    workload="w",
    batch_size=8,
    total=10,
    done=4,
    running=5,
    outcomes={"reached": 1, "stalled": 3},
    best=100,
    cap=100,
    lead=90,
    behind=40.0,
    steps=900,
    cost=0.5,
    workers=2,
    rate=4.0,
)
WORKERS = (
    WorkerStatus("0123456789abcdef", "gpu-1", 17, "NVIDIA H100", "busy", "w/b8", 1.4),
    WorkerStatus("fedcba9876543210", "gpu-2", 18, "cpu", "busy", "w/b8", 75.0),
)
STATUS = Status(0.0, (STUDY,), WORKERS, (Failure("w/b8", 3, "ValueError: <script>"),))


def test_studies_workers_and_failures_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(STATUS, "table")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *("Study", "free", "running", "done", "best", "now", "at", "steps/s", "left", "ended")
    ]
    shown = ("w/b8", "1", "5", "4", "100", "90", "4", "~1", "min", "30", "s")
    assert lines[2].split() == [*shown, "1", "reached,", "3", "stalled"]
    assert lines[3] == "4 of 10 trials done · 2 of 2 workers busy · about 1 min 30 s left"
    words = [" ".join(line.split()) for line in lines]
    assert words[7] == "01234567 gpu-1 17 NVIDIA H100 busy w/b8 1 s ago"
    assert words[8] == "fedcba98 gpu-2 18 cpu silent w/b8 75 s ago"
    assert lines[9] == "failed: w/b8 trial 3: ValueError: <script>"


def test_as_json_it_is_all_there_with_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(STATUS, "json")
    found = json.loads(capsys.readouterr().out)
    assert found["studies"][0]["rate"] == 4.0
    assert found["studies"][0]["seconds_left"] == 180.0
    assert (found["seconds_left"], found["seconds_left_at_most"]) == (90.0, 90.0)
    assert found["workers"][0]["host"] == "gpu-1"
    assert found["failures"] == [{"study": "w/b8", "trial": 3, "reason": "ValueError: <script>"}]


def test_watching_goes_on_through_an_outage_and_ends_when_all_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(
        status_view,
        "console_for_errors",
        lambda: Console(file=out, force_terminal=True, width=120),
    )
    done = replace(STATUS, studies=(replace(STUDY, done=10, running=0),))
    answers: list[Any] = [STATUS, Unreachable("database x: no answer"), STATUS, done]

    def load(_: Status | None) -> Status:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    watch_status(load, every=0.0)
    assert not answers
    assert out.getvalue().count("4 of 10 trials done") >= 3
    assert "no answer" in out.getvalue()


@pytest.mark.slow
def test_on_a_terminal_the_table_is_drawn_and_left_behind_at_the_end(
    batchfront: Callable[..., Any], workload_file: Callable[..., str]
) -> None:
    planned = batchfront("run", workload_file(), "--trials", "2", "--workers", "1")
    assert planned.code == 0, planned.err
    main, side = pty.openpty()
    command = [sys.executable, "-P", "-m", "batchfront.cli.main", "status", "--watch"]
    with subprocess.Popen(command, stdout=side, stderr=side) as process:
        os.close(side)
        seen = b""
        while True:
            try:
                part = os.read(main, 65536)
            except OSError:  # the other end is closed
                break
            seen += part
            if not part:
                break
    os.close(main)
    assert process.returncode == 0
    assert b"4 of 4 trials done" in seen
