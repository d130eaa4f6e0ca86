"""The Job's manifest: one that Kubernetes takes, with no password in it, and whose command does
what a Job needs to hear."""

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from sqlalchemy import make_url

from batchfront.errors import UsageError
from batchfront.launch.kubernetes import Kubernetes, Volume
from batchfront.launch.worker_options import Order
from batchfront.store.database import Storage
from batchfront.study.study import Filter
from batchfront.worker.options import WorkerOptions
from tests.batchfront.launch.ended import every_slot_ended_once
from tests.batchfront.launch.test_local import pids, planned, states
from tests.searches import CODE
from tests.waiting import LONG, eventually

WORKER = WorkerOptions("cuda", checkpoint_dir="s3://bucket/kept")
ORDER = Order(None, Filter(("a/b/c",), (2, 4)), WORKER, data_dir="/data")


def printed(order: Order = ORDER, workers: int = 3, **settings: Any) -> Any:
    out = io.StringIO()
    launched = Kubernetes(out, "registry.example/batchfront:1", **settings).launch(order, workers)
    assert launched.hold is None
    return yaml.safe_load(out.getvalue())


FULL = {
    "name": "sweep-1",
    "secret": "studies",
    "gpus_per_worker": 1,
    "cpus_per_worker": 2,
    "memory_per_worker": "8Gi",
    "volumes": (Volume("kept", "/kept"), Volume("data", "/data")),
}


@pytest.mark.parametrize("version", ["1.31.0", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("settings", [{}, FULL], ids=["plain", "full"])
def test_the_manifest_is_one_that_kubernetes_takes(version: str, settings: Any) -> None:
    kubernetes_validate.validate(printed(**settings), version, strict=True)


def test_several_gpus_for_a_trial_share_memory_of_their_own() -> None:
    together = replace(WORKER, devices_per_trial=2)
    job = printed(replace(ORDER, worker=together), gpus_per_worker=2)
    kubernetes_validate.validate(job, "1.31.0", strict=True)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert {"name": "shared-memory", "emptyDir": {"medium": "Memory"}} in pod["volumes"]
    assert {"name": "shared-memory", "mountPath": "/dev/shm"} in container["volumeMounts"]
    assert "--devices-per-trial" in container["args"]


def test_the_validation_would_find_a_wrong_field() -> None:
    job = printed()
    job["spec"]["template"]["spec"]["terminationGracePeriod"] = 30
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)


def test_what_was_asked_for_is_in_it() -> None:
    job = printed(**FULL)
    pod = job["spec"]["template"]["spec"]
    (worker,) = pod["containers"]
    assert (job["metadata"]["name"], job["spec"]["parallelism"]) == ("sweep-1", 3)
    assert worker["args"] == ORDER.arguments()
    assert worker["resources"]["limits"] == {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "1"}
    assert worker["env"][-1] == {"name": "BATCHFRONT_DATA_DIR", "value": "/data"}
    mounted = {mount["name"]: mount["mountPath"] for mount in worker["volumeMounts"]}
    claims = {
        mounted[volume["name"]]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims == {"/kept": "kept", "/data": "data"}
    assert "nvidia.com/gpu" not in str(printed())


def test_the_storage_is_a_secret_and_the_pod_has_no_rights() -> None:
    order = Order(make_url("postgresql://me:open-sesame@db/x"), Filter())
    with pytest.raises(UsageError, match="Secret"):
        printed(order)
    pod = printed(**FULL)["spec"]["template"]["spec"]
    (worker,) = pod["containers"]
    assert worker["env"][0] == {
        "name": "BATCHFRONT_STORAGE",
        "valueFrom": {"secretKeyRef": {"name": "studies", "key": "url"}},
    }
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert worker["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(UsageError) as refused:
        printed(
            workers=0,
            gpus_per_worker=3,
            name="My Job",
            memory_per_worker="much",
            volumes=(Volume("kept", ""),),
        )
    said = str(refused.value)
    for problem in (
        "--workers 0",
        "--gpus-per-worker 3",
        "--name 'My Job'",
        "--memory-per-worker 'much'",
        "--volume kept:: write CLAIM:/PATH",
    ):
        assert problem in said


class Container:
    """The manifest's container, as a process of this machine."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        worker = WorkerOptions("cpu", checkpoint_dir=str(folder / "kept"), code=CODE)
        order = Order(None, planned(storage).filter, worker)
        (container,) = printed(order)["spec"]["template"]["spec"]["containers"]
        self.command = [*container["command"], *container["args"]]
        program = folder / "bin" / "batchfront"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m batchfront.cli.main "$@"\n')
        program.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "BATCHFRONT_STORAGE": str(storage.url),
        }

    def start(self, **environment: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self.command, env={**self.environment, **environment})


@pytest.mark.slow
def test_a_pod_that_is_told_to_go_releases_its_trials_and_does_not_pass_for_done(
    storage: Storage, tmp_path: Path
) -> None:
    container = Container(storage, tmp_path)
    pod = container.start(TOY_PAUSE="0.05")
    eventually(lambda: pids(storage, "busy"))
    pod.terminate()
    assert pod.wait(LONG) == 143
    assert states(storage) == {"free"}
    assert container.start().wait() == 0
    every_slot_ended_once(storage, 6)


@pytest.mark.slow
def test_a_pod_whose_code_is_another_ends_with_what_fails_the_job(
    storage: Storage, tmp_path: Path
) -> None:
    rules = printed()["spec"]["podFailurePolicy"]["rules"]
    ends = [rule["onExitCodes"]["values"] for rule in rules if rule["action"] == "FailJob"]
    assert ends == [[Container(storage, tmp_path).start(TOY_WIDTH="13").wait()]]
