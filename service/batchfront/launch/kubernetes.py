"""Workers as a Kubernetes Job, as a manifest that the user hands to the cluster."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import yaml

from batchfront.launch.launcher import Launched, place_problems, refuse
from batchfront.launch.worker_options import Order

_GRACE_SECONDS = 30  # a worker releases its trials within ten; the rest is reserve

_USER = 1000  # any that isn't root

_RESTARTS = 6  # for each worker; those of nodes that went away don't count

_WRONG_USAGE = 2  # the exit code with which a worker would end however often it is started

# A worker that is told to stop ends with 0, which a Job takes for the work being done and starts
# no other in its place; so 143 is what a pod ends with that was told to.
_COMMAND = 'trap \'kill -TERM "$!"; wait "$!"; exit 143\' TERM; batchfront work "$@" & wait "$!"'

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

_QUANTITY = re.compile(r"\d+(\.\d+)?([EPTGMk]i?|m)?")


@dataclass(frozen=True)
class Volume:
    """A PersistentVolumeClaim, and where the workers find it."""

    claim: str
    path: str


@dataclass(frozen=True)
class Kubernetes:
    """Prints a Job of parallel workers, and starts nothing.

    image   -- holds batchfront and the workload's code
    secret  -- the name of a Secret whose key `url` is the storage's URL
    volumes -- for checkpoints, data, or the workload's code
    """

    out: TextIO
    image: str
    name: str = "batchfront"
    secret: str = "batchfront-storage"
    gpus_per_worker: int = 0
    cpus_per_worker: int = 1
    memory_per_worker: str = "4Gi"
    volumes: Sequence[Volume] = ()

    def launch(self, order: Order, workers: int) -> Launched:
        """Print the manifest. Raises UsageError with all that is wrong."""
        refuse(self._problems(order, workers))
        yaml.safe_dump(self._job(order, workers), self.out, sort_keys=False)
        watch = f"kubectl get pods --selector job-name={self.name}"
        return Launched((), watch, f"kubectl delete job {self.name}")

    def _job(self, order: Order, workers: int) -> dict[str, Any]:
        labels = {"app.kubernetes.io/name": "batchfront", "app.kubernetes.io/component": "worker"}
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": self.name, "labels": labels},
            "spec": {
                # Without `completions`: the first worker that finds all done ends the Job, once
                # the others have ended too.
                "parallelism": workers,
                "backoffLimit": _RESTARTS * workers,
                "podFailurePolicy": {
                    "rules": [
                        {
                            "action": "Ignore",
                            "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                        },
                        {
                            "action": "FailJob",
                            "onExitCodes": {"operator": "In", "values": [_WRONG_USAGE]},
                        },
                    ]
                },
                "template": {"metadata": {"labels": dict(labels)}, "spec": self._pod(order)},
            },
        }

    def _pod(self, order: Order) -> dict[str, Any]:
        claims = [
            {"name": f"volume-{n}", "persistentVolumeClaim": {"claimName": volume.claim}}
            for n, volume in enumerate(self.volumes)
        ]
        return {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": _GRACE_SECONDS,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "fsGroup": _USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [self._container(order)],
            "volumes": [{"name": "scratch", "emptyDir": {}}, *_shared_memory(order), *claims],
        }

    def _container(self, order: Order) -> dict[str, Any]:
        resources = {"cpu": str(self.cpus_per_worker), "memory": self.memory_per_worker}
        if self.gpus_per_worker:
            resources["nvidia.com/gpu"] = str(self.gpus_per_worker)
        url = {"secretKeyRef": {"name": self.secret, "key": "url"}}
        mounts = [
            {"name": f"volume-{n}", "mountPath": volume.path}
            for n, volume in enumerate(self.volumes)
        ]
        return {
            "name": "worker",
            "image": self.image,
            "command": ["/bin/sh", "-c", _COMMAND, "batchfront"],
            "args": order.arguments(),
            "env": [
                {"name": "BATCHFRONT_STORAGE", "valueFrom": url},
                {"name": "HOME", "value": "/tmp"},
                *({"name": n, "value": value} for n, value in order.environment().items()),
            ],
            "resources": {"requests": resources, "limits": dict(resources)},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                {"name": "scratch", "mountPath": "/tmp"},
                *({"name": v["name"], "mountPath": "/dev/shm"} for v in _shared_memory(order)),
                *mounts,
            ],
        }

    def _problems(self, order: Order, workers: int) -> list[str]:
        each = (self.gpus_per_worker, self.cpus_per_worker)
        problems = place_problems(workers, *each, devices=order.worker.devices_per_trial)
        if order.storage is not None:
            problems.append("--storage: a manifest holds no URL; it comes from the Secret")
        names = {"--name": self.name, "--secret": self.secret}
        for option, name in (*names.items(), *(("--volume", v.claim) for v in self.volumes)):
            if not _NAME.fullmatch(name):
                problems.append(
                    f"{option} {name!r}: a Kubernetes name is of a-z, 0-9 and -, at most 63"
                )
        if not _QUANTITY.fullmatch(self.memory_per_worker):
            problems.append(f"--memory-per-worker {self.memory_per_worker!r}: write 4Gi or 500Mi")
        problems += [
            f"--code {place}: write the path that it has in the image or a volume, from /"
            for place in order.worker.code
            if not place.startswith("/")
        ]
        for volume in self.volumes:
            if not volume.path.startswith("/"):
                problems.append(f"--volume {volume.claim}:{volume.path}: write CLAIM:/PATH")
        return problems


def _shared_memory(order: Order) -> list[dict[str, Any]]:
    """A volume for what the processes of a group tell each other: a container's own 64 MiB are too
    few for NCCL."""
    several = order.worker.devices_per_trial > 1
    return [{"name": "shared-memory", "emptyDir": {"medium": "Memory"}}] if several else []
