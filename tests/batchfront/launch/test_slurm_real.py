"""Slurm itself, with one node: this machine. Needs slurm-wlm and munge, and root to start them."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from batchfront.cli.main import work_as_command
from batchfront.launch.launcher import Launched
from batchfront.launch.slurm import Slurm
from batchfront.launch.worker_options import Order
from batchfront.store.database import Storage
from batchfront.worker.options import WorkerOptions
from tests.batchfront.launch.ended import every_slot_ended_once
from tests.batchfront.launch.test_local import alive, pids, planned, states
from tests.ports import free_port
from tests.searches import CODE
from tests.waiting import LONG, eventually

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=20
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=patient Nodes={host} Default=YES GraceTime=60 PriorityTier=1
PartitionName=urgent Nodes={host} PriorityTier=10
"""


@contextmanager
def daemon(folder: Path, *command: str) -> Iterator[None]:
    name = Path(command[0]).name
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(LONG)


def said_by(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Slurm of the test's own; the folder of its files and logs."""
    pytest.importorskip("submitit")
    programs = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
    paths = {name: shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in programs}
    missing = [name for name, path in paths.items() if path is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"Slurm can't be started: {', '.join(missing) or 'this is not root'}")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    names = {"host": socket.gethostname().partition(".")[0], "folder": folder}
    conf = CONF.format(**names, controller=free_port(), node=free_port())
    (folder / "slurm.conf").write_text(conf)
    files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid"}
    files |= {"log-file": "munge.log", "seed-file": "munge.seed"}
    munge = ["--foreground", "--force", *(f"--{n}={folder / file}" for n, file in files.items())]
    with pytest.MonkeyPatch.context() as patch, ExitStack() as daemons:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        daemons.enter_context(daemon(folder, str(paths["munged"]), *munge))
        eventually((folder / "munge.socket").exists)
        daemons.enter_context(daemon(folder, str(paths["slurmctld"]), "-D"))
        daemons.enter_context(daemon(folder, str(paths["slurmd"]), "-D"))
        eventually(lambda: "idle" in said_by("sinfo", "--noheader", "--format", "%T"))
        yield folder


@pytest.fixture
def submit(
    slurm: Path, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Launched]]:
    """Submits two workers on a planned storage, slowed down; nothing is left of them thereafter."""
    monkeypatch.setenv("TOY_PAUSE", "0.05")

    def launch(url: object = None) -> Launched:
        worker = WorkerOptions("cpu", checkpoint_dir=str(tmp_path / "kept"), code=CODE)
        order = Order(make_url(url or storage.url), planned(storage).filter, worker)
        return Slurm(work_as_command, tmp_path / "jobs", 3600.0, "patient").launch(order, 2)

    yield launch
    said_by("scancel", "--user", "root")
    eventually(lambda: not said_by("squeue", "--noheader"))


@pytest.mark.every_storage
def test_an_array_finishes_its_plan_though_one_is_requeued_and_all_are_pre_empted(
    submit: Callable[..., Launched], storage: Storage
) -> None:
    launched = submit()
    first = eventually(lambda: len(found := pids(storage, "busy")) == 2 and found)
    subprocess.run(["scontrol", "requeue", launched.ids[0]], check=True)
    eventually(lambda: sum(map(alive, first)) == 1)
    assert len(pids(storage, "stopped")) == 1
    # It wants the whole node, so whoever is there is told, and given a minute of grace.
    subprocess.run(["srun", "--partition", "urgent", "--ntasks", "4", "true"], check=True)
    eventually(lambda: not any(map(alive, first)))
    eventually(lambda: not said_by("squeue", "--noheader"))
    every_slot_ended_once(storage, 6)
    assert len(pids(storage)) >= 4
    assert len(pids(storage, "stopped")) == len(pids(storage))


def test_a_cancelled_array_hands_everything_back_and_is_not_requeued(
    submit: Callable[..., Launched], storage: Storage
) -> None:
    launched = submit()
    found = eventually(lambda: len(found := pids(storage, "busy")) == 2 and found)
    subprocess.run(launched.cancel.split(), check=True)
    eventually(lambda: not any(map(alive, found)))
    eventually(lambda: not said_by("squeue", "--noheader"))
    assert states(storage) == {"free"}
    assert sorted(pids(storage, "stopped")) == sorted(found)


def test_a_password_is_nowhere_to_be_seen(
    submit: Callable[..., Launched], slurm: Path, tmp_path: Path
) -> None:
    launched = submit(f"postgresql://me:open-sesame@127.0.0.1:{free_port()}/none")
    log = tmp_path / "jobs" / f"{launched.ids[0]}_0_log.out"
    eventually(lambda: log.exists() and "database" in log.read_text())
    shown = said_by("scontrol", "show", "job") + said_by("squeue", "--Format", "all")
    shown += said_by("ps", "-eo", "args", "-ww")
    assert "submitit" in shown
    assert "open-sesame" not in shown
    subprocess.run(launched.cancel.split(), check=True)
    eventually(lambda: not said_by("squeue", "--noheader"))
    written = [path for path in (tmp_path / "jobs").iterdir() if path.is_file()]
    assert written
    assert not [path for path in written if b"open-sesame" in path.read_bytes()]
    # Slurm itself keeps the environment, for itself alone.
    kept = [p for p in slurm.rglob("*") if p.is_file() and b"open-sesame" in p.read_bytes()]
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept)
