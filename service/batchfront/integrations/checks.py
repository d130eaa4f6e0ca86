"""What every integration asks of a framework and of the user's code before it trains."""

import inspect
import re
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from batchfront.errors import UsageError, WorkloadError
from batchfront.extras import installing
from batchfront.workload.loop import Trial


def required(package: str, since: str, module: str | None = None) -> Any:
    """Import a module of a package; None: the package's own.

    since -- its first version that will do

    Raises UsageError, which says how to get it, if it isn't installed or of an older version.
    """
    try:
        found = version(package)
    except PackageNotFoundError:
        raise UsageError(f"this needs {package}: {installing(package)}") from None
    if _numbers(found) < _numbers(since):
        raise UsageError(
            f"{package} {found} is installed, and this needs {since} or later: "
            f"{installing(package)}"
        )
    return import_module(module or package)


def _numbers(version: str) -> list[int]:
    release = re.match(r"[\d.]*", version)
    assert release is not None
    return [int(number) for number in release[0].split(".") if number]


def made(make: Callable[..., Any], trial: Trial) -> Any:
    """What a function of the user's makes for a trial: called with what it names of the trial's
    metaparameters, `batch_size`, `seed`, `step_budget`, `device` and `directory`.

    Raises WorkloadError if it asks for something else.
    """
    known = [*_OWN, *trial]
    parameters = inspect.signature(make).parameters.values()
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        names = known
    else:
        empty = inspect.Parameter.empty
        names = [one.name for one in parameters if one.name in known or one.default is empty]
    if unknown := [name for name in names if name not in known]:
        raise WorkloadError(
            f"{getattr(make, '__name__', 'the function')}() asks for {unknown[0]}, and a trial has "
            f"{', '.join(known)}"
        )
    return make(**{name: getattr(trial, name) if name in _OWN else trial[name] for name in names})


_OWN = ("batch_size", "seed", "step_budget", "device", "directory")


def refuse_other_batch_size(trial: Trial, per_device: int, accumulation: int, devices: int) -> None:
    """Raise WorkloadError if a step doesn't take as many examples as the study's batch size says.

    per_device   -- examples of a micro-batch on each device
    accumulation -- micro-batches of a step
    """
    taken = per_device * accumulation * devices
    if taken != trial.batch_size:
        raise WorkloadError(
            f"a step takes {per_device} examples per device x {accumulation} accumulated x "
            f"{devices} device{'s' * (devices > 1)} = {taken}, and the study's batch size is "
            f"{trial.batch_size}"
        )
