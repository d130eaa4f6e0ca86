"""What losses of spot devices add is what a simulation adds."""

from math import log1p

import numpy as np
import pytest

from batchfront.advice.intervals import Interval
from batchfront.advice.spot import CHECKPOINT_SECONDS, REPLACEMENT_SECONDS, with_losses
from batchfront.errors import UsageError


def simulated(hours: float, devices: int, chance: float, rng: np.random.Generator) -> float:
    """The hours of a run that goes back to its last checkpoint whenever a device is lost, while
    one waits for another, too."""
    rate, took, left = -devices * log1p(-chance), 0.0, hours
    every, wait = CHECKPOINT_SECONDS / 3600, REPLACEMENT_SECONDS / 3600
    while left > 1e-9:
        stretch = min(every, left)
        lost = rng.exponential(1 / rate)
        if lost >= stretch:
            took, left = took + stretch, left - stretch
        else:
            took += lost + wait
    return took


@pytest.mark.parametrize(
    ("hours", "devices", "chance"),
    [(20, 8, 0.1), (5, 2, 0.3), (5, 64, 0.1), (0.1, 4, 0.5), (0.01, 1, 0.1)],
)
def test_hours_are_those_of_runs_that_go_back_to_a_checkpoint(
    hours: float, devices: int, chance: float
) -> None:
    rng = np.random.default_rng(0)
    drawn = [simulated(hours, devices, chance, rng) for _ in range(2000)]
    found = with_losses(Interval.around(hours), devices, chance)
    expected = np.quantile(drawn, (0.05, 0.5, 0.95))
    assert (found.low, found.median, found.high) == pytest.approx(
        expected, rel=0.04 if hours > 1 else 0.12
    )


def test_what_was_uncertain_before_stays_so() -> None:
    found = with_losses(Interval(20, 10, 35), 8, 0.1)
    alone = with_losses(Interval.around(20), 8, 0.1)
    assert found.median == pytest.approx(alone.median, rel=0.01)
    stretch = alone.median / 20
    assert (found.low, found.high) == pytest.approx((10 * stretch, 35 * stretch), rel=0.06)


def test_the_same_run_is_told_the_same() -> None:
    first, second = (with_losses(Interval(20, 10, 35), 8, 0.1) for _ in range(2))
    assert first == second


def test_devices_that_are_lost_all_the_time_make_no_way() -> None:
    with pytest.raises(UsageError, match="one of 64 spot devices is lost every 12 seconds"):
        with_losses(Interval.around(20), 64, 0.99)


def test_devices_that_stay_add_nothing() -> None:
    assert with_losses(Interval(10, 8, 12), 8, 0.0) == Interval(10, 8, 12)
