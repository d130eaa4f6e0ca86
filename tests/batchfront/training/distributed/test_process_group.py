"""How ranks meet."""

import pytest
import torch

from batchfront.training.distributed import process_group
from batchfront.training.distributed.process_group import ProcessGroup, rendezvous

CPU = torch.device("cpu")
SHORT = 2.0


def test_a_rank_that_never_comes_is_not_waited_for_as_long_as_a_step_may_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_group, "MEETING_SECONDS", SHORT)
    group = ProcessGroup(0, 2, CPU)
    with pytest.raises(RuntimeError, match="timeout"):
        group.join(rendezvous(2))
    group.leave()
