"""Local workers: replaced when they die, told apart when they can't work, and never left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from batchfront.errors import WorkersFailed
from batchfront.launch.local import Listener, LocalWorkers
from batchfront.launch.worker_options import Order
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import Planned, plan
from batchfront.store.database import Storage
from batchfront.store.schema import slots, workers
from batchfront.training.programs.leftovers import MARK, new_mark
from batchfront.worker.options import WorkerOptions
from batchfront.workload import catalog
from tests.searches import CODE
from tests.toy import SPEC, clouds
from tests.waiting import eventually


def planned(storage: Storage) -> Planned:
    return plan(storage, SPEC, clouds(), SearchOptions(trials=6, batch_sizes=(4, 16)))


def local(
    storage: Storage, work: Planned, folder: Path, tell: Any = lambda line, worker: None
) -> LocalWorkers:
    options = WorkerOptions(checkpoint_dir=str(folder), code=(*CODE, str(folder.parent)))
    order = Order(storage.url, work.filter, options)
    return LocalWorkers(storage, order, ["cpu"], tell)


def pids(storage: Storage, *states: str) -> list[int]:
    """The processes of the workers in these states, as the database has them."""
    query = select(workers.c.pid).where(workers.c.state.in_(states or ("busy", "idle", "stopped")))
    with storage.read() as conn:
        return list(conn.execute(query).scalars())


def states(storage: Storage) -> set[str]:
    with storage.read() as conn:
        return set(conn.execute(select(slots.c.state)).scalars())


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_every_slot_is_done(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = planned(storage)
    monkeypatch.setenv("TOY_PAUSE", "0.01")
    with local(storage, work, tmp_path / "kept") as started:
        victim = eventually(lambda: pids(storage, "busy"))[0]
        os.kill(victim, signal.SIGKILL)
        monkeypatch.setenv("TOY_PAUSE", "0")
        eventually(lambda: not started.watch())
        assert started.running == 0
    assert states(storage) == {"done"}
    assert len(pids(storage)) == 2
    assert pids(storage, "busy", "idle") == []
    assert not any(alive(pid) for pid in pids(storage))


@pytest.mark.slow
def test_what_dead_workers_left_running_is_ended_as_another_is_found_dead(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = planned(storage)
    monkeypatch.setenv("TOY_PAUSE", "0.05")
    mark, pid, _, machine = new_mark().split(".")
    left = subprocess.Popen(["sleep", "1000"], env={MARK: f"{mark}.{pid}.1.{machine}"})
    with left, local(storage, work, tmp_path / "kept") as started:
        os.kill(eventually(lambda: pids(storage, "busy"))[0], signal.SIGKILL)
        eventually(lambda: started.watch() and left.poll() is not None)
    assert left.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_leaving_early_stops_the_workers_and_gives_everything_back(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = planned(storage)
    monkeypatch.setenv("TOY_PAUSE", "0.05")
    with local(storage, work, tmp_path / "kept") as started:
        (pid,) = eventually(lambda: pids(storage, "busy"))
        assert started.watch() == 1
    assert not alive(pid)
    assert started.running == 0
    assert states(storage) == {"free"}
    assert pids(storage, "busy", "idle") == []


@pytest.mark.slow
def test_workers_that_do_not_stop_are_killed_and_their_slots_are_free_at_once(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = planned(storage)
    monkeypatch.setenv("TOY_PAUSE", "30")
    with local(storage, work, tmp_path / "kept") as started:
        started.patience = 0.0
        (pid,) = eventually(lambda: pids(storage, "busy"))
    assert not alive(pid)
    assert started.running == 0
    with storage.read() as conn:
        held = slots.c.state == "leased"
        assert conn.execute(select(slots.c.id).where(held)).all() == []


@pytest.mark.slow
def test_a_worker_with_other_code_ends_it_all_with_what_it_said(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = planned(storage)
    monkeypatch.setenv("TOY_WIDTH", "13")
    said: list[str] = []

    def run() -> None:
        with local(
            storage, work, tmp_path / "kept", tell=lambda line, worker: said.append(line)
        ) as started:
            eventually(lambda: not started.watch())

    with pytest.raises(WorkersFailed) as failed:
        run()
    assert "exit code 2: batchfront: study clouds/mlp/momentum/b4 exists under" in str(failed.value)
    assert "\n" not in str(failed.value)
    assert said == [str(failed.value).partition("exit code 2: ")[2]]
    assert states(storage) == {"free"}
    assert not any(alive(pid) for pid in pids(storage))


def test_workers_that_die_over_and_over_are_given_up_with_their_last_word(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = planned(storage)
    quitter = tmp_path / "quitter"
    quitter.write_text("#!/bin/sh\necho 'first word' >&2\necho 'last word' >&2\nexit 7\n")
    quitter.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(quitter))

    def run() -> None:
        with local(storage, work, tmp_path / "kept") as started:
            eventually(lambda: not started.watch())

    with pytest.raises(WorkersFailed, match="a worker ended with exit code 7: last word"):
        run()


def test_a_password_is_not_in_the_workers_command(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[tuple[list[str], dict[str, str]]] = []
    popen = subprocess.Popen

    def watched(command: list[str], *, env: dict[str, str], **options: Any) -> Any:
        commands.append((command, env))
        return popen(["true"], **options)

    monkeypatch.setattr(subprocess, "Popen", watched)
    url = storage.url.set(
        drivername="postgresql+psycopg2", username="me", password="open-sesame", host="host"
    )
    monkeypatch.setattr(storage, "url", url)
    with local(storage, Planned(clouds(), (), (), ()), tmp_path) as started:
        eventually(lambda: not started.watch())
    ((command, env),) = commands
    assert "open-sesame" not in " ".join(command)
    assert "me:open-sesame@host" in env["BATCHFRONT_STORAGE"]


PARENT = """
import sys
from batchfront.launch.local import LocalWorkers
from batchfront.launch.worker_options import Order
from batchfront.store.url import open_storage
from batchfront.worker.options import WorkerOptions

