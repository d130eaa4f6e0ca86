"""What planning a workload, and working on it, has to know of it first, whatever its kind."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from batchfront.workload.code.versions import Code


class Examined(Protocol):
    """A workload that has been found to work."""

    @property
    def identity_parts(self) -> Mapping[str, Any]:
        """What a study's identity has of it beside `WorkloadBase.describe`."""

    @property
    def code(self) -> Code:
        """The code that its results hang on."""

    @property
    def tries(self) -> Mapping[str, Any]:
        """What trying it has shown, as its studies keep it for workers."""

    @property
    def notes(self) -> Sequence[str]:
        """What a user should know before it runs, a line each."""

    @property
    def train_examples(self) -> int:
        """The examples of an epoch; 0 where that isn't known."""

    def refuse_devices(self, count: int) -> None:
        """Raise WorkloadError if so many devices can't compute a trial together."""
