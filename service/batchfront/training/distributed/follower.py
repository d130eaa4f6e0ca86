"""A process that computes its share of the leader's trials, started as a `FollowerProcess`.

It does as it is told over a socket, given as a file descriptor, and ends when that closes: so none
outlives its worker, however that ended.
"""

import os
import sys
from contextlib import ExitStack
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread

import torch

from batchfront.errors import IdentityError
from batchfront.training.distributed.gradient import SharedGradient
from batchfront.training.distributed.messages import (
    AddUp,
    Advance,
    Command,
    Drop,
    Failed,
    Make,
    Meet,
    Ready,
    Settle,
    Task,
    unpacked,
)
from batchfront.training.distributed.process_group import ProcessGroup, rendezvous
from batchfront.training.memory import MicroBatchSizes
from batchfront.training.model_run import ModelRun
from batchfront.workload import catalog
from batchfront.workload.code.fingerprint import Fingerprint
from batchfront.workload.code.versions import digest
from batchfront.workload.source import files_digest

_CHANGED = "{}: its code has changed since this worker loaded it; start the worker anew"


class Follower:
    """A follower's trials, by the keys that the leader gave them."""

    def __init__(self, task: Task) -> None:
        if task.files not in (None, files_digest(task.spec)):
            raise IdentityError(_CHANGED.format(task.spec))
        loaded = catalog.load_trained(task.spec)
        fingerprint = Fingerprint.of(loaded)
        self.workload = workload = loaded.as_asked(task.goal, task.precision)
        device = torch.device(task.device)
        splits = workload.load_data()
        if task.source not in (None, digest(fingerprint.code(splits))):
            raise IdentityError(_CHANGED.format(workload.name))
        self.splits = splits.to(device)
        self.micro_batches = task.micro_batches
        self.group = ProcessGroup(task.rank, task.world, device)
        self.runs: dict[int, tuple[ModelRun, SharedGradient]] = {}
        self.loading = ExitStack()

    def obey(self, command: Command) -> None:
        """Do as the leader says. What all ranks do together, it does at the same time."""
        match command:
            case Meet(port):
                self.group.join(rendezvous(self.group.world, port))
            case Make():
                self._make(command)
            case Advance(key, to_step, last):
                run = self.runs[key][0]
                # It goes on over the pauses between what is told, until the trial is settled.
                self.loading.enter_context(run.gradient.prefetch(run.order, run.step, last))
                run.advance(to_step)
            case Settle(key):
                self.loading.close()
                self.runs[key][1].settle()
            case AddUp(key, times):
                for _ in range(1 + times):
                    self.runs[key][1].add_up_alone()
            case Drop(key):
                self.runs.pop(key, None)

    def _make(self, told: Make) -> None:
        run = ModelRun(
            self.workload,
            self.splits,
            told.batch_size,
            told.values,
            told.seed,
            self.group.device,
            self.micro_batches,
        )
        if told.state is not None:
            run.restore(unpacked(told.state))
        run.gradient = shared = SharedGradient(run.alone, self.group)
        self.runs[told.key] = (run, shared)


def _listen(connection: Connection, told: "SimpleQueue[Command]") -> None:
    """The leader's words in order; without it there is nothing more to do, or to wait for."""
    try:
        while True:
            told.put(connection.recv())
    except (EOFError, OSError):
        os._exit(0)


def main(descriptor: int) -> None:
    """Follow the leader, at the other end of the socket, until it hangs up."""
    torch.set_num_threads(1)
    connection = Connection(descriptor)
    micro_batches = MicroBatchSizes()
    try:
        task: Task = connection.recv()
        micro_batches = task.micro_batches
        told: SimpleQueue[Command] = SimpleQueue()
        Thread(target=_listen, args=(connection, told), daemon=True).start()
        follower = Follower(task)
        connection.send(Ready())
        while True:
            follower.obey(told.get())
    except BaseException as error:
        lines = str(error).strip().splitlines() or ["no message"]
        try:
            connection.send(Failed(f"{type(error).__name__}: {lines[0]}", micro_batches))
        finally:
            os._exit(1)  # the others wait for this rank: its connections must close at once


if __name__ == "__main__":
    main(int(sys.argv[1]))
