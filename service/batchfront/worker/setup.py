"""A workload made ready on a device: its code found, its data loaded, its identity confirmed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from batchfront import __version__
from batchfront.phase_timer import timed_as
from batchfront.study.identity import identity_parts, refuse_difference, study_identity
from batchfront.study.study import Study
from batchfront.study.variants import as_variant
from batchfront.training.devices import describe_all
from batchfront.training.distributed.follower_processes import FollowerPool
from batchfront.training.distributed.leader import LeaderRun
from batchfront.training.memory import Passes
from batchfront.training.preflight.checks import check
from batchfront.training.trial import TrialRun
from batchfront.workload import catalog
from batchfront.workload.code.fingerprint import Fingerprint
from batchfront.workload.code.versions import digest
from batchfront.workload.data import Splits
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.workload import Workload


@dataclass
class Bench:
    """What a worker needs to train any study of one workload.

    confirmed -- studies, by id, to the identity that this code is known to give them: the id of
                 one that was deleted may come back with another
    resumes   -- whether a checkpoint holds all of a trial's state
    """

    spec: str
    workload: Workload
    splits: Splits
    device: torch.device
    versions: dict[str, str]
    identity_parts: dict[str, Any]
    confirmed: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    passes: Passes = field(default_factory=Passes)
    room: int | None = None  # trials at once, where memory has been found to hold no more
    resumes: bool = True
    followers: FollowerPool | None = None  # where a trial is computed by several devices

    def run(self, batch_size: int, values: Metaparameters, seed: int) -> TrialRun:
        """A fresh trial."""
        parts = (self.workload, self.splits, batch_size, values, seed, self.device, self.passes)
        return TrialRun(*parts) if self.followers is None else LeaderRun(self.followers, *parts)

    def close(self) -> None:
        """End the processes of other devices, if there are any."""
        if self.followers is not None:
            self.followers.close()

    def serves(self, study: Study) -> bool:
        """Whether a study's trials can be run here."""
        goal = study.identity["goal"]["value"]
        precision = study.identity.get("precision", "float32")
        return (
            self.spec == study.spec
            and self.workload.name == study.workload
            and self.workload.goal.value == goal
            and self.workload.execution.precision == precision
        )


def set_up(
    study: Study,
    devices: torch.device | Sequence[torch.device],
    current: Bench | None,
    recall: Callable[[Workload], Passes] = lambda _: Passes(),
) -> Bench:
    """The bench for a study: the current one if its workload is the same.

    devices -- those that compute each trial together; the first is this process's
    recall  -- the pass sizes that a workload is known to need

    Raises IdentityError if the code found here gives the study another identity.
    """
    if current is None or not current.serves(study):
        if current is not None:
            current.close()
        together = [devices] if isinstance(devices, torch.device) else devices
        current = _bench(study, together, recall)
    if current.confirmed.get(study.id) != study.identity:
        parts, search = current.identity_parts, study.identity["search"]
        identity = study_identity(current.workload, study.batch_size, parts, search)
        refuse_difference(study, replace(study, identity=identity))
        current.confirmed[study.id] = study.identity
    return current


def _bench(
    study: Study, devices: Sequence[torch.device], recall: Callable[[Workload], Passes]
) -> Bench:
    loaded = as_variant(catalog.load(study.spec), study.variant)
    fingerprint = Fingerprint.of(loaded)  # before it has run, and changed what it may hold
    workload = loaded.as_asked(study.goal_value, study.precision)
    tries = study.identity.get("preflight")
    checked = check(workload, [study.batch_size], planned=True, tries=tries)
    checked.refuse_devices(len(devices))
    code = fingerprint.code(checked.splits)
    versions = {
        "batchfront": __version__,
        "torch": torch.__version__,
        "device": describe_all(devices),
        "source": digest(code),
    }
    with timed_as("data"):
        splits = checked.splits.to(devices[0])
    parts = identity_parts(checked.identity_parts, [code], study.variant)
    passes = recall(workload)
    passes.whole = checked.whole
    resumes = checked.lost is None
    bench = Bench(
        study.spec, workload, splits, devices[0], versions, parts, passes=passes, resumes=resumes
    )
    if len(devices) > 1:
        given = (study.spec, study.goal_value, study.precision)
        bench.followers = FollowerPool(*given, devices, bench.passes, versions["source"])
    return bench
