"""A worker in this process: it does what any other does, and its errors are raised here."""

import os
from pathlib import Path
from threading import Event

import pytest

from batchfront.cli.main import work_here
from batchfront.errors import IdentityError
from batchfront.launch.debug import Debug
from batchfront.launch.worker_options import Order
from batchfront.store.database import Storage
from batchfront.worker.options import WorkerOptions
from tests.batchfront.launch.test_local import pids, planned, states


def test_the_plan_is_done_in_this_process(storage: Storage, tmp_path: Path) -> None:
    worker = WorkerOptions("cpu", checkpoint_dir=str(tmp_path / "kept"))
    order = Order(storage.url, planned(storage).filter, worker)
    launched = Debug(work_here).launch(order)
    assert states(storage) == {"free"}
    assert launched.hold is not None
    launched.hold(Event())
    assert states(storage) == {"done"}
    assert pids(storage) == [os.getpid()]


def test_an_error_is_raised_where_a_debugger_can_see_it(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = Order(storage.url, planned(storage).filter, WorkerOptions("cpu"))
    monkeypatch.setenv("TOY_WIDTH", "13")
    launched = Debug(work_here).launch(order)
    assert launched.hold is not None
    with pytest.raises(IdentityError, match="exists under another definition"):
        launched.hold(Event())
    assert "BATCHFRONT_STORAGE" not in os.environ
