"""The model of a step brings back made-up devices, and refuses what it knows nothing of."""

from collections.abc import Sequence

import pytest

from batchfront.advice.machines import Machine
from batchfront.advice.step_time import PEAK, StepTimes
from batchfront.advice.timings import Timing
from batchfront.errors import UsageError
from batchfront.frontier.recipe import Layout
from batchfront.vocabulary import TimedPart
from tests.step_truth import Truth, elsewhere, timing

ALONE = [(64, 1), (256, 1)]
TWO = [(64, 2), (256, 2)]


def off(times: StepTimes, truth: Truth, batch_size: int, devices: int) -> float:
    """By which share the model is off."""
    found = times.at(batch_size, devices).seconds.median
    return abs(found / truth.step(batch_size, devices) - 1)


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("batch_size", [8, 32, 96, 1024])
def test_the_sum_of_the_parts_is_the_step(overlap: bool, batch_size: int) -> None:
    truth = Truth(overlap=overlap)
    times = StepTimes.of(truth.timings(steps=ALONE + TWO, devices=(2, 4)))
    for devices in (1, 2):
        assert off(times, truth, batch_size, devices) < 0.01


@pytest.mark.parametrize("overlap", [True, False])
def test_whether_the_all_reduce_is_hidden_is_seen_and_carried_to_more_devices(
    overlap: bool,
) -> None:
    truth = Truth(overlap=overlap, bandwidth_part=0.03)
    times = StepTimes.of(truth.timings(steps=ALONE + TWO, devices=(2, 4)))
    assert off(times, truth, 512, 4) < 0.01
    assert off(times, truth, 512, 8) < 0.02


@pytest.mark.parametrize("overlap", [True, False])
def test_without_a_whole_step_the_interval_holds_both(overlap: bool) -> None:
    truth = Truth(overlap=overlap, bandwidth_part=0.03)
    found = StepTimes.of(truth.timings(devices=(2,))).at(128, 2)
    assert found.seconds.low <= truth.step(128, 2) <= found.seconds.high
    assert not found.measured
    assert any("what sharing a batch adds to it beside the all-reduce" in n for n in found.notes)


def test_without_a_whole_step_the_sum_is_said_to_be_unchecked() -> None:
    unchecked, checked = (
        StepTimes.of(Truth().timings(steps=steps)).at(32) for steps in ([], ALONE)
    )
    assert unchecked.notes == ("No whole step was timed, to check the sum of its parts by.",)
    assert unchecked.error > checked.error
    assert (unchecked.measured, checked.measured) == (False, True)


def test_what_sharing_adds_is_unknown_from_one_device_alone() -> None:
    truth = Truth(contention=0.7)
    found = StepTimes.of(truth.timings(steps=ALONE, devices=(2,))).at(128, 2)
    assert found.seconds.low <= truth.step(128, 2) <= found.seconds.high
    assert any("short steps may take several times as long" in note for note in found.notes)


def test_what_devices_lose_by_each_other_is_in_the_steps_that_were_timed() -> None:
    truth = Truth(contention=0.3)
    times = StepTimes.of(truth.timings(steps=ALONE + TWO, devices=(2,)))
    assert off(times, truth, 128, 2) < 0.03


def test_a_step_that_was_timed_is_given_as_it_was() -> None:
    truth = Truth()
    found = StepTimes.of(truth.timings(steps=[(64, 1)])).at(64)
    assert (found.seconds.median, found.measured) == (pytest.approx(truth.step(64)), True)
    assert found.seconds.high / found.seconds.low < 1.12
    assert found.notes == ()


def test_memory_limits_the_micro_batch() -> None:
    times = StepTimes.of(Truth().timings(steps=ALONE))
    assert times.at(1024).layout == Layout(1, 128, 8)
    assert times.at(96).layout == Layout(1, 96, 1)


def test_less_memory_than_was_timed_makes_it_smaller() -> None:
    timings = [timing(TimedPart.PASS, n, 0.01 + n / 1e4, **{PEAK: str(n * 1000)}) for n in (8, 64)]
    small = Machine("small", 1, memory=10_000)
    assert StepTimes.of(timings).at(64).layout.micro_batch == 64
    assert StepTimes.of(timings, small).at(64).layout == Layout(1, 8, 8)
    with pytest.raises(UsageError, match="tiny: its devices have 10 bytes of memory"):
        StepTimes.of(timings, Machine("tiny", 1, memory=10))
    assert StepTimes.of(Truth().timings(), small).memory_unknown


@pytest.mark.parametrize(
    ("batch_size", "devices", "said"),
    [
        (100, 3, "a batch of 100 examples does not divide among 3 devices"),
        (8, 4, "micro-batches of 2 examples: of 8 to 128 were timed"),
        (1024, 16, "4 devices at most were timed together"),
    ],
)
def test_what_cannot_be_known_is_refused(batch_size: int, devices: int, said: str) -> None:
    times = StepTimes.of(Truth().timings(steps=ALONE + TWO, devices=(2, 4)))
    with pytest.raises(UsageError, match=said):
        times.at(batch_size, devices)


def test_a_batch_that_must_be_computed_at_once_is_neither_cut_nor_shared() -> None:
    times = StepTimes.of(Truth().timings(steps=ALONE, devices=(2,)), whole="it is normalized")
    assert times.at(128).layout == Layout(1, 128, 1)
    with pytest.raises(UsageError, match="2 devices can't share its batches: it is normalized"):
        times.at(128, 2)
    with pytest.raises(UsageError, match="micro-batches of 1,024 examples"):
        times.at(1024)


