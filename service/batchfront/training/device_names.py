"""Which devices there are, by name, without torch: what programs are given.

What trains with torch sees those that torch does; `batchfront.training.devices` says which.
"""

import ctypes
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from batchfront.errors import UsageError
from batchfront.extras import has_torch
from batchfront.phrases import several

_SECONDS = 60  # that a driver may take to wake up

_PROC = Path("/proc/driver/nvidia/gpus")

_KFD = Path("/dev/kfd")  # AMD's driver


@dataclass(frozen=True)
class Gpu:
    """A GPU that a program of this process would see.

    name       -- for a person: NVIDIA H200
    visible_as -- what names it in the CUDA_VISIBLE_DEVICES of a program that is to see it
    """

    name: str
    visible_as: str


def visible_gpus() -> list[Gpu]:
    """Find the GPUs that a program of this process would see, in its order.

    Those of AMD are found by torch, where it is installed, which calls them cuda too.
    """
    there = _installed()
    if not there and _KFD.exists() and has_torch():
        import torch

        count = torch.cuda.device_count()
        return [Gpu(torch.cuda.get_device_name(n), str(n)) for n in range(count)]
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is None:
        return [Gpu(one.name, one.number) for one in there]
    found: list[Gpu] = []
    for wanted in map(str.strip, told.split(",")):
        one = next((one for one in there if one.goes_by(wanted)), None)
        if one is None:
            break  # CUDA takes those before the first that it doesn't know
        found.append(Gpu(one.name, wanted))
    return found if len(set(found)) == len(found) else []  # as it takes a repetition


def resolve(name: str, gpus: int) -> str:
    """Find the device that `auto`, `cpu`, `cuda` or `cuda:N` names, of a machine with `gpus` GPUs.

    Returns `cpu` or `cuda:N`. Raises UsageError if there is none.
    """
    if name == "auto":
        return "cuda:0" if gpus else "cpu"
    if name == "cpu":
        return name
    told = re.fullmatch(r"cuda(?::(\d+))?", name)
    if told is None:
        raise UsageError(f"--device {name!r}: use auto, cpu, cuda or cuda:N")
    number = int(told[1] or 0)
    if number >= gpus:
        raise UsageError(f"--device {name}: this machine has {gpus} GPUs")
    return f"cuda:{number}"


def following(device: str, count: int, gpus: int) -> list[str]:
    """The devices that compute a trial together: a GPU and the next ones, or the CPU so many
    times. Raises UsageError if there are not as many."""
    if count < 1:
        raise UsageError(f"--devices-per-trial {count}: must be at least 1")
    if device == "cpu":
        return [device] * count
    first = int(device.removeprefix("cuda:"))
    if first + count > gpus:
        raise UsageError(
            f"--devices-per-trial {count}: from cuda:{first} on, this machine has "
            f"{gpus - first} of its {gpus} GPUs"
        )
    return [f"cuda:{number}" for number in range(first, first + count)]


def local_devices(name: str, workers: int | None, per_trial: int, gpus: int) -> list[str]:
    """One device name per local worker: every GPU in turn, or the CPU once per core. Where
    several devices compute a trial, the name of a worker's first."""
    device = resolve(name, gpus)
    following(device, per_trial, gpus)
    found = [device]
    if name == "auto" and gpus:
        found = [f"cuda:{i}" for i in range(0, gpus - per_trial + 1, per_trial)]
    if workers is None:
        workers = max(cores() // per_trial, 1) if device == "cpu" else len(found)
    if workers < 1:
        raise UsageError(f"--workers {workers}: must be at least 1")
    return [found[index % len(found)] for index in range(workers)]


def refuse_missing(name: str, workers: int | None = None, per_trial: int = 1) -> None:
    """Raise UsageError for devices that torch can't see either, before it is imported."""
    gpus = len(visible_gpus()) if name != "cpu" else 0
    if gpus or has_no_gpu(name):
        local_devices(name, workers, per_trial, gpus)


def refuse_more_processes(count: int) -> None:
    """Raise UsageError where so many devices, each a process on the CPU, would wait for each
    other's core: what is timed of them says nothing of as many devices."""
    if count > cores():
        raise UsageError(
            f"--devices-per-trial {count}: this machine has {several(cores(), 'core')}, and each "
            "device that is a CPU process takes one"
        )


def has_no_gpu(name: str) -> bool:
    """Whether a device's name can mean no GPU here, as far as is known without torch, which alone
    knows where there is a driver whose tools list none."""
    return name == "cpu" or not (visible_gpus() or _has_driver())


def _has_driver() -> bool:
    """Whether CUDA's driver, or AMD's, is installed."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return _KFD.exists()
    return True


def describe_all(devices: Sequence[str], gpus: Sequence[Gpu]) -> str:
    """The devices of one trial for a person: `2 × NVIDIA H100`, or one: `cpu`."""
    first = devices[0]
    one = "cpu" if first == "cpu" else gpus[int(first.removeprefix("cuda:"))].name
    return one if len(devices) == 1 else f"{len(devices)} × {one}"


@dataclass(frozen=True)
class _Installed:
    """A GPU of this machine, with its UUID and those of the parts that it may be divided into."""

    number: str
    name: str
    uuids: Sequence[str]

    def goes_by(self, wanted: str) -> bool:
        """Whether CUDA would take it, or a part of it, for what is wanted: by its number, or by
        how a UUID begins."""
        begins = re.match("(GPU|MIG)-.", wanted) is not None
        return wanted == self.number or (begins and any(u.startswith(wanted) for u in self.uuids))


@cache
def _installed() -> list[_Installed]:
    """This machine's GPUs, as the driver's own tool lists them."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, errors="replace", timeout=_SECONDS
        ).stdout
    except FileNotFoundError:  # as in a container that is given the driver, and not its tools
        return _in_proc()
    except (OSError, subprocess.TimeoutExpired):
        return []
    # GPU 0: NVIDIA H100 (UUID: GPU-1d…), and below it a line for each part.
    return [
        _Installed(found[1], found[2], re.findall(r"\(UUID: (\S+)\)", found[0]))
        for found in re.finditer(r"(?m)^GPU (\d+): (.*?)(?: \(UUID.*)?$(?:\n\s.*)*", listed)
    ]


def _in_proc() -> list[_Installed]:
    """The same, as the kernel's module lists them: without parts."""
    found = []
    for number, path in enumerate(sorted(_PROC.glob("*/information"))):
        about = dict(re.findall(r"(?m)^(Model|GPU UUID):\s*(.*\S)", path.read_text()))
        uuids = [about["GPU UUID"]] if "GPU UUID" in about else []
        found.append(_Installed(str(number), about.get("Model", "NVIDIA GPU"), uuids))
    return found


def cores() -> int:
    """The cores that this process may run on; on macOS, that there are."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
