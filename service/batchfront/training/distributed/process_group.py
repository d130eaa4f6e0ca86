"""This process's place in torch's process group, in which devices compute a trial together."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from socket import create_server
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

LONGEST_SECONDS = 600.0
"""What ranks wait for each other at most: the first step may load, decode and compile."""

MEETING_SECONDS = 120.0
"""The same until they have met, which they do at once: gloo doesn't notice that one has died before
they are connected."""

_set_timeout = getattr(dist, "set_timeout", None) or dist.distributed_c10d._set_pg_timeout

_HOST = "127.0.0.1"  # all ranks are on this machine, and nobody else is to reach them

_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


def rendezvous(world: int, port: int = 0) -> Any:
    """torch's store, at which so many ranks meet: a new one, whose `port` the others are told, or
    the one that listens there."""
    listening = None if port else create_server((_HOST, 0))  # torch's own would on every network
    return dist.TCPStore(  # type: ignore[attr-defined]
        _HOST,
        port if listening is None else listening.getsockname()[1],
        world,
        is_master=listening is not None,
        wait_for_workers=False,
        master_listen_fd=None if listening is None else listening.detach(),
    )


@dataclass(frozen=True)
class ProcessGroup:
    """This process's place in torch's process group, of which a process has one at a time."""

    rank: int
    world: int
    device: torch.device

    def join(self, store: Any) -> None:
        """Meet the others, who all do this at the same time, at `store`."""
        for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(variable, _LOOPBACK)
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(self.device)
            # Or NCCL's own watchdog ends this process, and all trials with it, when a rank dies.
            os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0")
        # One that failed to meet has counted, and groups of other numbers would wait for ever.
        dist.distributed_c10d._world.group_count = 0
        dist.init_process_group(
            "nccl" if on_gpu else "gloo",
            store=store,
            rank=self.rank,
            world_size=self.world,
            timeout=timedelta(seconds=LONGEST_SECONDS if on_gpu else MEETING_SECONDS),
        )
        if not on_gpu:
            _set_timeout(timedelta(seconds=LONGEST_SECONDS))

    def leave(self) -> None:
        """Be alone again, whatever has become of the others."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def abort(self) -> None:
        """Release this process from waiting for others that won't come, from another thread.
        gloo needs no such thing: it notices a connection that closes."""
        if self.device.type == "cuda" and dist.is_initialized():
            dist.distributed_c10d._abort_process_group()

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace each by its sum over the ranks, in place."""
        for tensor in tensors:
            dist.all_reduce(tensor)
