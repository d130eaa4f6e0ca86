"""Which devices workers are given: every one once, and as many a trial as were asked for."""

import pytest
import torch

from batchfront.errors import UsageError
from batchfront.training import device_names
from batchfront.training.devices import describe_all, following, local_devices

CPU = torch.device("cpu")


@pytest.fixture
def eight_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch would tell of a machine with eight."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)


def test_eight_gpus_serve_four_workers_with_two_each(eight_gpus: None) -> None:
    assert local_devices("auto", None, 2) == ["cuda:0", "cuda:2", "cuda:4", "cuda:6"]
    assert local_devices("auto", None, 3) == ["cuda:0", "cuda:3"]
    assert local_devices("auto", 2, 4) == ["cuda:0", "cuda:4"]
    assert len(local_devices("auto", None)) == 8


def test_a_workers_devices_are_its_first_and_those_after_it(eight_gpus: None) -> None:
    found = following(torch.device("cuda:2"), 3)
    assert found == [torch.device("cuda", index) for index in (2, 3, 4)]
    assert following(torch.device("cuda"), 2) == [torch.device("cuda:0"), torch.device("cuda:1")]


def test_too_few_gpus_are_counted_in_the_error(eight_gpus: None) -> None:
    said = r"--devices-per-trial 4: from cuda:6 on, this machine has 2 of its 8 GPUs"
    with pytest.raises(UsageError, match=said):
        following(torch.device("cuda:6"), 4)
    with pytest.raises(UsageError, match="--devices-per-trial 9: from cuda:0 on"):
        local_devices("auto", None, 9)


def test_no_device_computes_nothing() -> None:
    with pytest.raises(UsageError, match="--devices-per-trial 0: must be at least 1"):
        local_devices("cpu", None, 0)


def test_on_the_cpu_each_of_a_trials_devices_has_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_names, "cores", lambda: 6)
    assert local_devices("cpu", None, 2) == ["cpu"] * 3
    assert local_devices("cpu", None, 8) == ["cpu"]
    assert following(CPU, 2) == [CPU, CPU]


def test_several_devices_are_described_with_their_number() -> None:
    assert describe_all([CPU]) == "cpu"
    assert describe_all([CPU, CPU]) == "2 × cpu"
