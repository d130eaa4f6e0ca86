"""A workload is timed on the devices that are here, planned or not."""

from pathlib import Path

import pytest

from batchfront.errors import UntrustedCode, UsageError, WorkloadError
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.url import Storage
from batchfront.vocabulary import TimedPart
from batchfront.worker.timed import Timed, TimingOptions
from batchfront.worker.timing import time_workload
from tests import loops, programs, searches, striped, toy

HERE = Path()
BOTH = TimingOptions(batch_sizes=(4, 16))


def parts(found: Timed) -> set[tuple[TimedPart, int]]:
    return {(one.part, one.devices) for one in found.timings}


def test_a_workload_that_is_not_planned_is_timed(storage: Storage) -> None:
    found = time_workload(storage, toy.SPEC, BOTH, HERE)
    assert (found.workload, found.device) == ("clouds/mlp/momentum", "cpu")
    alone = {part for part in TimedPart if part is not TimedPart.ALL_REDUCE}
    assert parts(found) == {(part, 1) for part in alone}
    assert all(one.versions["torch"] and one.precision == "float32" for one in found.timings)


def test_a_planned_one_is_timed_by_its_name_where_its_code_may_run(storage: Storage) -> None:
    searches.planned(storage)
    with pytest.raises(UntrustedCode):
        time_workload(storage, searches.NAME, BOTH, HERE)
    allowed = TimingOptions(batch_sizes=(4, 16), code=searches.CODE)
    found = time_workload(storage, searches.NAME, allowed, HERE)
    steps = [one.examples for one in found.timings if one.part is TimedPart.STEP]
    assert sorted(steps) == [4, 16]


def test_several_devices_are_timed_together(storage: Storage) -> None:
    options = TimingOptions(batch_sizes=(8,), devices_per_trial=(1, 2))
    found = time_workload(storage, striped.SPEC, options, HERE)
    assert {(TimedPart.STEP, 2), (TimedPart.ALL_REDUCE, 2), (TimedPart.PASS, 1)} <= parts(found)
    assert (TimedPart.PASS, 2) not in parts(found)


def test_micro_batches_are_the_devices_shares_and_smaller_ones(storage: Storage) -> None:
    options = TimingOptions(batch_sizes=(16, 24), devices_per_trial=(1,))
    found = time_workload(storage, toy.SPEC, options, HERE)
    passes = [one.examples for one in found.timings if one.part is TimedPart.PASS]
    assert sorted(passes) == [2, 4, 8, 16, 24]


def test_steps_of_a_program_are_timed_by_running_it(storage: Storage, tmp_path: Path) -> None:
    path = programs.write_sweep(tmp_path)
    with pytest.raises(UsageError, match="plan it first"):
        time_workload(storage, str(path), TimingOptions(), HERE)
    programs.planned(storage, path)
    found = time_workload(storage, str(path), TimingOptions(device="cpu"), HERE)
    assert [(one.part, one.devices, one.examples) for one in found.timings] == [
        (TimedPart.STEP, 1, 8)
    ]
    assert found.timings[0].seconds > 0
    assert programs.steps_done(path) > 0


def test_steps_of_a_loop_are_timed_by_running_it(storage: Storage) -> None:
    spec = f"{loops.SPEC}line"
    plan(storage, spec, loops.line(), SearchOptions(trials=2, batch_sizes=(8,)))
    found = time_workload(storage, spec, TimingOptions(), HERE)
    assert [(one.part, one.examples) for one in found.timings] == [(TimedPart.STEP, 8)]


def test_what_can_not_be_timed_is_refused_before_anything_runs(
    storage: Storage, tmp_path: Path
) -> None:
    path = programs.write_sweep(tmp_path)
    programs.planned(storage, path)

    def refused(named: str, **asked: object) -> str:
        with pytest.raises(UsageError) as error:
            time_workload(storage, named, TimingOptions(**asked), HERE)  # type: ignore[arg-type]
        return str(error.value)

    assert "says itself what it computes on" in refused(str(path), devices_per_trial=(1, 2))
    assert "--batch-sizes 8,16" in refused(str(path), batch_sizes=(16,))
    for device in ("cpu", "auto"):
        assert "this machine has" in refused(toy.SPEC, devices_per_trial=(1, 4096), device=device)
    assert "larger than the training set" in refused(toy.SPEC, batch_sizes=(4, 97))
    assert "cuda" in refused(toy.SPEC, device="cuda:977")
    with pytest.raises(UsageError, match="must begin with 1"):
        TimingOptions(devices_per_trial=(2,))


def test_devices_do_not_share_batches_that_must_stay_whole(
    storage: Storage, tmp_path: Path
) -> None:
    file = tmp_path / "whole.py"
    file.write_text(
        "from dataclasses import replace\nfrom torch import nn\n"
        "from batchfront import Workload\nfrom tests import toy\n\n"
        "def model():\n"
        "    return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))\n\n"
        "def whole() -> Workload:\n"
        "    space = {n: r for n, r in toy.clouds().search_space.items() if n != 'dropout'}\n"
        "    return replace(toy.clouds(), name='whole/mlp/momentum', model=model,\n"
        "                   search_space=space)\n"
    )
    with pytest.raises(WorkloadError, match="--devices-per-trial 2"):
        time_workload(storage, f"{file}:whole", TimingOptions(devices_per_trial=(1, 2)), HERE)
    found = time_workload(storage, f"{file}:whole", BOTH, HERE)
    passes = {one.examples for one in found.timings if one.part is TimedPart.PASS}
    assert passes == {4, 16}
