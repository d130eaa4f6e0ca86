"""A trial's folder is one worker's at a time, and holds nothing of an earlier start but logs."""

import errno
import fcntl
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from batchfront.errors import ProgramError
from batchfront.training.programs.folder import (
    FolderInUse,
    TrialFolder,
    TrialFolders,
    earlier_starts,
)
from tests.batchfront.training.programs.conftest import Worker, marked, runs
from tests.waiting import eventually


def listed(folder: Path) -> set[str]:
    """What is in a folder, but for its lock."""
    return {each.name for each in folder.iterdir()} - {".lock"}


def test_a_trial_has_its_place_by_study_and_number(tmp_path: Path) -> None:
    folders = TrialFolders(tmp_path, "0123456789abcdef")
    path = folders.path("digits/mlp/sgd/b32", 7)
    assert path.relative_to(tmp_path) == Path("0123456789ab/digits/mlp/sgd/b32/7")
    assert not path.exists()


def test_no_two_trials_share_a_place(tmp_path: Path) -> None:
    names = [
        *("a/b/c/b8", "a/b/c/b8/confirm", "a/b/c@d/b8", "a/b/c d/b8", "a/b/c_d/b8", "a/b/c:d/b8"),
        *("a/b/../b8", "a/b/./b8", "a/b/_/b8", "a/b/~/b8", "a/b/é/b8", "a/b/è/b8", "a/b/c/b8/3/b8"),
        *("a/b/" + "x" * 300 + "/b8", "a/b/" + "x" * 301 + "/b8"),
    ]
    folders = [TrialFolders(tmp_path, database) for database in ("one", "two")]
    paths = [each.path(name, number) for each in folders for name in names for number in (3, 30)]
    for path in paths:
        path.mkdir(parents=True)
        assert path.resolve().is_relative_to(tmp_path)
        (path / "own").touch()
    assert len(list(tmp_path.rglob("own"))) == len(paths)
    for path in paths:
        assert listed(path) == {"own"}


def test_a_start_finds_nothing_of_an_earlier_one_but_its_log(tmp_path: Path) -> None:
    path = tmp_path / "trial"
    for start in range(3):
        with TrialFolder(path) as folder:
            assert listed(path) <= {"earlier"}
            (folder.path / "metaparameters.json").write_text(str(start))
            (path / "output.log").write_text(f"start {start}")
            (path / "checkpoints").mkdir()
            (path / "checkpoints/1.pt").touch()
            (path / "link").symlink_to(tmp_path)
    assert (path / "metaparameters.json").read_text() == "2"
    logs = [(each / "output.log").read_text() for each in earlier_starts(path)]
    assert logs == ["start 0", "start 1"]
    assert tmp_path.is_dir()


def test_a_start_that_resumes_finds_all_that_was_left(tmp_path: Path) -> None:
    path = tmp_path / "trial"
    with TrialFolder(path):
        (path / "output.log").write_text("first")
        (path / "last.pt").write_text("state")
    with TrialFolder(path, resume=True):
        assert (path / "last.pt").read_text() == "state"
        assert not (path / "output.log").exists()
        assert (path / "earlier/1/output.log").read_text() == "first"


def test_the_logs_of_the_last_starts_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "trial"
    for start in range(12):
        with TrialFolder(path):
            (path / "output.log").write_text(str(start))
            (path / "output.log.1").write_text(str(start))
    starts = earlier_starts(path)
    assert [each.name for each in starts] == ["7", "8", "9", "10", "11"]
    assert [(each / "output.log.1").read_text() for each in starts] == ["6", "7", "8", "9", "10"]


def test_the_second_worker_is_told_who_has_a_folder(tmp_path: Path) -> None:
    with TrialFolder(tmp_path / "trial") as first:
        (first.path / "result").touch()
        with pytest.raises(FolderInUse) as raised:
            TrialFolder(first.path, patience=0.1)
        assert f"trial: process {os.getpid()} of " in str(raised.value)
        assert "\n" not in str(raised.value)
        assert listed(first.path) == {"result"}
    TrialFolder(first.path, patience=0.1).close()


def test_a_folder_is_waited_for_while_its_last_program_ends(tmp_path: Path) -> None:
    first = TrialFolder(tmp_path)
    threading.Timer(0.3, first.close).start()
    TrialFolder(tmp_path, patience=60.0).close()


def test_a_lock_that_was_deleted_holds_nothing(tmp_path: Path) -> None:
    with TrialFolder(tmp_path) as first:
        (tmp_path / ".lock").unlink()
        with TrialFolder(tmp_path) as second:
            assert os.fstat(first.lock).st_ino != os.fstat(second.lock).st_ino
            with pytest.raises(FolderInUse):
                TrialFolder(tmp_path, patience=0.0)


def test_a_folder_is_held_until_nothing_of_its_program_is_left(
    start_worker: Callable[[str], Worker], tmp_path: Path
) -> None:
    worker = start_worker("import time; time.sleep(1000)")
    os.kill(worker.supervisor, signal.SIGSTOP)  # or it would end the program at once
    worker.kill()
    with pytest.raises(FolderInUse):
        TrialFolder(tmp_path / "trial", patience=0.0)
    assert runs(worker.program)
    os.kill(worker.supervisor, signal.SIGCONT)
    with TrialFolder(tmp_path / "trial", patience=60.0):
        assert not runs(worker.program)


def test_what_a_dead_worker_and_supervisor_left_is_ended_before_a_folder_is_cleared(
    start_worker: Callable[[str], Worker], tmp_path: Path
) -> None:
    worker = start_worker(
        "import os, time\n"
        "if not os.fork():\n"
        "    os.setsid()\n"
        "    while True: open('written', 'a').write('x')\n"
        "time.sleep(1000)"
    )
    eventually((tmp_path / "trial/written").exists)
    worker.kill_with_supervisor()
    with TrialFolder(tmp_path / "trial", patience=60.0) as folder:
        assert listed(folder.path) == {"earlier"}
        assert not marked()


def test_a_place_that_cannot_be_written_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProgramError, match="file/b8: no folder for a trial's program: Not a dir"):
        TrialFolder(tmp_path / "file" / "b8")


def test_a_file_system_without_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", unknown)
    with pytest.raises(ProgramError, match=r"file system has no locks.*; see --trial-dir"):
        TrialFolder(tmp_path / "trial")


def test_a_deleted_study_leaves_no_folder(tmp_path: Path) -> None:
    folders = TrialFolders(tmp_path / "root", "database")
    for study in ("a/b/c/b8", "a/b/c/b16"):
        folders.take(study, 3).close()
    folders.drop_study("a/b/c/b8")
    assert not folders.path("a/b/c/b8", 3).exists()
    assert folders.path("a/b/c/b16", 3).is_dir()
    folders.drop_study("a/b/c/b16")
    folders.drop_study("a/b/c/b16")
    assert list(tmp_path.iterdir()) == []