storage = open_storage(sys.argv[1])
options = WorkerOptions(checkpoint_dir=sys.argv[2], code=(sys.argv[3],))
order = Order(storage.url, worker=options)
with LocalWorkers(storage, order, ["cpu"], print):
    sys.stdin.read()
"""


@pytest.mark.slow
def test_workers_whose_parent_is_killed_give_everything_back_and_end(
    storage: Storage, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage)
    monkeypatch.setenv("TOY_PAUSE", "0.05")
    command = [
        sys.executable,
        "-c",
        PARENT,
        database,
        str(tmp_path / "kept"),
        str(Path(__file__).parents[2]),
    ]
    parent = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        (pid,) = eventually(lambda: pids(storage, "busy"))
    finally:
        parent.kill()
        parent.communicate()
    eventually(lambda: not alive(pid))
    assert states(storage) == {"free"}
    assert pids(storage, "stopped") == [pid]


FORKING = """
import multiprocessing, os, subprocess, sys
from batchfront import Goal, Log, Loop

def train(trial):
    child = multiprocessing.get_context("fork").Process(target=int)
    child.start()
    child.join(120)
    if "--leash" in sys.argv and not os.path.exists({left!r}):
        with open({left!r}, "w") as file:
            file.write(str(subprocess.Popen(["sleep", "1000"]).pid))
    for step, _ in trial.batches(100):
        yield trial.measured(step, trial["learning_rate"] / step, loss=child.exitcode)

loop = Loop(
    name="a/loop/sgd",
    train=train,
    goal=Goal("error", 0.02, better="lower"),
    search_space={{"learning_rate": Log(0.1, 1.0)}},
    step_budget=60,
    batch_sizes=(4,),
)
"""


@pytest.mark.slow
def test_training_may_fork_and_what_it_leaves_running_holds_nobody_up(
    storage: Storage, tmp_path: Path
) -> None:
    path, left = tmp_path / "forking.py", tmp_path / "left"
    path.write_text(FORKING.format(left=str(left)))
    spec = f"{path}:loop"
    work = plan(storage, spec, catalog.load(spec), SearchOptions(trials=2))
    try:
        with local(storage, work, tmp_path / "kept") as workers:
            while workers.watch():
                time.sleep(0.1)
            workers.stop()
        assert alive(int(left.read_text()))
    finally:
        if left.exists():
            os.kill(int(left.read_text()), signal.SIGKILL)
    assert states(storage) == {"done"}


NOISY = """
import os
from batchfront import Goal, Loop, Log

def train(trial):
    os.write(2, b"libfoo: donn\\xe9es\\n")
    os.write(2, b"w" * 100_000 + b"\\n")
    for step, _ in trial.batches(100):
        os.write(2, b"w" * 199 + b"\\n")
        if trial.evaluates(step):
            yield trial.measured(step, trial["learning_rate"] / step)

loop = Loop(
    name="a/loop/sgd",
    train=train,
    goal=Goal("error", 1e-9, better="lower"),
    search_space={"learning_rate": Log(0.1, 1.0)},
    step_budget=800,
    batch_sizes=(4,),
)
"""


def closed(line: str, worker: str) -> None:
    raise BrokenPipeError


@pytest.mark.slow
@pytest.mark.parametrize(
    "tell", [lambda line, worker: None, closed], ids=["told", "nobody listens"]
)
def test_whatever_workers_print_and_wherever_it_goes_they_go_on(
    storage: Storage, tmp_path: Path, tell: Any
) -> None:
    path = tmp_path / "noisy.py"
    path.write_text(NOISY)
    spec = f"{path}:loop"
    work = plan(storage, spec, catalog.load(spec), SearchOptions(trials=2))
    with local(storage, work, tmp_path / "kept", tell) as workers:
        eventually(lambda: not workers.watch())
    assert states(storage) == {"done"}


SAYING = """
import os, subprocess, sys, time
print(subprocess.Popen(["sleep", "1000"]).pid, file=sys.stderr)
os.write(2, b"donn\\xe9es\\n10 %\\r20 %\\nlast words")
"""


def test_last_words_are_heard_though_a_helper_holds_on_to_the_pipe() -> None:
    said: list[str] = []
    process = subprocess.Popen([sys.executable, "-c", SAYING], stderr=subprocess.PIPE)
    listener = Listener(process, said.append)
    process.wait()
    listener.hear_out()
    helper = int(said[0])
    assert alive(helper)
    assert said[1:] == ["donn\ufffdes", "20 %", "last words"]
    os.kill(helper, signal.SIGKILL)