def test_ghost_batch_normalization_keeps_its_groups_together() -> None:
    timings = Truth(most=96).timings(passes=(32, 64, 96), steps=ALONE, devices=(2,))
    times = StepTimes.of(timings, group=32)
    assert times.at(256).layout == Layout(1, 64, 4)
    assert times.at(128, 2).layout == Layout(2, 64, 1)
    with pytest.raises(UsageError, match="among 2 devices in groups of 32, which its ghost"):
        times.at(96, 2)


def of_whole_steps(truth: Truth, *where: tuple[int, int]) -> list[Timing]:
    return elsewhere([(size, devices, truth.step(size, devices)) for size, devices in where])


STEPS = [(size, n) for size in (32, 64, 128) for n in (1, 2, 4)]


@pytest.mark.parametrize(("batch_size", "devices"), [(64, 2), (96, 2), (200, 1), (256, 4)])
def test_whole_steps_alone_are_interpolated(batch_size: int, devices: int) -> None:
    truth = Truth(most=1024)
    times = StepTimes.of(of_whole_steps(truth, *STEPS))
    found = times.at(batch_size, devices)
    assert found.seconds.low <= truth.step(batch_size, devices) <= found.seconds.high
    assert found.measured == ((batch_size, devices) in STEPS)


def test_whole_steps_tell_those_of_twice_as_many_devices_and_no_more() -> None:
    truth = Truth(most=1024)
    times = StepTimes.of(of_whole_steps(truth, *STEPS))
    found = times.at(256, 8)
    assert found.seconds.low <= truth.step(256, 8) <= found.seconds.high
    assert any("extrapolated from those of 2 and 4" in note for note in found.notes)
    with pytest.raises(UsageError, match="past twice that"):
        times.at(1024, 16)


def test_whole_steps_of_several_devices_alone_tell_of_no_other_number() -> None:
    times = StepTimes.of(of_whole_steps(Truth(most=1024), (64, 8), (256, 8)))
    assert times.devices == (8,)
    assert times.at(64, 8).measured
    assert times.at(128, 8).seconds.median == pytest.approx(Truth().step(128, 8), rel=0.02)
    with pytest.raises(UsageError, match="whole steps were timed on 8 devices"):
        times.at(64, 4)


def test_micro_batches_that_were_told_are_the_layout() -> None:
    (told,) = elsewhere([(256, 2, 0.5)])
    told.versions["accumulation"] = "4"  # type: ignore[index]
    assert StepTimes.of([told]).at(256, 2).layout == Layout(2, 32, 4)


def test_over_another_network_no_step_was_measured() -> None:
    machine = Machine("8 x H100", 8, None, None, 450e9, 5e-6)
    timings: Sequence[Timing] = Truth().timings(steps=ALONE + TWO, devices=(2,))
    times = StepTimes.of(timings, machine, gradient_bytes=10**8)
    assert times.at(64).measured
    found = times.at(64, 2)
    assert not found.measured
    assert any("given bandwidth" in note for note in found.notes)


def with_peaks(truth: Truth, sizes: Sequence[int]) -> list[Timing]:
    """Passes that take a kilobyte for each example."""
    peak = {n: {PEAK: str(1000 * n)} for n in sizes}
    return [timing(TimedPart.PASS, n, truth.one_pass(n), **peak[n]) for n in sizes]


@pytest.mark.parametrize("batch_size", [64, 128, 256])
def test_less_memory_than_where_it_was_timed_takes_more_passes(batch_size: int) -> None:
    here, there = Truth(most=128), Truth(most=32)
    timings = [
        *with_peaks(here, (8, 16, 32, 64, 128)),
        *here.timings(passes=(), steps=[(32, 1), (128, 1)]),
        timing(TimedPart.UPDATE, 0, here.update),
    ]
    found = StepTimes.of(timings, Machine("small", 8, memory=40_000)).at(batch_size)
    assert found.layout == Layout(1, 32, batch_size // 32)
    assert found.seconds.median == pytest.approx(there.step(batch_size), rel=1e-3)


def test_micro_batches_of_where_it_was_timed_are_not_those_of_less_memory() -> None:
    truth = Truth(most=128)
    step = timing(TimedPart.STEP, 512, truth.step(512), accumulation="4")
    timings = [*with_peaks(truth, (16, 32, 64, 128)), step]
    found = StepTimes.of(timings, Machine("small", 8, memory=70_000)).at(512)
    assert found.layout == Layout(1, 64, 8)


def test_a_whole_step_in_several_micro_batches_is_not_taken_for_one_of_them() -> None:
    steps = [
        timing(TimedPart.STEP, 128, 0.010, accumulation="1"),
        timing(TimedPart.STEP, 512, 0.013, accumulation="4"),
    ]
    times = StepTimes.of(steps)
    found = times.at(256)
    assert found.seconds.median == pytest.approx(0.011)
    assert found.layout == Layout(1, 128, 2)
    assert 0.013 < times.at(768).seconds.median < 0.018


def test_what_sharing_added_to_whole_steps_grows_with_the_devices() -> None:
    alone = [(32, 1, 0.10), (128, 1, 0.34)]
    times = StepTimes.of(elsewhere([*alone, (64, 2, 0.101), (256, 2, 0.39)]))
    assert times.at(512, 4).seconds.median > 1.05 * times.at(256, 2).seconds.median
