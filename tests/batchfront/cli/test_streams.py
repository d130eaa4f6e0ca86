"""Standard output and error, wherever they lead: closed, full, without a reader, or in ASCII."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.disks import full_disk
from tests.programs import write_sweep

pytestmark = pytest.mark.slow  # processes of their own

BATCHFRONT = [sys.executable, "-P", "-m", "batchfront.cli.main"]

POINTS = "workload,batch_size,steps,goal\na/ñ/c,8,100,error<0.1\na/ñ/c,16,60,error<0.1\n"


def shell(line: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """A line of bash, in which $BF is the command."""
    return subprocess.run(
        ["bash", "-c", line.replace("$BF", " ".join(BATCHFRONT))],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def points(folder: Path) -> Path:
    """A database with points in it."""
    (folder / "points.csv").write_text(POINTS)
    assert shell("$BF import points points.csv").returncode == 0
    return folder


LOST = b"batchfront: standard output can't be written to: "

OUTPUTS = ["status", "frontier a/ñ/c --format csv", "frontier a/ñ/c --format json", "--help"]


@pytest.mark.parametrize("command", OUTPUTS)
def test_a_full_disk_under_the_output_is_told_in_one_line(points: Path, command: str) -> None:
    ended = shell(f"$BF {command} > /dev/full")
    assert (ended.returncode, ended.stderr) == (1, LOST + b"No space left on device\n")


def test_a_closed_output_is_told_in_one_line(points: Path) -> None:
    ended = shell("$BF status >&-")
    assert (ended.returncode, ended.stderr) == (1, LOST + b"it is closed\n")


def test_a_reader_that_has_gone_ends_a_command_quietly(points: Path) -> None:
    ended = shell("$BF status | true; exit ${PIPESTATUS[0]}")
    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", "2> >(true)"])
def test_a_command_is_done_although_nobody_reads_its_messages(points: Path, where: str) -> None:
    ended = shell(f"$BF report {where}")
    assert ended.returncode == 0
    assert (points / "report.html").exists()
    assert shell(f"$BF frontier nowhere {where}").returncode == 2


def test_a_database_is_never_in_the_place_of_a_closed_stream(points: Path) -> None:
    before = (points / "batchfront.db").read_bytes()
    for line in ("$BF status <&- >&- 2>&-", "$BF frontier nowhere >&- 2>&-"):
        shell(line)
    assert (points / "batchfront.db").read_bytes() == before


def test_an_ascii_terminal_gets_tables_of_ascii(points: Path) -> None:
    ended = shell("$BF frontier a/ñ/c", PYTHONIOENCODING="ascii")
    assert ended.returncode == 0
    assert ended.stdout.isascii()
    assert b"a/\\xf1/c: steps to target" in ended.stdout
    head, rule, first, *_ = ended.stdout.decode().split("\n\n")[1].splitlines()
    assert set(rule) == {"-"}
    assert max(len(head), len(first)) == len(rule)


def test_messages_are_spelled_in_ascii_where_that_is_all_there_is(points: Path) -> None:
    ended = shell("$BF frontier ñ", PYTHONIOENCODING="ascii")
    assert ended.returncode == 2
    assert b"\\xf1" in ended.stderr
    assert b"unexpected" not in ended.stderr


def test_delete_asks_nobody_where_standard_input_is_closed(points: Path) -> None:
    ended = shell("$BF delete a/ñ/c <&-")
    assert ended.returncode == 2
    assert b"nobody is there to be asked" in ended.stderr


@pytest.mark.parametrize("reader", ["| true", "2>&1 | head -1 >/dev/null"])
def test_a_run_whose_reader_goes_is_done_and_writes_its_report(folder: Path, reader: str) -> None:
    write_sweep(folder)
    run = "$BF run ./sweep.toml --trials 2 --batch-sizes 8 --workers 1"
    ended = shell(f"{run} {reader}; exit ${{PIPESTATUS[0]}}")
    assert ended.returncode == 141
    assert (folder / "report.html").read_text().endswith("</html>\n")


def test_a_run_prints_what_it_found_though_its_report_has_no_room(folder: Path) -> None:
    write_sweep(folder)
    with full_disk(folder / "disk") as disk:
        ended = shell(f"$BF run ./sweep.toml --trials 2 --batch-sizes 8 --report {disk}/r.html")
        assert [path.name for path in disk.iterdir()] == ["filler"]
    assert ended.returncode == 1
    assert b"toy/line/sgd: steps to target" in ended.stdout
    assert ended.stderr.endswith(b"r.html: can't be written: No space left on device\n")
