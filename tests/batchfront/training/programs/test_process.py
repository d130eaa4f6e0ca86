"""A program is read as it prints, paused, continued and ended with all that it starts."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from batchfront.errors import ProgramError
from batchfront.training.programs.process import ProgramProcess
from tests.batchfront.training.programs.conftest import Started, Worker, marked, runs
from tests.waiting import eventually

Start = Callable[..., Started]

COUNTS = "import time, itertools\nfor i in itertools.count(): print('step', i); time.sleep(0.002)"

FAMILY = """
import os, time, signal, sys
def child(name, *does):
    pid = os.fork()
    if pid == 0:
        for act in does:
            act()
        os.write(1, f"{name} {os.getpid()}\\n".encode())  # in one piece: others write, too
        while True:
            open(f"{name}.ticks", "a").write("x")
            time.sleep(0.002)
    return pid
def orphaned():
    if os.fork():
        os._exit(0)
child("plain")
child("session", os.setsid)
child("group", os.setpgrp)
child("daemon", os.setsid, orphaned)
child("deaf", lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN))
"""
"""A program with children of every kind, each of which does something every 2 ms."""

NAMES = ("plain", "session", "group", "daemon", "deaf")

SIZE = "os.terminal_size(columns=200, lines=24)"

WAITS = "time.sleep(1000)"


def test_lines_of_both_outputs_are_told_as_they_are_printed(start: Start) -> None:
    program = start("import sys\nprint('out')\nprint('err', file=sys.stderr)")
    assert program.ended() == 0
    assert sorted(program.lines) == ["err", "out"]


def test_a_line_is_told_before_the_program_goes_on_for_long(start: Start) -> None:
    program = start("import time\nprint('first')\ntime.sleep(1000)")
    program.says("first")
    assert program.exit_code is None


def test_all_that_was_printed_is_told_before_the_exit_code(start: Start) -> None:
    program = start("for i in range(20000): print(i)")
    assert eventually(lambda: program.exit_code is not None, pause=0.001)
    assert program.lines == [str(i) for i in range(20000)]


def test_who_waits_for_several_is_told_that_one_has_ended(start: Start) -> None:
    told = threading.Event()
    program = start("raise SystemExit(3)", on_exit=told.set)
    assert told.wait(60)
    assert program.exit_code == 3


def test_the_exit_code_of_a_signal_is_negative(start: Start) -> None:
    assert start("import os\nos.kill(os.getpid(), 11)").ended() == -11


def test_carriage_returns_end_lines_and_colours_are_taken_out(start: Start) -> None:
    program = start(r"print('\r 10%|#\r\x1b[31m 20%|##\x1b[0m\r\n\x1b]0;title\x07done')")
    program.ended()
    assert program.lines == [" 10%|#", " 20%|##", "done"]
    assert program.last_lines() == [" 20%|##", "done"]


def test_a_terminal_is_one_for_both_outputs_and_wide(start: Start) -> None:
    program = start(
        "import os, sys\n"
        "print(*(file.isatty() for file in (sys.stdin, sys.stdout, sys.stderr)))\n"
        "print(os.get_terminal_size())\n"
        "print('x' * 190); print('late', file=sys.stderr)",
        tty=True,
    )
    assert program.ended() == 0
    assert sorted(program.lines) == ["False True True", "late", SIZE, "x" * 190]


def test_what_a_terminal_was_told_last_is_not_lost(start: Start) -> None:
    for _ in range(10):
        program = start("import os\nos.write(1, b'x' * 3000 + b'\\nlast\\n')", tty=True)
        program.ended()
        assert program.lines == ["x" * 3000, "last"]


def test_a_last_line_without_an_end_is_one_if_the_program_ended_well(start: Start) -> None:
    assert (ended := start("print('a\\nvalue 0.45', end='')")).ended() == 0
    assert ended.lines == ["a", "value 0.45"]


def test_a_line_in_which_the_program_died_is_not_told_as_one(start: Start) -> None:
    killed = start("import os\nprint('a\\nvalue 0.4', end='', flush=True)\nos.kill(os.getpid(), 9)")
    assert killed.ended() == -9
    assert killed.lines == ["a"]
    assert killed.last_lines() == ["a", "value 0.4"]


def test_output_without_end_or_newline_is_read_in_little_memory(
    start: Start, tmp_path: Path
) -> None:
    before = psutil.Process().memory_info().rss
    program = start("import os\nfor _ in range(600): os.write(1, b'\\x00\\xff0.123' * 50000)")
    assert program.ended() == 0
    assert psutil.Process().memory_info().rss - before < 40e6
    assert len(program.lines) == 1
    assert len(program.lines[0]) <= 64 * 1024


def test_a_fast_printer_is_read_to_the_end(start: Start) -> None:
    seen = 0

    def count(_: str) -> None:
        nonlocal seen
        seen += 1

    assert start(["sh", "-c", "yes 'step 1 value 2' | head -n 200000"], on_line=count).ended() == 0
    assert seen == 200000


def test_a_failure_of_who_is_told_lines_is_raised_and_reading_goes_on(start: Start) -> None:
    def fail(line: str) -> None:
        raise ValueError(line)

    program = start("for i in range(100000): print(i)", on_line=fail)
    assert program.wait(60)
    with pytest.raises(ValueError, match="0"):
        _ = program.exit_code
    assert program.last_lines(1) == ["99999"]


def test_a_paused_program_does_nothing_until_it_is_continued(start: Start) -> None:
    program = start(COUNTS).says("step 3")
    program.pause()
    assert program.paused
    eventually(lambda: psutil.Process(program.pid).status() == psutil.STATUS_STOPPED)
    printed = settled(lambda: len(program.lines))
    time.sleep(0.1)
    assert len(program.lines) == printed
    program.resume()
    assert not program.paused
    program.says(f"step {printed + 5}")


def test_it_can_be_paused_by_whoever_is_told_its_line(start: Start) -> None:
    programs: list[Started] = []
    paused = threading.Event()

    def pause(line: str) -> None:
        if line == "step 20" and programs:
            programs[0].pause()
            paused.set()

    programs.append(start("import time; time.sleep(0.3)\n" + COUNTS, on_line=pause))
    assert paused.wait(60)
    assert programs[0].paused


def test_it_can_be_ended_by_whoever_is_told_its_line(start: Start) -> None:
    programs: list[Started] = []

    def end(line: str) -> None:
        if programs:
            programs[0].end(1.0)

    programs.append(start("import time; time.sleep(0.3)\n" + COUNTS, on_line=end))
    assert programs[0].ended() == -signal.SIGTERM


def test_everything_of_a_program_is_paused_and_continued(start: Start, tmp_path: Path) -> None:
    program = start(f"{FAMILY}\n{WAITS}")
    files = [tmp_path / f"{name}.ticks" for name in NAMES]
    eventually(lambda: all(map(Path.exists, files)))
    ticks = lambda: [file.stat().st_size for file in files]  # noqa: E731
    for _ in range(10):
        program.pause()
        before = settled(ticks)
        time.sleep(0.05)
        assert ticks() == before
        program.resume()
        eventually(lambda then=before: all(map(int.__gt__, ticks(), then)))


def test_what_forks_while_it_is_paused_is_paused(start: Start, tmp_path: Path) -> None:
    """Each process forks the next, and ends: a moving target, of which one is always there."""
    program = start(
        "import os\nprint('runs')\n"
        "while True:\n"
        "    if pid := os.fork():\n"
        "        os._exit(0) if os.getpid() != os.getsid(0) else os.waitpid(pid, 0)\n"
        "    else:\n"
        "        open('generations', 'a').write('x')\n"
    ).says("runs")
    generations = tmp_path / "generations"
    eventually(generations.exists)
    for _ in range(5):
        program.pause()
        before = settled(lambda: generations.stat().st_size)
        time.sleep(0.05)
        assert generations.stat().st_size == before
        program.resume()
        eventually(lambda then=before: generations.stat().st_size > then)


def test_pauses_do_not_count_as_time(start: Start) -> None:
    program = start(COUNTS).says("step 3")
    program.pause()
    running, silent = program.running_seconds, program.silent_seconds
    time.sleep(0.2)
    assert program.paused_seconds >= 0.2
    assert program.running_seconds == pytest.approx(running, abs=1e-3)
    assert program.silent_seconds <= silent + 0.1
    program.resume()
    assert program.paused_seconds == 0.0
    program.end(5.0)
    assert program.running_seconds == program.running_seconds > 0


def test_pausing_and_continuing_twice_or_after_the_end_does_nothing(start: Start) -> None:
    program = start(COUNTS).says("step 1")
    program.resume()
    program.pause()
    program.pause()
    program.resume()
    program.end(5.0)
    program.pause()
    assert not program.paused
    program.resume()
    program.end(5.0)
    assert program.exit_code == -signal.SIGTERM


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
@pytest.mark.parametrize("name", ["deaf", "hearing"])
def test_ending_leaves_nothing_of_it(start: Start, name: str, paused: bool) -> None:
    hears = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if name == "deaf" else ""
    program = start(f"{FAMILY}\n{hears}\n{WAITS}")
    pids = [program.number(name) for name in NAMES]
    if paused:
        program.pause()
    program.end(0.3)
    assert program.exit_code == (-signal.SIGKILL if name == "deaf" else -signal.SIGTERM)
    assert not [pid for pid in pids if runs(pid)]


def test_a_program_has_its_grace_to_save_itself_also_by_another_program(
    start: Start, tmp_path: Path
) -> None:
    program = start(
        "import signal, subprocess, sys, time\n"
        "def save(*_):\n"
        "    subprocess.run(['sh', '-c', 'sleep 0.3; echo saved > saved'])\n"
        "    sys.exit(7)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "print('ready')\n"
        "while True: time.sleep(0.01)"
    ).says("ready")
    program.pause()
    program.end(60.0)
    assert program.exit_code == 7
    assert (tmp_path / "saved").read_text() == "saved\n"


def test_what_forks_while_it_is_ended_is_ended(start: Start) -> None:
    """Each process makes the next, in a session of that one's own, and ends a moment later."""
    program = start(
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('forks')\n"
        "while os.fork() == 0:\n"
        "    os.setsid()\n"
        "time.sleep(0.002)\n"
    ).says("forks")
    program.end(0.1)
    assert not marked()


