"""`batchfront launch`"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from batchfront.cli import options, orders
from batchfront.cli.help import Group
from batchfront.cli.main import work_as_command, work_here
from batchfront.cli.output.lines import pass_on
from batchfront.errors import UsageError
from batchfront.options import DURATION
from batchfront.worker.options import WorkerOptions


@click.group(
    cls=Group,
    epilog="""\b
Examples:
  batchfront launch local
  batchfront launch slurm --workers 8 --partition gpu --gpus-per-worker 1 --time 4h
  batchfront launch ray --workers 8 --gpus-per-worker 0.5
  batchfront launch kubernetes --workers 8 --image IMAGE --print | kubectl apply -f -
""",
)
def command() -> None:
    """Start workers on planned studies: on this machine, Slurm, Ray or Kubernetes.

    Each runs `batchfront work`. WORKLOAD restricts them to some of the planned workloads.
    """


_workers = options.option("--workers", type=int, default=1, show_default=True, help="How many.")

_cpus = options.option(
    "--cpus-per-worker", type=int, default=1, show_default=True, help="CPU cores of each."
)

_gpus = options.option(
    "--gpus-per-worker",
    type=int,
    default=0,
    show_default=True,
    help="0, or --devices-per-trial.",
)


def _open_and_order(storage: str, **told: Any) -> tuple[Any, Any]:
    """The database and what workers here are told; code that isn't there is refused at once, not by
    each of them."""
    from batchfront.workload.trust import Trust

    opened, order = orders.open_and_order(storage, **told)
    Trust.of(order.worker.code)
    return opened, order


@command.command()
@orders.told()
@options.storage
@options.option(
    "--workers", type=int, help="How many.  [default: one per GPU, or else one per CPU core]"
)
def local(workers: int | None, storage: str, **told: Any) -> int:
    """Run workers on this machine, replacing those that die."""
    from batchfront.launch.local import Local

    opened, order = _open_and_order(storage, **told)
    return orders.run(Local(opened, pass_on), order, workers, watching=opened)


@command.command()
@orders.told()
@options.storage
def debug(storage: str, **told: Any) -> int:
    """Run one worker in this very process: breakpoints hold, errors keep their traceback."""
    from batchfront.launch.debug import Debug

    _, order = _open_and_order(storage, **told)
    return orders.run(Debug(work_here), order, 1)


@command.command()
@orders.told("device")
@options.storage
@_workers
@_gpus
@_cpus
@options.option("--partition", help="Of the cluster.  [default: the cluster's]")
@options.option(
    "--time",
    "seconds",
    type=options.Written(DURATION),
    default="4h",
    show_default=True,
    help="After this long a worker hands back and is queued again.",
)
@options.option(
    "--sbatch",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Another option of sbatch, such as account=ours or mem=8GB; can be repeated.",
)
@options.option(
    "--log-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("batchfront-slurm"),
    show_default=True,
    help="For the workers' logs and submitit's files; every node must reach it.",
)
def slurm(
    workers: int,
    gpus_per_worker: int,
    cpus_per_worker: int,
    partition: str | None,
    seconds: float,
    sbatch: tuple[str, ...],
    log_dir: Path,
    storage: str,
    worker: WorkerOptions,
    **told: Any,
) -> int:
    """Submit workers as a Slurm job array, to be run on a login node.

    A worker that is pre-empted, or whose time is up, hands its trials back and is queued again,
    until all is done. All nodes must reach this Python environment, the workload's code, and the
    checkpoints.
    """
    from batchfront.launch.slurm import Slurm

    opened, order = orders.open_and_order(storage, _placed(worker, gpus_per_worker), **told)
    orders.warn_of_one_machine(opened)
    extra = {name.replace("-", "_"): value for name, value in map(_split, sbatch)}
    each = (gpus_per_worker, cpus_per_worker)
    launcher = Slurm(work_as_command, log_dir, seconds, partition, *each, extra)
    return orders.run(launcher, order, workers)


@command.command()
@orders.told("device")
@options.storage
@_workers
@options.option(
    "--gpus-per-worker",
    type=float,
    default=0.0,
    show_default=True,
    help="0, or --devices-per-trial; or the part of a GPU that each has, such as 0.5.",
)
@_cpus
@options.option(
    "--address", default="auto", show_default=True, help="Of the cluster: auto or HOST:PORT."
)
def ray(
    workers: int,
    gpus_per_worker: float,
    cpus_per_worker: int,
    address: str,
    storage: str,
    worker: WorkerOptions,
    **told: Any,
) -> int:
    """Run workers as tasks of an existing Ray cluster.

    Ray restarts a task whose node died. Ctrl-C makes all of them hand back and end.
    """
    from batchfront.launch.ray import Ray

    placed = _placed(worker, gpus_per_worker)
    opened, order = orders.open_and_order(storage, placed, environment_goes_along=False, **told)
    orders.warn_of_one_machine(opened)
    launcher = Ray(work_here, address, gpus_per_worker, cpus_per_worker)
    return orders.run(launcher, order, workers, watching=opened)


@command.command()
@orders.told("device")
@_workers
@_gpus
@_cpus
@options.option(
    "--memory-per-worker", default="4Gi", show_default=True, help="As Kubernetes writes it."
)
@options.option("--image", required=True, help="Holds batchfront and the workload's code.")
@options.option("--name", default="batchfront", show_default=True, help="Of the Job.")
@options.option(
    "--secret",
    default="batchfront-storage",
    show_default=True,
    help="The name of a Secret whose key `url` is the storage's URL.",
)
@options.option(
    "--volume",
    "volumes",
    multiple=True,
    metavar="CLAIM:/PATH",
    help="A PersistentVolumeClaim for checkpoints, data or code, and where; can be repeated.",
)
@click.option("--print", "print_", is_flag=True, help="Print the Job's manifest.")
def kubernetes(
    workers: int,
    image: str,
    volumes: tuple[str, ...],
    print_: bool,
    gpus_per_worker: int,
    worker: WorkerOptions,
    **asked: Any,
) -> int:
    """Print the manifest of a Job that runs workers, for kubectl apply."""
    from batchfront.launch.kubernetes import Kubernetes, Volume

    if not print_:
        raise UsageError(
            "launch kubernetes starts nothing itself; --print, and pipe it to kubectl apply -f -"
        )
    ours = ("name", "secret", "cpus_per_worker", "memory_per_worker")
    launcher = Kubernetes(
        sys.stdout,
        image,
        gpus_per_worker=gpus_per_worker,
        volumes=[Volume(*text.partition(":")[::2]) for text in volumes],
        **{key: asked.pop(key) for key in ours},
    )
    order = orders.order(None, _placed(worker, gpus_per_worker), **asked)
    return orders.run(launcher, order, workers)


def _placed(worker: WorkerOptions, gpus: float) -> WorkerOptions:
    """A worker without a GPU of its own must not take another's."""
    return replace(worker, device="cuda" if gpus else "cpu")


def _split(text: str) -> tuple[str, str | bool]:
    name, given, value = text.partition("=")
    return name, value if given else True
