"""Processes that decode: what they make comes back whole, and none outlives its worker."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from batchfront.errors import WorkloadError
from batchfront.workload import decoding
from batchfront.workload.decoding import Decoders, packed, unpacked, usual_processes
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(not decoding.CAN_FORK, reason="processes are forked on Linux")


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


@pytest.mark.parametrize(
    "value",
    [
        torch.arange(6.0).view(2, 3),
        torch.zeros(0, 3),
        torch.tensor(3),
        torch.tensor([True, False]),
        torch.randn(3, 4).T,
        torch.randn(4).bfloat16(),
        {"a": [np.arange(5), "text"], "b": (torch.ones(2, dtype=torch.uint16), None)},
    ],
)
def test_what_is_packed_is_the_same_unpacked_and_shares_nothing(value: Any) -> None:
    kept = packed(value)
    first, second = unpacked(kept), unpacked(kept)
    for found in (first, second, Decoders(lambda one: one, 1)([value])[0]):
        torch.testing.assert_close(found, value, rtol=0, atol=0) if not isinstance(
            value, dict
        ) else assert_same(found, value)
    if isinstance(first, torch.Tensor) and first.numel():
        assert first.data_ptr() != second.data_ptr()


def assert_same(found: Any, value: Any) -> None:
    assert found["a"][0].tolist() == value["a"][0].tolist()
    assert found["a"][1] == "text"
    assert torch.equal(found["b"][0], value["b"][0])


def test_what_is_larger_than_the_shared_memory_comes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_ROOM", 4096)
    (found,) = Decoders(lambda count: torch.arange(count), 1)([10_000])
    assert torch.equal(found, torch.arange(10_000))


def test_pieces_come_back_in_order_by_several_processes() -> None:
    found = Decoders(lambda one: (one, os.getpid()), 2)(range(20))
    assert [one for one, _ in found] == list(range(20))
    assert os.getpid() not in {pid for _, pid in found}


def test_a_process_that_is_killed_is_told_and_the_next_piece_has_another() -> None:
    def work(one: int) -> int:
        if one < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return one

    decoders = Decoders(work, 1)
    assert decoders([1]) == [1]
    with pytest.raises(WorkloadError, match=r"killed by SIGKILL .*memory is short.*processes=0"):
        decoders([-1])
    assert decoders([2]) == [2]
    with pytest.raises(WorkloadError, match="ended with exit code 3"):
        Decoders(lambda _: os._exit(3), 1)([0])


def test_what_is_no_longer_used_leaves_no_process() -> None:
    before = children()
    decoders = Decoders(lambda one: one, 2)
    decoders(range(4))
    assert children() - before
    del decoders
    eventually(lambda: not (children() - before))


_WORKER = """
import os, sys, time
from batchfront.workload.decoding import Decoders
decoders = Decoders(lambda one: os.getpid(), 2)
print(*set(decoders(range(40))), flush=True)
time.sleep(600)
"""


def test_none_outlives_a_worker_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _WORKER], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        found = [int(pid) for pid in worker.stdout.readline().split()]
        assert found
        worker.kill()
    eventually(lambda: not any(_runs(pid) for pid in found))


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_open_files_are_read_by_each_process_from_a_place_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("".join(f"{n:09}\n" for n in range(5000)))
    with path.open("rb", buffering=0) as opened:

        def read(n: int) -> int:
            opened.seek(10 * n)
            return int(opened.read(10))

        assert Decoders(read, 2)(range(5000)) == list(range(5000))
        assert opened.tell() == 0


def test_a_lack_of_picklable_results_is_told() -> None:
    with pytest.raises(WorkloadError, match="can't come from another process"):
        Decoders(lambda _: lambda: 0, 1)([0])


def test_workers_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)))
    assert usual_processes() == 11
    for workers, expected in ((2, 5), (4, 2), (12, 0), (100, 0)):
        monkeypatch.setenv("BATCHFRONT_WORKERS_HERE", str(workers))
        assert usual_processes() == expected
