"""Workers as a Slurm job array, submitted through submitit."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchfront.errors import BatchfrontError, UsageError
from batchfront.extras import installing
from batchfront.launch.launcher import Launched, Work, place_problems, refuse
from batchfront.launch.worker_options import Order, in_environment

_TIME_OUTS = 10_000  # how often a worker whose time is up is queued again: till its work is done

_WARNING_SECONDS = 60  # from Slurm's word that a worker's time is up until it is killed

_LEAST_SECONDS = 300.0  # so that most of it is work


@dataclass(frozen=True)
class Slurm:
    """Submits workers, one a task of the array, each of which Slurm may pre-empt and requeue.

    work    -- what each task runs, in its process, which it may end; submitit finds it by its name
    folder  -- for submitit's files and the workers' logs; every node must reach it
    seconds -- a worker's time limit; when it is up, the worker releases its trials, and is queued
               again
    extra   -- further options of sbatch, as submitit names them, such as account or qos
    """

    work: Work
    folder: Path
    seconds: float
    partition: str | None = None
    gpus_per_worker: int = 0
    cpus_per_worker: int = 1
    extra: Mapping[str, str | bool] = field(default_factory=dict)

    def launch(self, order: Order, workers: int) -> Launched:
        """Submit the array. Raises UsageError without submitit or Slurm, BatchfrontError when
        sbatch refuses."""
        submitit = _submitit()
        refuse(self._problems(submitit, order, workers))
        task = SlurmTask(self.work, tuple(order.arguments()))
        try:
            executor = submitit.SlurmExecutor(self.folder, max_num_timeout=_TIME_OUTS)
            ours = {k: v for k, v in self._parameters(workers).items() if v is not None}
            executor.update_parameters(**ours, **self.extra)
            # sbatch hands the environment on; nothing that submitit writes down holds it.
            with in_environment(order.environment()):
                jobs = executor.submit_array([task] * workers)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            raise BatchfrontError(f"launch slurm: {' '.join(str(error).split())}") from error
        array = jobs[0].job_id.partition("_")[0]
        ids = tuple(job.job_id for job in jobs)
        return Launched(ids, f"squeue --job {array}", f"scancel {array}")

    def _parameters(self, workers: int) -> dict[str, Any]:
        return {
            "job_name": "batchfront",
            "partition": self.partition,
            "time": math.ceil(self.seconds / 60),
            "nodes": 1,
            "ntasks_per_node": 1,
            "cpus_per_task": self.cpus_per_worker,
            "gpus_per_node": self.gpus_per_worker or None,
            "signal_delay_s": _WARNING_SECONDS,
            "array_parallelism": workers,
            "stderr_to_stdout": True,
            "additional_parameters": {"requeue": True},
            "srun_args": [f"--cpus-per-task={self.cpus_per_worker}"],  # srun forgets sbatch's
        }

    def _problems(self, submitit: Any, order: Order, workers: int) -> list[str]:
        each = (self.gpus_per_worker, self.cpus_per_worker)
        problems = place_problems(workers, *each, devices=order.worker.devices_per_trial)
        if self.seconds < _LEAST_SECONDS:
            problems.append(
                f"--time {self.seconds:g}s: must be at least 5m, "
                "as Slurm tells a worker up to two minutes before"
            )
        others = {"setup", "teardown", "use_srun", "num_gpus", "cpus_per_gpu", "gpus_per_task"}
        valid = submitit.SlurmExecutor._valid_parameters() - set(self._parameters(1)) - others
        unknown = sorted(set(self.extra) - valid)
        if unknown:
            problems.append(
                f"--sbatch {', '.join(unknown)}: unknown; there are {', '.join(sorted(valid))}"
            )
        return problems


@dataclass(frozen=True)
class SlurmTask:
    """What submitit pickles and each task of the array runs: one worker, in the task's process.

    submitit takes a SIGUSR2 (the time is up, or the job is pre-empted) as the cue to requeue the
    job, in the middle of whatever runs. Here the worker releases everything first.
    """

    work: Work
    arguments: tuple[str, ...]

    def __call__(self) -> None:
        if "BATCHFRONT_STORAGE" not in os.environ:
            print(
                "batchfront: BATCHFRONT_STORAGE did not reach this node; "
                "sbatch must hand the environment on (--export=ALL)",
                file=sys.stderr,
            )
            sys.exit(2)
        requeue = signal.getsignal(signal.SIGUSR2)
        asked = False

        def on_cue(*_: object) -> None:
            nonlocal asked
            asked = True
            signal.raise_signal(signal.SIGTERM)  # which the worker knows how to take

        signal.signal(signal.SIGUSR2, on_cue)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until there is a worker
        code = self._code()
        signal.signal(signal.SIGUSR2, requeue)
        if asked or _pre_empted():
            signal.raise_signal(signal.SIGUSR2)
        if code:
            sys.exit(code)

    def _code(self) -> int:
        """Run the worker; its exit code."""
        try:
            self.work(self.arguments)
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    def checkpoint(self) -> Any:
        """What a requeued task runs: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _pre_empted() -> bool:
    """Whether Slurm has told this job to make room but not requeued it yet, which it only does
    when the grace time is over and the job still runs. A job that is cancelled is not RUNNING."""
    job = _submitit().JobEnvironment().job_id
    command = ["scontrol", "--oneliner", "show", "job", job]
    try:
        shown = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        ).stdout
    except FileNotFoundError:  # a node without Slurm's commands: its jobs can't ask
        return False
    fields = dict(word.split("=", 1) for word in shown.split() if "=" in word)
    running = fields.get("JobState") == "RUNNING"
    return running and fields.get("PreemptTime", "None") not in ("None", "N/A", "Unknown")


def _submitit() -> Any:
    try:
        import submitit
    except ImportError:
        raise UsageError(f"launch slurm needs submitit: {installing('slurm')}") from None
    return submitit
