"""`batchfront launch`: workers that a user starts, and what it says when it can't."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from sqlalchemy import make_url

from batchfront.cli import orders
from batchfront.errors import IdentityError
from batchfront.worker.options import WorkerOptions
from tests.batchfront.cli.conftest import Result
from tests.waiting import eventually

Run = Callable[..., Result]
Write = Callable[..., str]

NAME = "blobs/linear/momentum"


@pytest.fixture
def planned(batchfront: Run, workload_file: Write) -> None:
    """Two studies with four trials each."""
    assert batchfront("plan", workload_file(), "--trials", "4").code == 0


def done(batchfront: Run) -> int:
    status = json.loads(batchfront("status", "--format", "json").out)
    return sum(study["done"] for study in status["studies"])


@pytest.mark.slow
@pytest.mark.usefixtures("planned")
def test_local_workers_do_what_was_asked_for_and_end(batchfront: Run) -> None:
    result = batchfront("launch", "local", NAME, "--workers", "2", "--batch-sizes", "8")
    assert result.code == 0, result.err
    assert len(result.out.split()) == 2
    assert "Watch with: `batchfront status --watch`" in result.err
    assert "/b8: " in result.err
    assert done(batchfront) == 4


@pytest.mark.usefixtures("planned")
def test_debug_runs_in_this_process(batchfront: Run) -> None:
    result = batchfront("launch", "debug")
    assert result.code == 0, result.err
    assert done(batchfront) == 8


@pytest.mark.usefixtures("planned")
def test_debug_raises_what_went_wrong(batchfront: Run, workload_file: Write) -> None:
    workload_file(("Log(0.01, 1.0)", "Log(0.01, 2.0)"))
    result = batchfront("launch", "debug")
    assert result.code == 2
    assert "is not what it was planned with" in result.err
    with pytest.raises(IdentityError, match=r"differs in my_workload\.py\. Bring the code here"):
        batchfront("launch", "debug", "--debug")


@pytest.mark.slow
@pytest.mark.usefixtures("planned")
def test_ctrl_c_ends_workers_that_would_wait_forever(
    batchfront: Run, started: Callable[..., "subprocess.Popen[str]"]
) -> None:
    launched = started("launch", "local", "--workers", "1", "--forever")
    eventually(lambda: done(batchfront) == 8)
    launched.send_signal(signal.SIGINT)
    out, err = launched.communicate()
    assert launched.returncode == 130, err
    with pytest.raises(ProcessLookupError):
        os.kill(int(out), 0)


@pytest.mark.usefixtures("planned")
def test_slurm_gets_an_array_and_the_user_its_ids(
    batchfront: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    for program, script in (("srun", "exit 1"), ("sbatch", "echo Submitted batch job 7")):
        (folder / program).write_text(f"#!/bin/sh\n{script}\n")
        (folder / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    options = ("--workers", "2", "--time", "90m", "--sbatch", "mail-type=END", "--log-dir", "logs")
    result = batchfront("launch", "slurm", NAME, *options, "--sbatch", "exclusive")
    assert result.code == 0, result.err
    assert result.out == "7_0\n7_1\n"
    assert "warning: SQLite" in result.err
    assert "Stop with: scancel 7\n" in result.err
    script = (folder / "logs" / "7_submission.sh").read_text()
    for line in ("--time=90", "--mail-type=END", "--exclusive", "--requeue"):
        assert f"#SBATCH {line}\n" in script


def test_kubernetes_prints_a_manifest_and_nothing_else(batchfront: Run) -> None:
    told = ("--volume", "kept:/kept", "--checkpoint-dir", "/kept", "--max-time", "2h", "--forever")
    options = ("--image", "an/image", "--workers", "4", "--gpus-per-worker", "1", "--name", "mine")
    result = batchfront("launch", "kubernetes", NAME, *options, *told, "--print")
    assert result.code == 0, result.err
    job = yaml.safe_load(result.out)
    assert job["spec"]["parallelism"] == 4
    (worker,) = job["spec"]["template"]["spec"]["containers"]
    assert worker["args"][:2] == ["--device", "cuda"]
    assert worker["args"][-2:] == ["--", NAME]
    assert " --max-time 2h --forever " in " ".join(worker["args"])
    assert "Stop with: kubectl delete job mine\n" in result.err


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["kubernetes", "--image", "an/image"], "--print"),
        (["kubernetes", "--print"], "--image"),
        (["kubernetes", "--image", "i", "--print", "--volume", "kept"], "write CLAIM:/PATH"),
        (["slurm"], "no database"),
        (["ray"], "no database"),
        (["local"], "no database"),
        (["debug"], "no database"),
        (["slurm", "--time", "soon"], "is not a duration"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    batchfront: Run, command: list[str], says: str
) -> None:
    result = batchfront("launch", *command)
    assert result.code in (1, 2)
    assert says in result.err
    assert len(result.err.splitlines()) == 1
    assert result.out == ""


@pytest.mark.usefixtures("planned")
@pytest.mark.parametrize("where", ["local", "slurm", "ray", "debug"])
def test_a_workload_that_is_not_planned_is_refused_before_anything_starts(
    batchfront: Run, where: str
) -> None:
    result = batchfront("launch", where, "no/such/workload")
    assert result.code == 2
    assert f"there are: {NAME}" in result.err


@pytest.mark.usefixtures("planned")
@pytest.mark.parametrize("where", ["local", "debug"])
def test_code_that_is_not_there_is_refused_before_a_worker_says_it(
    batchfront: Run, where: str
) -> None:
    result = batchfront("launch", where, "--code", "none")
    assert result.code == 2
    assert result.err.endswith("/none: there is no such file or folder\n")
    assert result.err.count("\n") == 1


@pytest.mark.postgresql
def test_a_password_in_a_file_stays_there_if_the_workers_have_its_name_too(
    postgres_database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_url(postgres_database)
    assert url.password
    (folder / "password").write_text(url.password)
    bare = url._replace(password=None).render_as_string()
    monkeypatch.setenv("BATCHFRONT_PASSWORD_FILE", str(folder / "password"))
    holds = {}
    for goes_along in (True, False):
        told = (bare, WorkerOptions(checkpoint_dir="kept"), (), None)
        opened, order = orders.open_and_order(*told, environment_goes_along=goes_along)
        opened.close()
        handed_on = make_url(order.environment()["BATCHFRONT_STORAGE"])
        holds[goes_along] = handed_on.password == url.password
    assert holds == {True: False, False: True}
    assert order.worker.checkpoint_dir == str(folder / "kept")


@pytest.mark.usefixtures("planned")
def test_a_file_is_named_for_any_working_directory(folder: Path) -> None:
    opened, order = orders.open_and_order("sqlite:///batchfront.db", WorkerOptions(), (), None)
    opened.close()
    assert order.environment()["BATCHFRONT_STORAGE"] == f"sqlite:///{folder}/batchfront.db"
    assert order.worker.checkpoint_dir.startswith(str(folder))
