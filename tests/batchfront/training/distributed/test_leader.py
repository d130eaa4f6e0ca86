"""A trial on two devices is the trial that one device computes."""

import gc
import os
import random
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from batchfront.errors import FollowerFailed, WorkloadError
from batchfront.training import gradient
from batchfront.training.distributed.follower_processes import FollowerPool, Followers
from batchfront.training.distributed.leader import LeaderRun
from batchfront.training.distributed.messages import packed, unpacked
from batchfront.training.memory import MicroBatchSize, MicroBatchSizes
from batchfront.training.model_run import ModelRun
from batchfront.training.prefetch import Prefetch
from tests import nested
from tests.striped import (
    AVERAGING,
    GAPPY,
    GHOST_SIZE,
    SEARCHING,
    SPEC,
    Rows,
    averaging,
    gappy,
    gappy_splits,
    searching,
    splits,
    striped,
)

CPU = torch.device("cpu")
VALUES = {"learning_rate": 0.05, "momentum": 0.9}
DATA, GAPS = splits(), gappy_splits()
STEPS = 12


@pytest.fixture(scope="module")
def pool() -> Iterator[FollowerPool]:
    """Two, whose passes are of one ghost group: most shares take several.

    In a process whose new sockets have a time-out, as some library may set it.
    """
    passes = MicroBatchSizes(MicroBatchSize(GHOST_SIZE), MicroBatchSize())
    pool = FollowerPool(SPEC, None, None, [CPU, CPU], passes)
    socket.setdefaulttimeout(20)
    yield pool
    socket.setdefaulttimeout(None)
    pool.close()


def alone(batch_size: int) -> ModelRun:
    return ModelRun(striped(), DATA, batch_size, VALUES, 5, CPU)


def shared(pool: FollowerPool, batch_size: int) -> LeaderRun:
    return LeaderRun(pool, striped(), DATA, batch_size, VALUES, 5, CPU, pool._micro_batches)


def assert_close(one: ModelRun, other: ModelRun) -> None:
    """In all that training or evaluation depends on: buffers and momentum too."""
    before, after = one.state(), other.state()
    for name, tensor in before["model"].items():
        torch.testing.assert_close(after["model"][name], tensor, rtol=0, atol=1e-10)
    pairs = zip(before["optimizer"]["velocities"], after["optimizer"]["velocities"], strict=True)
    for wanted, found in pairs:
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
    assert one.step == other.step


def test_adding_up_for_who_times_it_changes_nothing_of_a_trial(pool: FollowerPool) -> None:
    timed, plain = shared(pool, 8), alone(8)
    for step in (3, STEPS):
        assert timed.advance(step)
        assert plain.advance(step)
        assert timed.all_reduce_seconds(2) > 0
    assert_close(plain, timed)
    assert timed.cost.training_seconds > 0


# 16: two groups each; 10: a share of one group and one of a group and a half; 3: one share is
# empty; 64: the whole training set.
@pytest.mark.parametrize("batch_size", [16, 10, 3, 64])
def test_gradients_and_running_means_are_one_devices(pool: FollowerPool, batch_size: int) -> None:
    one, two = alone(batch_size), shared(pool, batch_size)
    for step in (1, 2, 3, 7, STEPS):
        one.advance(step)
        assert two.advance(step)
        assert_close(one, two)
        assert two.evaluate(full=True).value == pytest.approx(
            one.evaluate(full=True).value, abs=1e-10
        )
    losses = [(one.evaluations[k].loss, two.evaluations[k].loss) for k in range(5)]
    # They are added up in float32.
    assert all(found == pytest.approx(wanted, rel=1e-6) for wanted, found in losses)


def test_what_is_loaded_ahead_is_loaded_over_the_pauses_between_what_ranks_are_told(
    pool: FollowerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Prefetch] = []

    class Noted(Prefetch):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            begun.append(self)

    monkeypatch.setattr(gradient, "Prefetch", Noted)
    one, two = alone(10), shared(pool, 10)
    two.burst_seconds = 0.0
    two.advance(STEPS)
    assert len(begun) == 1
    one.advance(STEPS)
    assert_close(one, two)


