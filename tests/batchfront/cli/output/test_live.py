"""The live display: it fits, cuts no number, and messages stand above it."""

import io
import logging
import re
from dataclasses import replace

import pytest
from rich.console import Console
from rich.live import Live

from batchfront.cli.output.lines import LOG_LINES, LogHandler, said_by, say
from batchfront.cli.output.live import Display
from batchfront.cli.output.progress import above
from batchfront.cli.output.standing import NOWHERE, Here, at_work, in_a_line
from batchfront.ledger.status import Status, StudyStatus, WorkerStatus
from batchfront.vocabulary import Phase

FIRST = StudyStatus(
    name="digits/mlp/momentum/b16",
    workload="digits/mlp/momentum",
    batch_size=16,
    total=320,
    done=120,
    running=200,
    outcomes={"reached": 80},
    best=1268,
    lead=1412,
    behind=1412.0,
    steps=300_000,
    cost=0.001,
    workers=1,
    rate=12_345.6,
    metric="error rate",
    goal=0.05,
    now=0.0613,
    budget=16_000,
    finishers=160,
    passed=80,
)
SECOND = replace(
    FIRST, name=f"{FIRST.workload}/b32", batch_size=32, done=0, best=None, now=None, passed=0
)
TRAINS = WorkerStatus("a", "h", 1, "cpu", "busy", FIRST.name, 1.0)
COMPARES = WorkerStatus("b", "h", 1, "cpu", "busy", SECOND.name, 1.0, Phase.ENGINES)
STATUS = Status(0.0, (FIRST, SECOND), (TRAINS, COMPARES), ())


def drawn(status: Status, width: int, height: int = 40, here: Here = NOWHERE) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(Display(status, here, 75.0))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_whatever_the_width_no_line_is_longer_and_no_number_is_cut(width: int) -> None:
    lines = drawn(STATUS, width)
    assert max(map(len, lines)) <= width
    said = " ".join(" ".join(lines).split())
    for number in ("120/320", "0/320", "1,268", "0.0613 → 0.05", "comparing engines"):
        if number == "1,268" and width == 60:
            continue  # its column has no room
        assert number in said
    assert "…" not in said


def test_where_there_is_room_all_is_told() -> None:
    said = " ".join(drawn(STATUS, 120))
    for number in ("1,412/16,000", "12,346", "error rate < 0.05", "at most"):
        assert number in said


def test_a_low_terminal_shows_the_batch_sizes_at_work() -> None:
    done = [replace(FIRST, batch_size=2**k, running=0, done=320) for k in range(7, 20)]
    lines = drawn(replace(STATUS, studies=(*done, FIRST, SECOND)), 80, height=12)
    assert len(lines) <= 12
    assert any("0.0613 → 0.05" in line for line in lines)
    assert "further batch sizes: 9 done" in " ".join(lines)


def test_what_the_workers_are_at_is_said() -> None:
    assert at_work(STATUS, NOWHERE) == "2 workers: 1 training, 1 comparing engines"
    nobody = replace(STATUS, workers=(), studies=(replace(FIRST, steps=0),))
    assert at_work(nobody, NOWHERE) == "no workers yet"
    assert at_work(nobody, Here(running=lambda: 2)) == "2 workers starting"
    stopping = Here(running=lambda: 2, stopping=lambda: True)
    assert at_work(STATUS, stopping) == "stopping: 2 workers saving trials in hand"
    ended = replace(STATUS, workers=(), studies=(replace(FIRST, done=320, running=0),))
    assert at_work(ended, NOWHERE) == "all trials done"


def test_a_plain_line_says_the_same() -> None:
    line = in_a_line(STATUS, NOWHERE)
    assert line.startswith(
        "120 of 640 trials done · b16 at step 1,412/16,000, best now 0.0613 → goal 0.05 · "
        "b32 comparing engines · 2 workers: 1 training, 1 comparing engines · about "
    )
    assert re.search(r"about .+, at most .+ left$", line)


def test_a_value_that_looks_like_the_goal_gets_more_digits() -> None:
    near = replace(STATUS, studies=(replace(FIRST, now=0.05004),))
    assert "best now 0.05004 → goal 0.05" in in_a_line(near, NOWHERE)


def test_what_is_said_meanwhile_stands_above_the_display() -> None:
    out = io.StringIO()
    console = Console(file=out, width=40, force_terminal=True, color_system=None)
    handler = LogHandler()
    handler.setFormatter(LOG_LINES)
    log = logging.getLogger("tests.live")
    log.addHandler(handler)
    log.propagate = False
    with (
        Live(Display(STATUS, NOWHERE, 1.0), console=console, auto_refresh=False) as live,
        said_by(lambda line: above(live.console, line)),
    ):
        say("A sentence that is wider than forty columns are")
        log.warning("and a warning")
    log.removeHandler(handler)
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).replace("\r", "")
    assert "A sentence that is wider than forty\ncolumns are\n" in said
    assert "batchfront: and a warning\n" in said
