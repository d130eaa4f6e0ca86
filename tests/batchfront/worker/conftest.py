"""Workers that hold a part of a study only."""

from collections.abc import Mapping
from typing import Any

import pytest

from batchfront.ledger.ledger import Ledger, RaceState
from batchfront.worker import worker
from batchfront.worker.backends import models
from batchfront.worker.heartbeat import Heartbeat
from batchfront.worker.race import Race


class Prompt(Heartbeat):
    """Asks for the news when it is read, so that no news is late on a busy machine."""

    def __init__(self, ledger: Ledger, study_id: int) -> None:
        super().__init__(ledger, study_id)
        self.ledger, self.study_id = ledger, study_id
        self.held: dict[int, tuple[int, int]] = {}

    def hold(self, slots: Mapping[int, tuple[int, int]]) -> None:
        super().hold(slots)
        self.held = dict(slots)

    @property
    def race_state(self) -> RaceState:
        return self.ledger.poll(self.study_id, self.held)


@pytest.fixture
def room_for_three(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Workers hold three trials at once, and know what others do; the heats."""
    heats: list[list[int]] = []
    run = Race.run

    def watched(self: Race, taken: Any) -> None:
        heats.append([slot.number for slot in taken])
        run(self, taken)

    monkeypatch.setattr(Race, "run", watched)
    monkeypatch.setattr(models, "room_for", lambda *_: 3)
    monkeypatch.setattr(worker, "Heartbeat", Prompt)
    return heats
