"""Which devices torch computes on, and how many trials fit on one."""

from collections.abc import Sequence

import psutil
import torch

from batchfront.training import device_names
from batchfront.workload.decoding import memory_here


def resolve(name: str) -> torch.device:
    """Find the device that `auto`, `cpu`, `cuda` or `cuda:N` names.

    Raises UsageError if there is none.
    """
    return torch.device(device_names.resolve(name, _gpus()))


def following(device: torch.device, count: int) -> list[torch.device]:
    """The devices that compute a trial together: a GPU and the next ones, or the CPU so many
    times. Raises UsageError if there are not as many."""
    first = "cpu" if device.type == "cpu" else f"cuda:{device.index or 0}"
    return [*map(torch.device, device_names.following(first, count, _gpus()))]


def use_one_thread() -> None:
    """Compute with one thread on the CPU: two such processes beat one with two threads many times
    over, as the models are small and the threads would wait for each other."""
    torch.set_num_threads(1)


def local_devices(name: str, workers: int | None, per_trial: int = 1) -> list[str]:
    """One device name per local worker: every GPU in turn, or the CPU once per core. Where
    several devices compute a trial, the name of a worker's first: see `use_one_thread`.
    """
    return device_names.local_devices(name, workers, per_trial, _gpus())


def room_for(bytes_per_trial: int, device: torch.device, sharing: int) -> int:
    """How many trials of that size one of `sharing` workers may hold at once: at least one."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
    else:
        free = psutil.virtual_memory().available  # type: ignore[no-untyped-call]
    # Half of what is free: activations, and whatever else runs here, need room too.
    return max(1, int(free * 0.5 / max(sharing, 1) / max(bytes_per_trial, 1)))


def memory_of(device: torch.device) -> int:
    """Bytes of memory: of the GPU; or of this machine, or what this process's container may use."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return memory_here()


def room_for_pass(device: torch.device, sharing: int) -> int:
    """The bytes that what is saved for a backward pass may take, of one of `sharing` workers.

    Trials may hold a half (`room_for`), and a tenth is left free. It is a share of all memory, so
    that it is the same on every device of a kind, unless too little of that is free now.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
    else:
        free = psutil.virtual_memory().available  # type: ignore[no-untyped-call]
    return int(min(memory_of(device) * 0.4 / max(sharing, 1), free * 0.8))


def kind(device: torch.device, sharing: int) -> str:
    """The device, its memory and how many workers share it: "cpu, 24 GiB, shared by 2"."""
    shared = f", shared by {sharing}" if sharing > 1 else ""
    return f"{describe(device)[:80]}, {round(memory_of(device) / (1 << 30))} GiB{shared}"


def _gpus() -> int:
    """How many torch can compute on."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def describe_all(devices: Sequence[torch.device]) -> str:
    """The devices of one trial for a person: `2 × NVIDIA H100`, or one as `describe` has it."""
    one = describe(devices[0])
    return one if len(devices) == 1 else f"{len(devices)} × {one}"


def describe(device: torch.device) -> str:
    """The device for a person: the GPU's name, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
