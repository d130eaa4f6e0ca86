"""What dead workers leave is found and ended; what lives, or isn't known to be dead, is let be."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from batchfront.training.programs import supervisor
from batchfront.training.programs.leftovers import MARK, end_marked, new_mark, sweep_left
from batchfront.training.programs.supervisor import all_processes, descendants, process
from tests.batchfront.training.programs.conftest import PYTHON, Started, Worker, runs
from tests.batchfront.training.programs.test_process import FAMILY, NAMES, WAITS
from tests.waiting import eventually

DEAD = f"0123.{os.getpid()}.1"
"""A mark of a process that had this one's id before."""


@contextmanager
def marked_as(mark: str, *argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that carries a mark."""
    with subprocess.Popen(argv or ["sleep", "1000"], env={**os.environ, MARK: mark}) as left:
        try:
            yield left
        finally:
            left.kill()


def machine() -> str:
    return new_mark().split(".")[-1]


def test_what_a_dead_worker_left_is_ended() -> None:
    with marked_as(f"{DEAD}.{machine()}") as left:
        sweep_left()  # or somebody else, who does the same
        assert left.wait() == -signal.SIGKILL
    assert not runs(left.pid)


@pytest.mark.parametrize(
    "mark",
    [
        new_mark(),  # its worker lives
        f"{DEAD}.{'0' * 32}-4026531836",  # of another machine
        f"{DEAD}.{new_mark().split('.')[-1].split('-')[0]}-1",  # of another container
        "",
        "7",
        "a.b.c.d.e",
        f"x.{10**30}.1.nowhere",
    ],
    # Which every process that collects tests has to give alike.
    ids=["alive", "machine", "container", "empty", "number", "words", "huge"],
)
def test_what_is_not_known_to_be_left_is_let_be(mark: str) -> None:
    with marked_as(mark) as lives:
        sweep_left()
        assert lives.poll() is None


def test_what_descends_from_what_is_left_is_ended_without_a_mark() -> None:
    forks = "env -i sleep 1000 & echo $!; wait"
    argv = ["sh", "-c", forks]
    env = {**os.environ, MARK: f"{DEAD}.{machine()}"}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE) as left:
        assert left.stdout
        child = int(left.stdout.readline())
        sweep_left()
        eventually(lambda: not runs(child))


def test_a_sweeper_does_not_end_itself_or_what_it_descends_from(
    start: Callable[..., Started],
) -> None:
    text = (
        "import sys\n"
        f"sys.path[:] = {sys.path!r}\n"
        "from batchfront.training.programs.leftovers import sweep_left\n"
        "sweep_left(); print('lives')"
    )
    with marked_as(
        f"{DEAD}.{machine()}", "sh", "-c", f'{PYTHON[0]} -c "$0"; exit 3', text
    ) as outer:
        assert outer.wait() == 3


def test_everything_of_one_mark_is_ended_and_nothing_of_another(
    start: Callable[..., Started],
) -> None:
    first, second = start(f"{FAMILY}\n{WAITS}"), start(f"{FAMILY}\n{WAITS}")
    pids = [[program.number(name) for name in NAMES] for program in (first, second)]
    assert end_marked(first._mark) >= len(NAMES)
    assert not [pid for pid in pids[0] if runs(pid)]
    assert all(map(runs, pids[1]))


def test_worker_and_supervisor_killed_together_leave_what_a_sweep_ends(
    start_worker: Callable[[str], Worker],
) -> None:
    worker = start_worker(f"{FAMILY}\n{WAITS}")
    pids = [*worker.numbers(*NAMES), worker.program]
    worker.kill_with_supervisor()
    sweep_left()
    assert not [pid for pid in pids if runs(pid)]


def test_the_table_of_processes_is_the_same_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    own = process(os.getpid())
    assert own is not None
    with subprocess.Popen(["sh", "-c", "sleep 1000 & wait"], start_new_session=True) as child:
        try:
            eventually(lambda: len(descendants(child.pid)) == 1)
            (sleeper,) = descendants(child.pid)
            monkeypatch.setattr(supervisor, "has_table", lambda: False)
            monkeypatch.setattr(supervisor, "_LINUX", False)
            (found,) = descendants(child.pid)
            table = {each.pid: each for each in all_processes()}
        finally:
            os.killpg(child.pid, signal.SIGKILL)
    assert (found.pid, found.parent, found.group) == (sleeper.pid, child.pid, child.pid)
    assert table[own.pid].parent == own.parent


def test_a_table_of_other_processes_than_ours_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where /proc is that of another container: its numbers are others' here."""
    monkeypatch.setattr(os, "readlink", lambda _: "1")
    with marked_as(f"{DEAD}.{machine()}") as other:
        assert sweep_left() == 0
        assert descendants(os.getpid()) == []
        assert other.poll() is None
