"""A program's log is read whole, and followed through all that becomes of its files."""

from collections.abc import Callable, Iterator
from pathlib import Path

from batchfront.training.programs.logs import read_log
from batchfront.training.programs.printed import Log, log_files

LINES = [b"line %d\n" % n for n in range(40)]


def over() -> bool:
    return True


def told(steps: Iterator[object]) -> Callable[[], bool]:
    """Takes a step whenever it is asked whether all is over, which it is when none is left."""
    return lambda: next(steps, steps) is steps


def test_what_is_kept_is_read_from_the_beginning_to_the_end(tmp_path: Path) -> None:
    log = Log(tmp_path, limit=90)
    for line in LINES:
        log.write(line)
    log.close()
    assert len(log_files(tmp_path)) == 3
    text = b"".join(read_log(tmp_path, until=over))
    assert text == b"".join(file.read_bytes() for file in log_files(tmp_path))
    assert text.startswith(LINES[0])
    assert text.endswith(LINES[-1])


def test_a_program_that_has_printed_nothing_has_an_empty_log(tmp_path: Path) -> None:
    assert list(read_log(tmp_path, until=over)) == []


def test_what_is_added_is_read_however_often_the_file_is_put_aside(tmp_path: Path) -> None:
    log = Log(tmp_path, limit=90)
    written = (log.write(line) for line in LINES)
    text = b"".join(read_log(tmp_path, until=told(written), every=0))
    log.close()
    assert text == b"".join(LINES)
    assert sum(file.stat().st_size for file in log_files(tmp_path)) < len(text)


def test_a_program_that_starts_again_is_followed(tmp_path: Path) -> None:
    def twice() -> Iterator[None]:
        for run in (b"first", b"second"):
            log = Log(tmp_path, limit=1000)
            for n in range(3):
                log.write(b"%s %d\n" % (run, n))
                yield
            log.close()

    text = b"".join(read_log(tmp_path, until=told(twice()), every=0))
    assert text == b"first 0\nfirst 1\nfirst 2\nsecond 0\nsecond 1\nsecond 2\n"


def test_what_came_just_before_the_end_is_read_too(tmp_path: Path) -> None:
    log = Log(tmp_path, limit=1000)

    def ends() -> bool:
        log.write(b"the last words\n")
        log.close()
        return True

    assert b"".join(read_log(tmp_path, until=ends, every=0)) == b"the last words\n"
