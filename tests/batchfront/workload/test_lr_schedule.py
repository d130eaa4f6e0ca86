"""Learning-rate schedules: the factor at every step."""

from itertools import pairwise

import pytest

from batchfront.workload.algorithm import REQUIRED
from batchfront.workload.lr_schedule import Constant, LinearDecay, Schedule, WarmupCosine

DECAY = {"decay_steps": 100, "decay_factor": 0.1}
COSINE = {"warmup_steps": 10, "total_steps": 110}


def test_constant_is_one_at_every_step() -> None:
    assert [Constant().factor(step, {}) for step in (0, 1, 10**6)] == [1.0] * 3


def test_linear_decay_goes_from_one_to_its_factor_and_stays_there() -> None:
    factors = [LinearDecay().factor(step, DECAY) for step in (0, 50, 100, 1000)]
    assert factors == pytest.approx([1.0, 0.55, 0.1, 0.1])


def test_linear_decay_falls_by_the_same_amount_at_each_step() -> None:
    factors = [LinearDecay().factor(step, DECAY) for step in range(101)]
    falls = [a - b for a, b in pairwise(factors)]
    assert falls == pytest.approx([0.009] * 100)


def test_warm_up_rises_to_one_without_ever_being_zero() -> None:
    factors = [WarmupCosine().factor(step, COSINE) for step in range(11)]
    assert factors[:10] == pytest.approx([k / 10 for k in range(1, 11)])
    assert factors[10] == 1.0


def test_the_cosine_is_half_way_in_the_middle_and_zero_from_the_end_on() -> None:
    factors = [WarmupCosine().factor(step, COSINE) for step in (60, 110, 500)]
    assert factors == pytest.approx([0.5, 0.0, 0.0])


def test_a_cosine_without_warm_up_or_without_anything_else_has_a_factor_at_every_step() -> None:
    no_warmup = {"warmup_steps": 0, "total_steps": 10}
    assert WarmupCosine().factor(0, no_warmup) == 1.0
    all_warmup = {"warmup_steps": 10, "total_steps": 10}
    assert WarmupCosine().factor(9, all_warmup) == 1.0
    assert 0.0 <= WarmupCosine().factor(10, all_warmup) <= 1.0


@pytest.mark.parametrize(
    ("schedule", "takes"),
    [
        (Constant(), set()),
        (LinearDecay(), {"decay_steps", "decay_factor"}),
        (WarmupCosine(), {"warmup_steps", "total_steps"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_schedule_says_which_metaparameters_it_needs(schedule: Schedule, takes: set[str]) -> None:
    assert schedule.metaparameters() == dict.fromkeys(takes, REQUIRED)
    assert schedule.describe() == {"name": type(schedule).__name__}