def test_what_two_devices_have_kept_goes_on_on_one(pool: FollowerPool) -> None:
    undisturbed, two, one = alone(10), shared(pool, 10), alone(10)
    two.advance(5)
    one.restore(unpacked(packed(two.state())))
    for run in (undisturbed, one):
        run.advance(STEPS)
    assert_close(undisturbed, one)


def test_what_one_device_has_kept_goes_on_on_two(pool: FollowerPool) -> None:
    undisturbed, one, two = alone(10), alone(10), shared(pool, 10)
    one.advance(5)
    two.restore(unpacked(packed(one.state())))
    undisturbed.advance(STEPS)
    two.advance(STEPS)
    assert_close(undisturbed, two)


def test_told_to_stop_it_stands_at_a_step_and_goes_on_from_there(pool: FollowerPool) -> None:
    undisturbed, two, stop = alone(10), shared(pool, 10), Event()
    stop.set()
    assert not two.advance(STEPS, stop)
    assert two.step == 0
    stop.clear()
    assert two.advance(STEPS, stop)
    undisturbed.advance(STEPS)
    assert_close(undisturbed, two)


def test_told_to_stop_while_the_ranks_meet_it_keeps_its_running_means(
    pool: FollowerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, stop = alone(10), shared(pool, 10), Event()
    one.advance(5)
    two.restore(unpacked(packed(one.state())))
    join = two._join

    def interrupted(followers: Followers) -> None:
        join(followers)
        stop.set()

    monkeypatch.setattr(two, "_join", interrupted)
    assert not two.advance(STEPS, stop)
    assert_close(one, two)


def test_a_trial_that_is_gone_is_forgotten_by_the_followers_too(pool: FollowerPool) -> None:
    run = shared(pool, 10)
    run.advance(1)
    key = run._key
    del run
    gc.collect()
    assert key in pool._dropped
    shared(pool, 10).advance(1)
    assert key not in pool._dropped


def test_nobody_else_can_reach_the_followers(pool: FollowerPool) -> None:
    shared(pool, 10).advance(1)
    listening = [c for c in psutil.Process().net_connections() if c.status == psutil.CONN_LISTEN]
    assert listening
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}


def test_batches_that_are_normalized_as_a_whole_start_no_ranks() -> None:
    def normalizing() -> nn.Module:
        return nn.Sequential(nn.BatchNorm2d(1), Rows()).double()

    pool = FollowerPool(SPEC, None, None, [CPU, CPU], MicroBatchSizes())
    workload = replace(striped(), model=normalizing)
    with pytest.raises(WorkloadError, match="2 devices share every batch"):
        LeaderRun(pool, workload, DATA, 10, VALUES, 5, CPU, MicroBatchSizes())
    assert pool.followers is None


def test_a_follower_that_would_compute_with_other_code_is_not_started() -> None:
    """As after an edit of the file, of which the leader has loaded what it was."""
    pool = FollowerPool(SPEC, None, None, [CPU, CPU], MicroBatchSizes(), source="0123456789abcdef")
    with pytest.raises(FollowerFailed, match="its code has changed since this worker loaded it"):
        pool.start(None)
    pool.close()


def test_a_killed_follower_fails_its_trial_and_others_go_on_with_another(
    pool: FollowerPool,
) -> None:
    hit, other = shared(pool, 10), shared(pool, 16)
    other.advance(5)
    hit.advance(5)
    os.kill(pid(pool), signal.SIGKILL)
    with pytest.raises(FollowerFailed, match=r"^rank 1 of 2 ended with signal 9$"):
        hit.advance(STEPS)
    assert pool.followers is None
    undisturbed = alone(16)
    for run in (undisturbed, other):
        run.advance(STEPS)
    assert_close(undisturbed, other)


