"""`batchfront delete` says what is lost, and asks."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.batchfront.cli.conftest import Result
from tests.batchfront.cli.test_bad_input import refused

Run = Callable[..., Result]

NAME = "blobs/linear/momentum"
LOST = f"{NAME}: 2 studies of batch sizes 2, 8, with 4 trials and 0 s of training"


@pytest.fixture(autouse=True)
def planned(batchfront: Run, workload_file: Callable[..., str]) -> None:
    assert batchfront("plan", workload_file(), "--trials", "2").code == 0


def names(batchfront: Run) -> list[str]:
    lines = batchfront("status").out.splitlines()
    return [line.split()[0] for line in lines if line.startswith(NAME)]


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, 0), ("", 130, 2)])
def test_a_person_is_asked(batchfront: Run, answer: str, code: int, left: int) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-P", "-m", "batchfront.cli.main", "delete", NAME]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, text=True) as process:
        os.write(ours, f"{answer}\n".encode())
        shown, _ = process.communicate()
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code
    assert shown.startswith(f"{LOST}\nDelete all of it, for good? [y/N]: ")
    assert ("Deleted." in shown) == (code == 0)
    assert len(names(batchfront)) == left


def test_a_script_says_so_beforehand(batchfront: Run) -> None:
    asked = batchfront("delete", NAME, "--batch-sizes", "2", "--checkpoint-dir", "kept")
    said = "nobody is there to be asked; without asking: `batchfront delete"
    refused(asked, f"{said} {NAME} --batch-sizes 2 --checkpoint-dir kept --yes`")
    assert len(names(batchfront)) == 2
    done = batchfront("delete", NAME, "--batch-sizes", "2", "--yes")
    lost = f"{NAME}: 1 study of batch size 2, with 2 trials and 0 s of training"
    assert (done.code, done.out) == (0, f"{lost}\nDeleted.\n")
    assert names(batchfront) == [f"{NAME}/b8"]


def test_what_is_not_there_is_refused(batchfront: Run) -> None:
    refused(batchfront("delete", "blobs", "--yes"), "no studies of 'blobs'", NAME)
    sizes = batchfront("delete", NAME, "--batch-sizes", "4", "--yes")
    refused(sizes, f"--batch-sizes 4: {NAME} has no study of it; there are: 2, 8")


@pytest.fixture
def timed(batchfront: Run, folder: Path) -> None:
    head = "workload,device,devices,batch_size,seconds_per_step\n"
    (folder / "timings.csv").write_text(f"{head}{NAME},TPU,1,2,0.5\n{NAME},TPU,2,2,0.4\n")
    assert batchfront("import", "timings", "timings.csv").code == 0


@pytest.mark.usefixtures("timed")
def test_timings_are_named_with_what_is_lost_and_go_alone(batchfront: Run) -> None:
    asked = batchfront("delete", NAME, "--timings")
    refused(asked, f"without asking: `batchfront delete {NAME} --timings --yes`")
    done = batchfront("delete", NAME, "--batch-sizes", "2", "--yes")
    assert "timing" not in done.out
    done = batchfront("delete", NAME, "--timings", "--yes")
    assert (done.code, done.out) == (0, f"{NAME}: 2 timings\nDeleted.\n")
    assert names(batchfront) == [f"{NAME}/b8"]
    refused(batchfront("delete", NAME, "--timings", "--yes"), f"no timings of '{NAME}'", "none")


@pytest.mark.usefixtures("timed")
def test_timings_go_with_the_last_study(batchfront: Run) -> None:
    refused(
        batchfront("delete", NAME, "--probes", "--batch-sizes", "2", "--yes"),
        "--batch-sizes: timings and probes are deleted of all of them",
    )
    done = batchfront("delete", NAME, "--yes")
    assert done.out == f"{LOST.replace(' and ', ', ')} and 2 timings\nDeleted.\n"
