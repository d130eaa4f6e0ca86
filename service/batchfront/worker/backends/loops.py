"""Trials that are Python functions of the user's."""

from collections.abc import Sequence
from typing import Any

from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.training.run import RunFactory
from batchfront.worker.backend import HeatSetup, Place


class LoopBackend:
    """The backend of loops."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def limit(self, study: Study) -> int:
        raise NotImplementedError

    def prepare(self, study: Study) -> RunFactory[Any]:
        raise NotImplementedError

    def heat(self, study: Study, taken: Sequence[Slot]) -> HeatSetup:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