def test_a_second_end_may_be_shorter_than_the_first(start: Start) -> None:
    program = start(
        "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: print('hears'))\n"
        "print('ready')\nwhile True: time.sleep(0.1)"
    ).says("ready")
    ending = threading.Thread(target=program.end, args=(1000.0,))
    ending.start()
    program.says("hears")
    program.end(0.0)
    ending.join(60)
    assert not ending.is_alive()


def test_what_a_program_leaves_behind_is_ended_and_holds_up_nothing(start: Start) -> None:
    program = start(f"{FAMILY}\nimport sys; time.sleep(0.3); sys.exit(5)")
    assert program.ended() == 5
    pids = [program.number(name) for name in NAMES]
    assert not [pid for pid in pids if runs(pid)]


def test_what_a_program_leaves_behind_may_end_by_itself(start: Start) -> None:
    program = start(["sh", "-c", "(sleep 0.2; echo by itself) & echo main"])
    assert program.ended() == 0
    assert program.lines == ["main", "by itself"]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["batchfront-no-such-command"], "batchfront-no-such-command: command not found"),
        (["./nothing.py"], "./nothing.py: no such program"),
        (["./interpreter"], "./interpreter: no such program, or none such as its first line"),
        (["./plain"], "./plain isn't executable: chmod"),
        (["./noformat"], "./noformat has no first line"),
        (["sh", "x" * 3_000_000], "sh can't be started: Argument list too long"),
        (["sh", "a\0b"], "sh can't be started: embedded null byte"),
    ],
    ids=lambda value: value[0][:20] if isinstance(value, list) else "",
)
def test_a_program_that_cannot_be_started_says_so_in_a_line(
    start: Start, tmp_path: Path, argv: list[str], says: str
) -> None:
    for name, text, mode in (
        ("interpreter", "#!/no/such/thing\n", 0o755),
        ("plain", "#!/bin/sh\n", 0o644),
        ("noformat", "echo\n", 0o755),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    with pytest.raises(ProgramError) as raised:
        start(argv)
    assert str(raised.value).startswith(says)
    assert "\n" not in str(raised.value)


def test_a_missing_directory_is_named(start: Start, tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="missing: no directory to run sh in"):
        start(["sh"], cwd=tmp_path / "missing")
    with pytest.raises(ProgramError, match="No such file or directory"):
        start(["sh"], folder=tmp_path / "missing")


def test_a_failed_start_leaves_nothing_open(start: Start) -> None:
    before = psutil.Process().num_fds()
    for _ in range(3):
        with pytest.raises(ProgramError):
            start(["batchfront-no-such-command"])
    start(["true"]).ended()
    assert psutil.Process().num_fds() == before


def test_a_program_is_given_its_own_environment_and_none_of_ours(start: Start) -> None:
    env = {"PATH": os.environ["PATH"], "ODD": "\udcff\n="}
    program = start(
        "import os\nprint(sorted(os.environ)); print(ascii(os.environ['ODD']))", env=env
    )
    program.ended()
    names, odd = program.lines
    assert "BATCHFRONT_TRIAL" in names
    assert "HOME" not in names
    assert odd == r"'\udcff\n='"


def test_signals_are_as_a_shell_would_leave_them(start: Start) -> None:
    """Python ignores SIGPIPE, which its children would inherit."""
    program = start(["grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"])
    assert program.ended() == 0
    masks = dict(line.split(":\t") for line in program.lines)
    # But for those of real time, which the C library keeps for itself.
    assert {name: int(mask, 16) % 2**31 for name, mask in masks.items()} == {
        "SigBlk": 0,
        "SigIgn": 0,
    }


def test_a_program_has_no_open_file_of_ours(start: Start, tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        program = start("import os\nprint(len(os.listdir('/proc/self/fd')))", lock=lock.fileno())
        program.ended()
    assert program.lines == ["4"]  # its standard ones, and the one for the list


def test_it_ends_with_its_worker_however_that_went(
    start_worker: Callable[[str], Worker],
) -> None:
    worker = start_worker(f"{FAMILY}\n{WAITS}")
    pids = [*worker.numbers(*NAMES), worker.supervisor, worker.program]
    worker.kill()
    eventually(lambda: not [pid for pid in pids if runs(pid)])


def test_it_is_ended_when_its_worker_hangs_for_longer_than_a_lease(
    start_worker: Callable[..., Worker],
) -> None:
    worker = start_worker(f"{FAMILY}\n{WAITS}", lease=4.0)
    pids = [*worker.numbers(*NAMES), worker.supervisor, worker.program]
    worker.freeze()
    eventually(lambda: not [pid for pid in pids if runs(pid)])


def test_it_ends_with_its_supervisor_and_what_it_started_too(start: Start) -> None:
    program = start(f"{FAMILY}\n{WAITS}")
    pids = [program.number(name) for name in NAMES]
    program.pause()
    os.kill(program.supervisor_pid, signal.SIGKILL)
    assert program.ended() == -signal.SIGKILL
    assert program.supervisor_lost
    assert not program.paused
    assert not [pid for pid in [*pids, program.pid] if runs(pid)]


@pytest.mark.parametrize("act", [ProgramProcess.pause, lambda program: program.end(0.1)])
def test_a_supervisor_that_does_not_answer_is_ended_with_its_program(
    start: Start, monkeypatch: pytest.MonkeyPatch, act: Callable[[ProgramProcess], None]
) -> None:
    for name in ("_ANSWER_SECONDS", "_END_SECONDS"):
        monkeypatch.setattr(f"batchfront.training.programs.process.{name}", 2.0)
    program = start(COUNTS).says("step 1")
    os.kill(program.supervisor_pid, signal.SIGSTOP)
    act(program)
    assert program.ended() == -signal.SIGKILL
    assert program.supervisor_lost


def test_a_program_that_cannot_be_ended_is_told(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the kernel held it up: its supervisor, frozen and going on then, has it there."""
    monkeypatch.setattr("batchfront.training.programs.process._END_SECONDS", 0.3)
    program = start(COUNTS).says("step 1")
    monkeypatch.setattr(program, "_ask", lambda _: b"ending")
    os.kill(program.supervisor_pid, signal.SIGSTOP)
    with pytest.raises(
        ProgramError, match=f"can't be ended, even by SIGKILL: process {program.pid}"
    ):
        program.end(0.0)
    os.kill(program.supervisor_pid, signal.SIGCONT)
    assert program.ended() in (-signal.SIGKILL, -signal.SIGTERM)


def settled(measure: Callable[[], Any]) -> Any:
    """What is measured once it stays the same for a moment: what was printed has been read."""
    while True:
        before = measure()
        time.sleep(0.03)
        if measure() == before:
            return before


def test_one_that_waits_by_itself_is_neither_silent_nor_running_meanwhile(start: Start) -> None:
    program = start("print('there'); import signal; signal.pause()").says("there")
    program.pause(waits=True)
    before = program.silent_seconds, program.running_seconds
    eventually(lambda: program.paused_seconds > 0.02)
    assert (program.silent_seconds, program.running_seconds) == pytest.approx(before, abs=1e-3)
    program.resume()
    eventually(lambda: program.silent_seconds > before[0] + 0.02)
