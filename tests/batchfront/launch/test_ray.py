"""Ray itself, on this machine: tasks that work, die, are told to end, and keep a secret."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import make_url

from batchfront.cli.main import work_here
from batchfront.errors import BatchfrontError, UsageError, WorkersFailed
from batchfront.launch.ray import Ray
from batchfront.launch.worker_options import Order
from batchfront.store.database import Storage
from batchfront.worker.options import WorkerOptions
from tests.batchfront.launch.ended import every_slot_ended_once
from tests.batchfront.launch.test_local import alive, pids, planned, states
from tests.searches import CODE
from tests.waiting import eventually

with_ray = [pytest.mark.ray, pytest.mark.slow, pytest.mark.filterwarnings("default")]


def test_without_ray_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"-m pip install .*\[ray\]'`"):
        Ray(work_here).launch(Order(), 1)


def test_wrong_settings_are_named_all_at_once() -> None:
    with pytest.raises(UsageError, match=r"--workers 0.*--cpus-per-worker 0.*--gpus-per-worker 2"):
        Ray(work_here, "auto", 2, 0).launch(Order(), 0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, Path]]:
    """A Ray of the tests' own, with two cores: its address, and the folder of its files."""
    pytest.importorskip("ray", reason="Ray is not installed")
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # a short path: it holds sockets
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "TOY_PAUSE": "0.05"}
    environment["PYTHONWARNINGS"] = "ignore"
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command += ["--num-cpus=2", "--node-ip-address=127.0.0.1", f"--port={port}"]
    command += ["--include-dashboard=false", f"--temp-dir={folder}"]
    head = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert head.stdout is not None
        assert any("--block" in line for line in head.stdout), "Ray did not start"
        yield f"127.0.0.1:{port}", folder
    finally:
        head.send_signal(signal.SIGTERM)
        head.communicate()
        shutil.rmtree(folder)


@pytest.fixture
def hold(
    cluster: tuple[str, Path], tmp_path: Path
) -> Callable[[Order, Callable[[Event], object]], None]:
    """Launches two workers and holds them, while another thread does what is to happen."""

    def run(order: Order, meanwhile: Callable[[Event], object]) -> None:
        launched = Ray(work_here, cluster[0]).launch(order, 2)
        assert len(launched.ids) == 2
        assert launched.hold is not None
        stop = Event()
        thread = Thread(target=meanwhile, args=(stop,))
        thread.start()
        launched.hold(stop)
        thread.join()

    return run


@pytest.fixture
def order(storage: Storage, tmp_path: Path) -> Order:
    worker = WorkerOptions("cpu", checkpoint_dir=str(tmp_path / "kept"), code=CODE)
    return Order(storage.url, planned(storage).filter, worker)


class TestOnARealRay:
    pytestmark = with_ray

    def test_a_killed_task_is_restarted_and_the_plan_is_finished(
        self, hold: Callable[..., None], order: Order, storage: Storage
    ) -> None:
        def kill_one(_: Event) -> None:
            found = eventually(lambda: len(found := pids(storage, "busy")) == 2 and found)
            os.kill(found[0], signal.SIGKILL)

        hold(order, kill_one)
        every_slot_ended_once(storage, 6)
        assert len(pids(storage)) + len(pids(storage, "lost")) == 3

    def test_tasks_that_are_told_to_end_hand_everything_back_first(
        self, hold: Callable[..., None], order: Order, storage: Storage
    ) -> None:
        found: list[int] = []

        def tell(stop: Event) -> None:
            found.extend(eventually(lambda: len(p := pids(storage, "busy")) == 2 and p))
            stop.set()

        hold(order, tell)
        assert states(storage) == {"free"}
        assert sorted(pids(storage, "stopped")) == sorted(found)
        eventually(lambda: not any(map(alive, found)))

    def test_a_password_is_nowhere_to_be_seen_and_a_failure_is_told(
        self, hold: Callable[..., None], cluster: tuple[str, Path]
    ) -> None:
        url = make_url("postgresql+psycopg2://me:open-sesame@127.0.0.1:1/none")
        shown: list[str] = []

        def look(_: Event) -> None:
            listed = ["ps", "-eo", "args", "-ww"]
            found = eventually(
                lambda: "ray::batchfront_worker" in (text := _output(listed)) and text
            )
            shown.append(found)

        with pytest.raises(WorkersFailed, match=r"a worker ended: .*me:\*\*\*@127.0.0.1") as failed:
            hold(Order(url, worker=WorkerOptions("cpu", max_outage=2.0)), look)
        assert "open-sesame" not in str(failed.value) + shown[0]
        files = [path for path in cluster[1].rglob("*") if path.is_file()]
        assert any("worker" in path.name for path in files)
        assert not [path for path in files if b"open-sesame" in path.read_bytes()]

    def test_a_cluster_that_is_not_there_is_told(self) -> None:
        pytest.importorskip("ray", reason="Ray is not installed")
        with pytest.raises(BatchfrontError, match=r"--address 127\.0\.0\.1:1: .*refused"):
            Ray(work_here, "127.0.0.1:1").launch(Order(), 1)


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
