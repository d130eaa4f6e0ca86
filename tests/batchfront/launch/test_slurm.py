"""Slurm: what is submitted, and what a task does when Slurm wants its place, with Slurm's programs
played by scripts. `test_slurm_real.py` has a real one."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url

from batchfront.cli.main import work_as_command
from batchfront.errors import BatchfrontError, UsageError
from batchfront.launch.slurm import Slurm
from batchfront.launch.worker_options import Order
from batchfront.store.database import Storage
from batchfront.study.study import Filter
from batchfront.worker.options import WorkerOptions
from tests.batchfront.launch.ended import every_slot_ended_once
from tests.batchfront.launch.test_local import pids, planned, states
from tests.searches import CODE
from tests.waiting import eventually

pytest.importorskip("submitit")

URL = make_url("postgresql+psycopg2://me:open-sesame@db/x")
ORDER = Order(URL, Filter(("a/b/c",)), WorkerOptions("cuda"))

SUBMITTED = """#!/bin/bash

# Parameters
#SBATCH --account=ours
#SBATCH --array=0-2%3
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-node=1
#SBATCH --job-name=batchfront
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output={folder}/%A_%a_0_log.out
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@60
#SBATCH --time=90
#SBATCH --wckey=submitit

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output {folder}/%A_%a_%t_log.out --cpus-per-task=4 \
{python} -u -m submitit.core._submit {folder}
"""


@pytest.fixture
def slurm_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts programs in Slurm's place: each is a shell script's text."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def says(program: str, script: str) -> None:
        (programs / program).write_text(f"#!/bin/sh\ncd {tmp_path}\n{script}\n")
        (programs / program).chmod(0o755)

    says("srun", "exit 1")
    says("sbatch", "env > environment; echo Submitted batch job 12")
    return says


@pytest.mark.usefixtures("slurm_says")
def test_what_is_submitted_is_an_array_of_workers_that_can_be_requeued(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    slurm = Slurm(work_as_command, folder, 5400.0, "gpu", 1, 4, {"account": "ours"})
    launched = slurm.launch(ORDER, 3)
    assert launched.ids == ("12_0", "12_1", "12_2")
    assert (launched.watch, launched.cancel) == ("squeue --job 12", "scancel 12")
    assert launched.hold is None
    submitted = (folder / "12_submission.sh").read_text()
    assert submitted == SUBMITTED.format(folder=folder, python=sys.executable)


@pytest.mark.usefixtures("slurm_says")
def test_a_password_is_in_the_environment_that_sbatch_hands_on_and_in_no_file(
    tmp_path: Path,
) -> None:
    Slurm(work_as_command, tmp_path / "jobs", 3600.0).launch(ORDER, 2)
    assert "me:open-sesame@db" in (tmp_path / "environment").read_text()
    written = list((tmp_path / "jobs").iterdir())
    assert {".sh", ".pkl"} <= {path.suffix for path in written}
    assert not any(b"open-sesame" in path.read_bytes() for path in written)
    assert "BATCHFRONT_STORAGE" not in os.environ


@pytest.mark.usefixtures("slurm_says")
def test_wrong_parameters_are_named_all_at_once_with_those_there_are(tmp_path: Path) -> None:
    slurm = Slurm(
        work_as_command, tmp_path / "jobs", 60.0, None, 2, 0, {"acount": "ours", "time": "9"}
    )
    with pytest.raises(UsageError) as refused:
        slurm.launch(ORDER, 0)
    said = str(refused.value)
    for problem in ("--workers 0", "--cpus-per-worker 0", "--gpus-per-worker 2", "--time 60s"):
        assert problem in said
    assert "--sbatch acount, time: unknown; there are account, comment, constraint," in said
    assert not (tmp_path / "jobs").exists()


def test_what_sbatch_refuses_is_told_in_its_words(
    slurm_says: Callable[[str, str], None], tmp_path: Path
) -> None:
    slurm_says("sbatch", "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1")
    with pytest.raises(BatchfrontError, match=r"launch slurm: .*invalid partition") as refused:
        Slurm(work_as_command, tmp_path / "jobs", 3600.0, "gpu").launch(ORDER, 2)
    assert "\n" not in str(refused.value)


def test_without_slurm_or_submitit_it_is_said_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BatchfrontError, match="srun"):
        Slurm(work_as_command, tmp_path / "jobs", 3600.0).launch(ORDER, 1)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match=r"-m pip install .*\[slurm\]'`"):
        Slurm(work_as_command, tmp_path / "jobs", 3600.0).launch(ORDER, 1)


class Tasks:
    """Tasks of an array that was submitted, run as a node would run them."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        self.storage, self.folder = storage, folder
        worker = WorkerOptions("cpu", checkpoint_dir=str(folder / "kept"), code=CODE)
        order = Order(storage.url, planned(storage).filter, worker)
        Slurm(work_as_command, folder / "jobs", 3600.0).launch(order, 2)
        self.environment = {**os.environ, **order.environment()}

    def start(self, number: int) -> "subprocess.Popen[str]":
        place = {"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "12", "SUBMITIT_EXECUTOR": "slurm"}
        return subprocess.Popen(
            [sys.executable, "-m", "submitit.core._submit", str(self.folder / "jobs")],
            env={**self.environment, **place, "SLURM_ARRAY_TASK_ID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def signalled(self, number: int) -> tuple[int, str]:
        """A task's exit code and output, when it got that signal with trials in hand."""
        task = self.start(1)
        eventually(lambda: task.pid in pids(self.storage, "busy"))
        task.send_signal(number)
        output, _ = task.communicate()
        return task.returncode, output


@pytest.mark.slow
def test_a_task_whose_time_is_up_releases_its_trials_is_requeued_and_goes_on(
    slurm_says: Callable[[str, str], None],
    storage: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slurm_says("scontrol", 'echo "$@" >> asked')
    monkeypatch.setenv("TOY_PAUSE", "0.05")
    tasks = Tasks(storage, tmp_path)
    _, output = tasks.signalled(signal.SIGUSR2)
    assert (tmp_path / "asked").read_text() == "requeue 12_1\n", output
    assert states(storage) == {"free"}
    tasks.environment["TOY_PAUSE"] = "0"
    again = tasks.start(1)
    assert again.wait() == 0, again.communicate()
    again.communicate()
    every_slot_ended_once(storage, 6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shown", "requeued"),
    [
        ("JobState=RUNNING PreemptTime=2026-01-01T00:00:00", True),
        ("JobState=RUNNING PreemptTime=None", False),
        ("JobState=CANCELLED PreemptTime=2026-01-01T00:00:00", False),
        ("", False),
    ],
    ids=["pre-empted", "signalled", "cancelled", "no answer"],
)
def test_a_task_that_is_to_end_releases_its_trials_and_is_requeued_only_if_pre_empted(
    slurm_says: Callable[[str, str], None],
    storage: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shown: str,
    requeued: bool,
) -> None:
    slurm_says("scontrol", f'echo "$@" >> asked; echo "JobId=13 {shown} Nodes=1"')
    monkeypatch.setenv("TOY_PAUSE", "0.05")
    code, output = Tasks(storage, tmp_path).signalled(signal.SIGTERM)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[0] == "--oneliner show job 12_1"
    assert (asked[1:] == ["requeue 12_1"]) == requeued, output
    assert (code == 0) != requeued
    assert states(storage) == {"free"}


@pytest.mark.slow
@pytest.mark.usefixtures("slurm_says")
def test_a_task_ends_as_its_worker_does(storage: Storage, tmp_path: Path) -> None:
    tasks = Tasks(storage, tmp_path)
    tasks.environment["TOY_WIDTH"] = "13"
    task = tasks.start(0)
    output, _ = task.communicate()
    assert task.returncode == 2
    assert "batchfront: study clouds/mlp/momentum/b4 exists under another definition" in output
    assert "Traceback" not in output
    del tasks.environment["BATCHFRONT_STORAGE"]
    task = tasks.start(0)
    output, _ = task.communicate()
    assert task.returncode == 2
    assert "batchfront: BATCHFRONT_STORAGE did not reach this node" in output
