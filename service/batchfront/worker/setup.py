"""A workload made ready on a device: its code found, its data loaded, its identity confirmed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from batchfront import __version__
from batchfront.phase_timer import timed_as
from batchfront.study.identity import identity_parts, refuse_other_identity
from batchfront.study.study import Study
from batchfront.study.variants import as_variant
from batchfront.training.devices import describe_all
from batchfront.training.distributed.follower_processes import FollowerPool
from batchfront.training.distributed.leader import LeaderRun
from batchfront.training.memory import MicroBatchSizes
from batchfront.training.model_run import ModelRun
from batchfront.training.preflight.checks import check
from batchfront.workload import catalog
from batchfront.workload.code.fingerprint import Fingerprint
from batchfront.workload.code.versions import digest
from batchfront.workload.data import Splits
from batchfront.workload.goal import Goal
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.stopping_rules import StoppingRules
from batchfront.workload.workload import Workload


@dataclass
class LoadedWorkload:
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
    micro_batches: MicroBatchSizes = field(default_factory=MicroBatchSizes)
    room: int | None = None  # trials at once, where memory has been found to hold no more
    resumes: bool = True
    followers: FollowerPool | None = None  # where a trial is computed by several devices

    @property
    def goal(self) -> Goal:
        """What a trial has to reach."""
        return self.workload.goal

    @property
    def stopping(self) -> StoppingRules:
        """When a trial is given up."""
        return self.workload.stopping

    def run(
        self, batch_size: int, values: Metaparameters, seed: int, *, number: int = 0
    ) -> ModelRun:
        """A fresh trial."""
        trial = (self.workload, self.splits, batch_size, values, seed)
        given = (*trial, self.device, self.micro_batches)
        pool = self.followers
        run = ModelRun(*given) if pool is None else LeaderRun(pool, *given)
        run.replayable = self.resumes
        return run

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
    current: LoadedWorkload | None,
    recall: Callable[[Workload], MicroBatchSizes] = lambda _: MicroBatchSizes(),
    find: Callable[[Study], str] = lambda study: study.spec,
) -> LoadedWorkload:
    """The loaded workload for a study: the current one if it is the same.

    devices -- those that compute each trial together; the first is this process's
    recall  -- the micro-batch sizes that a workload is known to need
    find    -- gives the spec by which its code may be loaded here, if it may

    Raises IdentityError if the code found here gives the study another identity, and what `find`
    raises of code that may not be loaded.
    """
    if current is None or not current.serves(study):
        if current is not None:
            current.close()
        together = [devices] if isinstance(devices, torch.device) else devices
        current = Found(Wanted.by(study), find(study)).on(together, recall)
    if current.confirmed.get(study.id) != study.identity:
        refuse_other_identity(study, current.workload, current.identity_parts)
        current.confirmed[study.id] = study.identity
    return current


@dataclass(frozen=True)
class Wanted:
    """A workload that is to be made ready, as a study says it or as somebody asks for it.

    spec  -- what names it in the database
    tries -- what planning it has shown (`Checked.tries`), as far as that is kept
    """

    spec: str
    batch_sizes: Sequence[int]
    variant: str | None = None
    goal_value: float | None = None
    precision: str | None = None
    planned: bool = False
    tries: Mapping[str, str | None] | None = None

    @classmethod
    def by(cls, study: Study) -> "Wanted":
        """What a study wants."""
        return cls(
            study.spec,
            [study.batch_size],
            study.variant,
            study.goal_value,
            study.precision,
            planned=True,
            tries=study.identity.get("preflight"),
        )


class Found:
    """A workload whose code is loaded and checked, to be made ready on one device or several.

    here -- the spec by which its code is loaded here

    Raises what loading and checking it does.
    """

    def __init__(self, wanted: Wanted, here: str) -> None:
        self.wanted, self.here = wanted, here
        found = as_variant(catalog.load_trained(here), wanted.variant)
        fingerprint = Fingerprint.of(found)  # before it has run, and changed what it may hold
        self.workload = found.as_asked(wanted.goal_value, wanted.precision)
        self.checked = check(
            self.workload, wanted.batch_sizes, planned=wanted.planned, tries=wanted.tries
        )
        self.code = fingerprint.code(self.checked.splits)

    def on(
        self, devices: Sequence[torch.device], recall: Callable[[Workload], MicroBatchSizes]
    ) -> LoadedWorkload:
        """The workload on the devices that compute each trial together, as `set_up` has them.

        Raises WorkloadError if these can't.
        """
        checked, wanted = self.checked, self.wanted
        checked.refuse_devices(len(devices))
        versions = {
            "batchfront": __version__,
            "torch": torch.__version__,
            "device": describe_all(devices),
            "source": digest(self.code),
        }
        with timed_as("data"):
            splits = checked.splits.to(devices[0])
        micro_batches = recall(self.workload)
        micro_batches.whole = checked.whole
        loaded = LoadedWorkload(
            wanted.spec,
            self.workload,
            splits,
            devices[0],
            versions,
            identity_parts(checked.identity_parts, [self.code], wanted.variant),
            micro_batches=micro_batches,
            resumes=checked.lost is None,
        )
        if len(devices) > 1:
            given = (self.here, wanted.goal_value, wanted.precision)
            loaded.followers = FollowerPool(*given, devices, micro_batches, versions["source"])
        return loaded
