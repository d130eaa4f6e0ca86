"""Adding up gradients takes what was timed, or what a given network takes, or is refused."""

import pytest

from batchfront.advice.all_reduce import AllReduce, ring_seconds
from batchfront.advice.intervals import Interval
from batchfront.advice.machines import Machine
from batchfront.errors import UsageError
from tests.step_truth import Truth

TRUTH = Truth()
NETWORK = Machine("8 x H100", 8, None, None, 450e9, 5e-6, 50e9, 20e-6)
GRADIENT = 400_000_000


def timed(*devices: int, machine: Machine | None = None) -> AllReduce:
    return AllReduce.of(TRUTH.timings((), devices=devices), machine, GRADIENT)


def test_alone_there_is_nothing_to_add() -> None:
    assert timed().at(1).value == 0


def test_a_bandwidth_and_a_latency_go_through_what_was_timed() -> None:
    found = timed(2, 4)
    assert found.at(4).value == pytest.approx(TRUTH.all_reduce(4))
    assert found.at(4).known
    other = found.at(8)
    assert other.value == pytest.approx(TRUTH.all_reduce(8), rel=0.01)
    assert other.note == (
        "An all-reduce over 8 devices was not timed: its seconds are extrapolated from those of 2 "
        "and 4."
    )
    assert "interpolated" in found.at(3).note


@pytest.mark.parametrize("truth", [Truth(latency_part=0.0), Truth(bandwidth_part=0.0)])
def test_of_one_number_both_are_allowed_for(truth: Truth) -> None:
    found = AllReduce.of(truth.timings((), devices=(2,))).at(4)
    interval = Interval.around(found.value, found.error)
    assert interval.low <= truth.all_reduce(4) <= interval.high


def test_past_twice_as_many_as_were_timed_nothing_is_said() -> None:
    with pytest.raises(UsageError, match="4 devices at most were timed together"):
        timed(2, 4).at(9)
    with pytest.raises(UsageError, match="was not timed, on any number of devices"):
        timed().at(2)


def test_several_machines_need_their_network_given() -> None:
    alone = Machine("8 x H100", 8)
    with pytest.raises(UsageError, match="16 devices are 2 of 8 x H100, whose network isn't given"):
        timed(2, 4, 8, machine=alone).at(16)


def test_a_given_network_is_computed_with_and_said() -> None:
    found = timed(2, machine=NETWORK).at(16)
    inside = ring_seconds(8, GRADIENT, 450e9, 5e-6)
    between = ring_seconds(2, GRADIENT, 50e9, 20e-6)
    assert found.value == pytest.approx(inside + between)
    assert not found.known
    assert "computed from the given bandwidth and latency" in found.note
    within = timed(2, machine=NETWORK).at(2)
    assert (within.value, within.known) == (
        pytest.approx(ring_seconds(2, GRADIENT, 450e9, 5e-6)),
        False,
    )


def test_without_the_gradients_size_a_given_network_tells_nothing() -> None:
    with pytest.raises(UsageError, match="how large the gradient is isn't known"):
        AllReduce.of([], NETWORK).at(16)


def test_a_ring_sends_all_but_a_share_twice() -> None:
    assert ring_seconds(4, 1000, 100, 0.0) == pytest.approx(2 * 3 / 4 * 1000 / 100)
    assert ring_seconds(4, 0, 100, 0.5) == pytest.approx(3.0)
