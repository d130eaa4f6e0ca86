"""A trial on two devices is the trial that one device computes."""

from collections.abc import Iterator

import pytest
import torch

from service.training.memory import Passes, PassSize
from service.training.ranks.group import Ranks
from service.training.ranks.lead import LeadRun
from service.training.trial import TrialRun
from tests.striped import GHOST_SIZE, SPEC, splits, striped

CPU = torch.device("cpu")
VALUES = {"learning_rate": 0.05, "momentum": 0.9}
DATA = splits()
STEPS = 12


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    """Two, whose passes are of one ghost group: most shares take several."""
    passes = Passes(PassSize(GHOST_SIZE), PassSize())
    ranks = Ranks(SPEC, None, [CPU, CPU], passes)
    yield ranks
    ranks.close()


def alone(batch_size: int) -> TrialRun:
    return TrialRun(striped(), DATA, batch_size, VALUES, 5, CPU)


def shared(ranks: Ranks, batch_size: int) -> LeadRun:
    return LeadRun(ranks, striped(), DATA, batch_size, VALUES, 5, CPU, ranks._passes)


def assert_close(one: TrialRun, other: TrialRun) -> None:
    """In all that training or evaluation depends on: buffers and momentum too."""
    before, after = one.state(), other.state()
    for name, tensor in before["model"].items():
        torch.testing.assert_close(after["model"][name], tensor, rtol=0, atol=1e-10)
    pairs = zip(before["optimizer"]["velocities"], after["optimizer"]["velocities"], strict=True)
    for wanted, found in pairs:
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
    assert one.step == other.step


# 16: two groups each; 10: a share of one group and one of a group and a half; 3: one share is
# empty; 64: the whole training set.
@pytest.mark.parametrize("batch_size", [16, 10, 3, 64])
def test_gradients_and_running_means_are_one_devices(ranks: Ranks, batch_size: int) -> None:
    one, two = alone(batch_size), shared(ranks, batch_size)
    for step in (1, 2, 3, 7, STEPS):
        one.advance(step)
        assert two.advance(step)
        assert_close(one, two)
        assert two.evaluate(full=True).value == pytest.approx(
            one.evaluate(full=True).value, abs=1e-10
        )
    losses = [(one.looks[k].loss, two.looks[k].loss) for k in range(5)]
    # They are added up in float32.
    assert all(found == pytest.approx(wanted, rel=1e-6) for wanted, found in losses)
