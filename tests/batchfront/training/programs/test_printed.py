"""What a program prints becomes lines, of which none is a cut number, and a log of bounded size."""

import errno
import os
from pathlib import Path

import pytest

from batchfront.training.programs.printed import (
    LONGEST_LINE,
    LastLines,
    Line,
    Lines,
    Log,
    log_files,
)


def texts(*chunks: bytes) -> list[str]:
    """The lines that these chunks are cut into."""
    lines = Lines()
    return [line.text for chunk in chunks for line in lines.take(chunk)]


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ((b"a\nb\n",), ["a", "b"]),
        ((b"a\r\nb\r\n",), ["a", "b"]),
        ((b"a\r", b"\nb\n"), ["a", "b"]),
        ((b"a\r\r\nb\r\r\n",), ["a", "b"]),  # "\r\n" to a terminal
        ((b"a\rb\rc\n",), ["a", "b", "c"]),
        ((b"st", b"ep ", b"1\n"), ["step 1"]),
        ((b"\n\n\r\n",), []),
        ((b"no end",), []),
        ((b"a\x0bb\x0cc\x1cd\xc2\x85e\xe2\x80\xa8f\n",), ["a\x0bb\x0cc\x1cd\x85e\u2028f"]),
        ((b"\xff\xfe\x00\n",), ["\ufffd\ufffd\x00"]),
        ((b"caf\xc3", b"\xa9\n"), ["café"]),
    ],
)
def test_lines_end_as_on_a_terminal(chunks: tuple[bytes, ...], lines: list[str]) -> None:
    assert texts(*chunks) == lines
    assert texts(*(bytes([byte]) for chunk in chunks for byte in chunk)) == lines


@pytest.mark.parametrize(
    ("printed", "seen"),
    [
        (b"\x1b[1;31mloss\x1b[0m 0.5\n", "loss 0.5"),
        (b"\x1b[38;2;1;2;3m7\x1b[m\x1b[K\n", "7"),
        (b"\x1b[2K\x1b[1G\x1b[?25l 10%\x1b[?25h\n", " 10%"),
        (b"\x1b]0;a title\x07value 1\n", "value 1"),
        (b"\x1b]8;;http://a/b\x1b\\link\x1b]8;;\x1b\\\n", "link"),
        (b"\x1b(B\x1b)0\x1b7\x1b8\x1b=x\n", "x"),
        (b"\x1b[A\x1b[Avalue 2\x1bM\n", "value 2"),
        (b"\x1bPq#0;2;0\x1b\\x\n", "x"),
        (b"x\x1b[\n", "x"),
    ],
)
def test_escape_sequences_are_taken_out(printed: bytes, seen: str) -> None:
    assert texts(printed) == [seen]


def test_a_line_that_is_too_long_is_cut_but_no_number_of_it() -> None:
    start = b"x" * (LONGEST_LINE - 11) + b" value 0.4"
    (line,) = texts(start + b"56 and more\n")
    assert line == "x" * (LONGEST_LINE - 11) + " value "
    assert texts(start + b"567", b"89" * 100_000, b"1\nnext\n") == [line, "next"]
    assert texts(b"1" * 200_000, b"\nnext\r\n") == ["next"]


def test_a_line_of_the_longest_length_is_whole() -> None:
    line = b"1" * (LONGEST_LINE - 1)
    assert texts(line + b"\n") == [line.decode()]


def shown(number: int, *chunks: tuple[str, bytes]) -> list[str]:
    """The last lines of streams by name."""
    streams: dict[str, Lines] = {}
    last = LastLines(number)
    for name, chunk in chunks:
        for line in streams.setdefault(name, Lines()).take(chunk):
            last.add(line, name)
    return last.last(number)


def test_of_a_progress_bar_the_last_state_is_kept() -> None:
    bar = b"\r 10%\r 20%\r 30%\r\n"
    assert shown(9, ("a", b"begin\n" + bar + b"end\n")) == ["begin", " 30%", "end"]
    assert shown(9, ("a", b"one\r\ntwo\r"), ("a", b"\nthree\n")) == ["one", "two", "three"]


def test_a_bar_writes_over_no_line_of_the_other_stream() -> None:
    chunks = [("bar", b" 10%\r"), ("out", b"step 1\n"), ("bar", b" 20%\r"), ("bar", b" 30%\r")]
    assert shown(9, *chunks) == [" 10%", "step 1", " 30%"]


def test_only_so_many_last_lines_are_kept() -> None:
    last = LastLines(3)
    for number in range(10):
        last.add(Line(str(number)), 0)
    assert last.last(50) == ["7", "8", "9"]
    assert last.last(2) == ["8", "9"]


def test_the_last_lines_are_for_people_and_databases() -> None:
    last = LastLines(3)
    last.add(Line("a\x00b\tc\x1b \u2028" + "x" * 5000), 0)
    assert last.last(1) == ["a\ufffdb\tc\ufffd \ufffd" + "x" * 992]


def kept(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in log_files(folder))


def test_a_log_has_everything_as_it_came(tmp_path: Path) -> None:
    log = Log(tmp_path, 1000)
    for chunk in (b"a\r", b"\n\x1b[31m\xff", b"no end"):
        log.write(chunk)
        assert kept(tmp_path).endswith(chunk)
    log.close()
    assert kept(tmp_path) == b"a\r\n\x1b[31m\xffno end"
    assert [file.name for file in log_files(tmp_path)] == ["output.log"]


def test_a_log_up_to_its_limit_is_whole(tmp_path: Path) -> None:
    log = Log(tmp_path, 300)
    for number in range(29):
        log.write(b"%09d\n" % number)
    assert kept(tmp_path) == b"".join(b"%09d\n" % number for number in range(29))


def test_of_a_log_beyond_its_limit_the_first_and_the_last_are_kept(tmp_path: Path) -> None:
    log = Log(tmp_path, 300)
    for number in range(1003):
        log.write(b"%09d\n" % number)
    log.close()
    lines = kept(tmp_path).split(b"\n")
    assert lines[:10] == [b"%09d" % number for number in range(10)]
    assert lines[11].startswith(b"[batchfront: ")
    assert lines[12:-1] == [b"%09d" % number for number in range(990, 1003)]
    assert len(kept(tmp_path)) < 400


def test_a_new_log_begins_empty(tmp_path: Path) -> None:
    for _ in range(2):
        log = Log(tmp_path, 30)
        for number in range(9):
            log.write(b"%09d\n" % number)
        log.close()
        assert len(log_files(tmp_path)) == 3
    Log(tmp_path, 30).close()
    assert kept(tmp_path) == b""


def test_a_full_disk_ends_the_log_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log(tmp_path, 1000)
    log.write(b"before\n")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        log.write(b"lost\n")
    log.write(b"lost, too\n")
    assert kept(tmp_path) == b"before\n"
    assert len(caplog.records) == 1
    assert "No space left on device" in caplog.text
