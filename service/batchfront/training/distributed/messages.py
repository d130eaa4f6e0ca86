"""What the leader tells the followers of a trial, and what they answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import torch

from batchfront.training.memory import MicroBatchSizes


@dataclass(frozen=True)
class Task:
    """What a follower is made ready for: the trials of a workload.

    goal      -- another value to pass than the workload's, or None
    precision -- another precision than the workload's, or None
    micro_batches -- the sizes that are known to fit
    source    -- the digest of the code that the leader computes its part with; None: any
    files     -- that of its files, which is compared before anything of them runs; None: any
    """

    spec: str
    goal: float | None
    precision: str | None
    device: str
    rank: int
    world: int
    micro_batches: MicroBatchSizes
    source: str | None = None
    files: str | None = None


@dataclass(frozen=True)
class Meet:
    """Join the process group at the store that listens here."""

    port: int


@dataclass(frozen=True)
class Make:
    """Make a trial, and with a `state` (of `packed`) restore it."""

    key: int
    batch_size: int
    values: Mapping[str, Any]
    seed: int
    state: bytes | None


@dataclass(frozen=True)
class Advance:
    """Train a trial until it has had so many updates.

    last -- up to where it will be told to, as far as known: what is loaded ahead
    """

    key: int
    to_step: int
    last: int


@dataclass(frozen=True)
class Settle:
    """Bring a trial's running means together."""

    key: int


@dataclass(frozen=True)
class AddUp:
    """Add up a trial's gradients over all ranks, once and then so many times, for who times it."""

    key: int
    times: int


@dataclass(frozen=True)
class Drop:
    """Forget a trial."""

    key: int


Command = Meet | Make | Advance | Settle | AddUp | Drop


@dataclass(frozen=True)
class Ready:
    """A follower has its code and data."""


@dataclass(frozen=True)
class Failed:
    """A follower has met an error, and ends.

    reason -- the error in one line
    micro_batches -- what it has learnt of sizes that fit
    """

    reason: str
    micro_batches: MicroBatchSizes


Report = Ready | Failed


def packed(state: dict[str, Any]) -> bytes:
    """A trial's state, for another process."""
    file = BytesIO()
    torch.save(state, file)
    return file.getvalue()


def unpacked(state: bytes) -> dict[str, Any]:
    """The same, there."""
    found: dict[str, Any] = torch.load(BytesIO(state), map_location="cpu", weights_only=True)
    return found
