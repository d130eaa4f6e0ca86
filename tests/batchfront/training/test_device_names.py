"""Which devices programs are given, as the driver's own tool lists them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from batchfront.errors import UsageError
from batchfront.training import device_names
from batchfront.training.device_names import (
    Gpu,
    describe_all,
    following,
    local_devices,
    resolve,
    visible_gpus,
)

LISTED = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1d9a0000-0000)
  MIG 3g.40gb     Device  0: (UUID: MIG-aaaa0000-0000)
  MIG 3g.40gb     Device  1: (UUID: MIG-bbbb0000-0000)
GPU 1: NVIDIA T4 (UUID: GPU-2e8b0000-0000)
GPU 2: NVIDIA T4 (UUID: GPU-3f7c0000-0000)
"""


@pytest.fixture(autouse=True)
def three_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose driver lists three GPUs, the first of them in two parts."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{LISTED}END\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    device_names._installed.cache_clear()
    yield
    device_names._installed.cache_clear()


def test_every_gpu_of_the_machine_is_found_with_its_name() -> None:
    t4 = "NVIDIA T4"
    assert visible_gpus() == [Gpu("NVIDIA H100 80GB HBM3", "0"), Gpu(t4, "1"), Gpu(t4, "2")]


@pytest.mark.parametrize(
    ("told", "visible"),
    [
        ("2,0", ["2", "0"]),
        (" 1 , 2", ["1", "2"]),
        ("GPU-2e,GPU-1d9a0000-0000", ["GPU-2e", "GPU-1d9a0000-0000"]),
        ("MIG-bbbb0000-0000", ["MIG-bbbb0000-0000"]),
        ("1,7,2", ["1"]),  # from the first on that there isn't
        ("-1", []),
        ("", []),
        ("NoDevFiles", []),
        ("GPU-", []),
        ("1,1", []),
    ],
)
def test_a_program_sees_what_cuda_would_show_it(
    told: str, visible: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", told)
    assert [gpu.visible_as for gpu in visible_gpus()] == visible


def test_without_the_drivers_tool_the_kernel_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(device_names, "_PROC", tmp_path / "gpus")
    for bus, name in (("0000:1b:00.0", "NVIDIA H200"), ("0000:4c:00.0", "NVIDIA T4")):
        (tmp_path / "gpus" / bus).mkdir(parents=True)
        about = f"Model: \t\t {name}\nIRQ:   \t\t 16\nGPU UUID: \t GPU-{bus[5:7]}aa-00\n"
        (tmp_path / "gpus" / bus / "information").write_text(about)
    assert visible_gpus() == [Gpu("NVIDIA H200", "0"), Gpu("NVIDIA T4", "1")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-4caa")
    assert visible_gpus() == [Gpu("NVIDIA T4", "GPU-4caa")]


def test_without_a_driver_there_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(device_names, "_PROC", tmp_path / "none")
    assert visible_gpus() == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert visible_gpus() == []


def test_gpus_of_amd_are_those_that_torch_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    monkeypatch.setattr(device_names, "_PROC", tmp_path / "nowhere")
    monkeypatch.setattr(device_names, "_KFD", tmp_path)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", "AMD {}".format)
    assert [gpu.name for gpu in visible_gpus()] == ["AMD 0", "AMD 1"]


def test_a_driver_that_fails_has_no_gpu(tmp_path: Path) -> None:
    (tmp_path / "nvidia-smi").write_text(
        "#!/bin/sh\necho 'NVIDIA-SMI has failed because it could not reach the driver'\nexit 9\n"
    )
    assert visible_gpus() == []


def test_auto_is_the_first_gpu_or_else_the_cpu() -> None:
    assert resolve("auto", 3) == "cuda:0"
    assert resolve("auto", 0) == "cpu"
    assert resolve("cuda", 1) == "cuda:0"
    assert resolve("cuda:2", 3) == "cuda:2"
    assert resolve("cpu", 3) == "cpu"


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:0 ", "mps"])
def test_what_names_no_device_is_refused_with_what_would(name: str) -> None:
    with pytest.raises(UsageError, match="use auto, cpu, cuda or cuda:N"):
        resolve(name, 3)


@pytest.mark.parametrize(("name", "gpus"), [("cuda", 0), ("cuda:3", 3)])
def test_a_gpu_that_there_is_not_is_refused_with_how_many_there_are(name: str, gpus: int) -> None:
    with pytest.raises(UsageError, match=f"--device {name}: this machine has {gpus} GPUs"):
        resolve(name, gpus)


def test_a_worker_starts_on_every_gpu_or_on_that_which_was_asked_for() -> None:
    assert local_devices("auto", None, 1, gpus=3) == ["cuda:0", "cuda:1", "cuda:2"]
    assert local_devices("auto", 4, 1, gpus=3) == ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]
    assert local_devices("auto", None, 2, gpus=3) == ["cuda:0"]
    assert local_devices("cuda:1", None, 1, gpus=3) == ["cuda:1"]
    assert following("cuda:1", 2, gpus=3) == ["cuda:1", "cuda:2"]


def test_devices_are_described_by_the_name_of_the_gpu() -> None:
    gpus = visible_gpus()
    assert describe_all(["cuda:1", "cuda:2"], gpus) == "2 × NVIDIA T4"
    assert describe_all(["cuda:0"], gpus) == "NVIDIA H100 80GB HBM3"
    assert describe_all(["cpu", "cpu"], gpus) == "2 × cpu"
