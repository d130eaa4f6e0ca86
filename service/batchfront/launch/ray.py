"""Workers as tasks of an existing Ray cluster."""

import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

from batchfront.errors import BatchfrontError, UsageError, WorkersFailed
from batchfront.extras import installing
from batchfront.launch.launcher import Launched, Work, place_problems, refuse
from batchfront.launch.worker_options import Order, in_environment

_RESTARTS = (
    100  # of a task whose process or node died; pre-empted nodes are many, a crash loop ends
)

_KNOCK_SECONDS = 10.0  # for a cluster to answer at all

_POLL_SECONDS = 0.5  # after which tasks are asked again whether they have ended


@dataclass(frozen=True)
class Ray:
    """One task per worker, held by this process: when it ends, so do they.

    work            -- what each task runs, in its process; Ray finds it by its name
    address         -- of the cluster: auto, HOST:PORT, or ray://HOST:PORT
    gpus_per_worker -- 1, 0, or the part of a GPU that each has; or one for each of the devices
                       that compute a trial together
    """

    work: Work
    address: str = "auto"
    gpus_per_worker: float = 0
    cpus_per_worker: int = 1

    def launch(self, order: Order, workers: int) -> Launched:
        """Start the tasks. Raises UsageError without Ray, BatchfrontError without a cluster."""
        each = (self.gpus_per_worker, self.cpus_per_worker)
        devices = order.worker.devices_per_trial
        refuse(place_problems(workers, *each, devices=devices, shared=True))
        ray = _connected(self.address)
        task = ray.remote(
            num_cpus=self.cpus_per_worker,
            num_gpus=self.gpus_per_worker,
            max_retries=_RESTARTS,
        )(batchfront_worker)
        sharing = max(round(1 / self.gpus_per_worker), 1) if self.gpus_per_worker else 1
        # The environment is an argument: Ray shows the runtime_env of its tasks, and not these.
        told = (self.work, order.arguments("--sharing", str(sharing)), order.environment())
        tasks = [task.remote(*told) for _ in range(workers)]

        def hold(stop: Event) -> None:
            try:
                _hold(ray, tasks, stop)
            finally:
                ray.shutdown()

        ids = tuple(t.task_id().hex() for t in tasks)
        return Launched(ids, "ray list tasks --filter name=batchfront_worker", "Ctrl-C", hold)


def batchfront_worker(work: Work, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """What each task runs: one worker, in the task's process."""
    with in_environment(dict(environment)):
        work(arguments)


def _hold(ray: Any, tasks: list[Any], stop: Event) -> None:
    running = tasks
    try:
        while running and not stop.is_set():
            ended, running = ray.wait(running, num_returns=len(running), timeout=_POLL_SECONDS)
            for task in ended:
                _raise_failure(ray, task)
    finally:
        _stop(ray, running)


def _stop(ray: Any, running: list[Any]) -> None:
    """Send each task's process a Ctrl-C, which the worker knows how to take. A Ctrl-C here while
    they release their trials ends them at once."""
    for task in running:
        ray.cancel(task)
    try:
        if running:
            ray.wait(running, num_returns=len(running))
    except KeyboardInterrupt:
        for task in running:
            ray.cancel(task, force=True)


def _raise_failure(ray: Any, task: Any) -> None:
    try:
        ray.get(task)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise WorkersFailed(f"a worker ended: {type(cause).__name__}: {cause}") from error
    except ray.exceptions.RayError as error:
        raise WorkersFailed(f"a worker ended: {str(error).strip().splitlines()[0]}") from error


def _connected(address: str) -> Any:
    try:
        import ray
    except ImportError:
        raise UsageError(f"launch ray needs Ray: {installing('ray')}") from None
    try:
        _knock(address)
        ray.init(address, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError) as error:
        said = str(error).strip().splitlines()[0]
        raise BatchfrontError(f"--address {address}: {said}") from error
    return ray


def _knock(address: str) -> None:
    """Raise OSError if nobody listens at HOST:PORT: Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), _KNOCK_SECONDS).close()