def test_a_hung_follower_is_ended_and_fails_its_trial(
    pool: FollowerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shared(pool, 10)
    run.advance(3)
    hung = pid(pool)
    run.patience = 0.5
    os.kill(hung, signal.SIGSTOP)
    with pytest.raises(FollowerFailed, match="hung"):
        run.advance(STEPS)
    assert not psutil.pid_exists(hung)


def pid(pool: FollowerPool) -> int:
    """The follower's process."""
    assert pool.followers is not None
    return pool.followers._processes[0].pid


@pytest.fixture(scope="module")
def gappy_pool(pool: FollowerPool) -> Iterator[FollowerPool]:
    """For the last tests: a process is of one group at a time."""
    pool.close()
    pool = FollowerPool(GAPPY, None, None, [CPU, CPU], MicroBatchSizes())
    yield pool
    pool.close()


# 1: a rank computes what counts nothing; 2 and 3: one share, or both, have no target now and then.
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_shares_without_targets_add_nothing(gappy_pool: FollowerPool, batch_size: int) -> None:
    one = ModelRun(gappy(), GAPS, batch_size, VALUES, 5, CPU)
    arguments = (gappy(), GAPS, batch_size, VALUES, 5, CPU, gappy_pool._micro_batches)
    two = LeaderRun(gappy_pool, *arguments)
    for step in (1, 2, 3, 7, STEPS, 30):
        one.advance(step)
        assert two.advance(step)
        assert_close(one, two)
        assert two.loss_steps == one.loss_steps
        assert two.is_finite()
    assert one.loss_steps < 30
    one.evaluate(full=True)
    two.evaluate(full=True)
    assert two.evaluations[0].loss == pytest.approx(one.evaluations[0].loss, rel=1e-6)


def test_every_rank_draws_numbers_that_belong_to_the_trial_and_its_step(
    gappy_pool: FollowerPool,
) -> None:
    found = []
    for interrupted in (False, True):
        values = {**VALUES, "noise": 0.1}
        arguments = (gappy(), GAPS, 10, values, 5, CPU, gappy_pool._micro_batches)
        run = LeaderRun(gappy_pool, *arguments)
        for step in range(1, STEPS + 1):
            if interrupted:
                np.random.randn()
                random.gauss(0.0, 1.0)
            if interrupted and step == 5:
                state = packed(run.state())
                run = LeaderRun(gappy_pool, *arguments)
                run.restore(unpacked(state))
            run.advance(step)
        found.append(run.state()["model"]["outputs.weight"])
    assert torch.equal(*found)


def test_a_loss_that_calls_the_model_on_dicts_is_shared_too(gappy_pool: FollowerPool) -> None:
    gappy_pool.close()
    workload = nested.own_loss()
    trial = (workload, workload.data(), 10, nested.VALUES, 3, CPU)
    pool = FollowerPool(nested.SPEC, None, None, [CPU, CPU], MicroBatchSizes())
    try:
        one, two = ModelRun(*trial), LeaderRun(pool, *trial)
        for run in (one, two):
            assert run.advance(STEPS)
        assert_close(one, two)
    finally:
        pool.close()


def test_closures_and_clipping_are_one_devices(gappy_pool: FollowerPool) -> None:
    gappy_pool.close()
    values = {"learning_rate": 0.5, "max_iter": 3}
    trial = (searching(), DATA, 10, values, 5, CPU)
    pool = FollowerPool(SEARCHING, None, None, [CPU, CPU], MicroBatchSizes())
    one, two = ModelRun(*trial), LeaderRun(pool, *trial, MicroBatchSizes())
    try:
        one.advance(STEPS)
        assert two.advance(STEPS)
    finally:
        pool.close()
    for wanted, found in zip(one.model.parameters(), two.model.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-8)


def test_an_average_of_weights_and_a_schedule_of_torchs_are_one_devices(
    gappy_pool: FollowerPool,
) -> None:
    gappy_pool.close()
    trial = (averaging(), DATA, 10, VALUES, 5, CPU)
    pool = FollowerPool(AVERAGING, None, None, [CPU, CPU], MicroBatchSizes())
    one, two = ModelRun(*trial), LeaderRun(pool, *trial, MicroBatchSizes())
    again = LeaderRun(pool, *trial, MicroBatchSizes())
    try:
        for run in (one, two):
            assert run.advance(STEPS // 2)
        again.restore(unpacked(packed(two.state())))
        for run in (one, two, again):
            assert run.advance(STEPS)
    finally:
        pool.close()
    for run in (two, again):
        assert_close(one, run)
        for name, wanted in one.evaluated.state_dict().items():
            found = run.evaluated.state_dict()[name]
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
    assert not torch.equal(one.evaluated.outputs.weight, one.model.outputs.weight)  # type: ignore[arg-type,union-attr]
