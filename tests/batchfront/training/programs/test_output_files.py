"""A file that a program writes is followed as it grows: late, in pieces, or written anew."""

import os
import shutil
from pathlib import Path

import pytest

from batchfront.training.programs.output_files import (
    CsvFile,
    EventFolder,
    Follower,
    LineFile,
    output_file,
)
from batchfront.workload.program import Output
from tests.batchfront.training.programs.test_event_file import EVENTS, NAME
from tests.waiting import eventually


def append(path: Path, text: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def test_lines_come_once_they_are_complete_and_a_file_may_come_late(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "m.jsonl"
    file = LineFile(path)
    assert file.poll() == []
    path.parent.mkdir()
    assert file.poll() == []
    append(path, '{"step": 1, ')
    assert file.poll() == []
    append(path, '"value": 2}\r\n\n{"st')
    assert file.poll() == ['{"step": 1, "value": 2}', ""]
    append(path, "ep")
    assert file.poll() == []
    assert file.poll(ended=True) == ['{"step']
    assert file.poll(ended=True) == []


def test_a_character_that_is_written_in_two_pieces_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    file = LineFile(path)
    begun, rest = "é\n".encode()[:1], "é\n".encode()[1:]
    append(path, begun)
    assert file.poll() == []
    append(path, rest)
    assert file.poll() == ["é"]


def test_a_file_that_is_written_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    file = LineFile(path)
    path.write_text("one\ntwo\nthr")
    assert file.poll() == ["one", "two"]
    path.write_text("ONE\n")  # shorter
    assert file.poll() == ["ONE"]
    path.write_text("other\nlines\nthan before\n")  # longer
    assert file.poll() == ["other", "lines", "than before"]
    (tmp_path / "new").write_text("replaced\n")
    os.replace(tmp_path / "new", path)  # noqa: PTH105 -- as programs do
    assert file.poll() == ["replaced"]


def test_a_file_that_is_written_anew_with_more_of_the_same_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    file = LineFile(path)
    path.write_text("one\n")
    assert file.poll() == ["one"]
    path.write_text("one\ntwo\n")
    assert file.poll() == ["two"]


def test_a_csv_gives_rows_by_the_columns_of_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    file = CsvFile(path, ",")
    append(path, '\ufeffstep, val_loss,note\n1,0.5,"two\nlines, ""quoted"""\n2,')
    assert list(file.poll()) == [
        {"step": "1", "val_loss": "0.5", "note": 'two\nlines, "quoted"'},
    ]
    append(path, "0.25,\n\n3\n")
    assert list(file.poll()) == [{"step": "2", "val_loss": "0.25", "note": ""}, {"step": "3"}]


def test_a_csv_that_gets_another_column_is_read_anew(tmp_path: Path) -> None:
    """As Lightning's CSVLogger does."""
    path = tmp_path / "m.csv"
    file = CsvFile(path, ",")
    path.write_text("step,loss\n1,0.5\n")
    assert list(file.poll()) == [{"step": "1", "loss": "0.5"}]
    path.write_text("step,loss,val\n1,0.5,\n1,,0.4\n")
    assert list(file.poll()) == [
        {"step": "1", "loss": "0.5", "val": ""},
        {"step": "1", "loss": "", "val": "0.4"},
    ]


def test_event_files_are_found_wherever_they_come_up_in_a_folder(tmp_path: Path) -> None:
    folder = EventFolder(tmp_path / "runs")
    assert list(folder.poll()) == []
    (tmp_path / "runs" / "version_0").mkdir(parents=True)
    shutil.copy(EVENTS / "torch" / NAME, tmp_path / "runs" / "version_0")
    (first, *_) = found = list(folder.poll())
    assert first == {"step": 0, "train/loss": 1.0}
    assert len(found) == 9
    shutil.copy(EVENTS / "tensors" / NAME, tmp_path / "runs" / "events.out.tfevents.2")
    assert {"step": 3, "double": 0.1} in list(folder.poll())


@pytest.mark.parametrize(
    ("output", "name", "kind"),
    [
        (Output("pattern", pattern="x"), "log.csv", LineFile),
        (Output("json"), "m.jsonl", LineFile),
        (Output("json"), "m.csv", CsvFile),
        (Output("json"), "runs", EventFolder),
    ],
)
def test_a_file_is_read_as_its_name_and_the_output_say(
    output: Output, name: str, kind: type
) -> None:
    assert isinstance(output_file(output, Path(name)), kind)


def test_a_thread_tells_what_comes_and_the_rest_at_the_end(tmp_path: Path) -> None:
    path, told = tmp_path / "m.jsonl", []  # type: ignore[var-annotated]
    follower = Follower(LineFile(path), told.append, pytest.fail)
    append(path, "one\n")
    eventually(lambda: told == ["one"])
    append(path, "two\nthree")
    follower.end(whole=True)
    assert told == ["one", "two", "three"]
    follower.end(whole=True)


def test_what_can_not_be_is_told_and_ends_the_thread(tmp_path: Path) -> None:
    broken: list[str] = []
    (tmp_path / NAME).write_bytes(b"no events at all")
    follower = Follower(EventFolder(tmp_path), lambda told: None, broken.append)
    eventually(lambda: broken)
    follower.end(whole=True)
    assert "is no event file, or damaged at byte 0" in broken[0]
    Follower(LineFile(tmp_path), lambda told: None, broken.append).end(whole=True)
    assert "can't be read: Is a directory" in broken[1]
