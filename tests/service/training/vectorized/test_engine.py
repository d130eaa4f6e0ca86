"""Runs come, go, stop, diverge and fail in a vectorized heat as they would by themselves."""

from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import pytest
import torch
from torch import Tensor, nn

from service.data import Splits
from service.layers import GhostBatchNorm2d
from service.losses import cross_entropy
from service.search_space import quasi_random_points
from service.training.checkpoint import Checkpoints
from service.training.engines import Engine, Failed, Sequential
from service.training.heat import Ending, Heat
from service.training.memory import Passes, PassSize
from service.training.trial import TrialRun
from service.training.vectorized import Vectorized, why_not
from service.workload import Workload
from studies.digits import model as digits_mlp
from studies.digits import momentum
from tests.service.training.vectorized.trials import (
    CPU,
    NEVER,
    cnn,
    draws,
    is_stacked,
    runs,
    splits,
    weights,
    workload,
)


@dataclass(frozen=True)
class Slot:
    number: int
    study_id: int = 1


def alone(of: Workload, data: Splits, count: int, to_step: int) -> list[TrialRun]:
    found = runs(of, data, draws(count))
    Sequential().advance(found, to_step, NEVER)
    return found


def assert_same(found: list[TrialRun], expected: list[TrialRun]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.step == other.step
        torch.testing.assert_close(weights(one), weights(other), rtol=1e-9, atol=1e-9)
        assert one.loss_sum.item() == pytest.approx(other.loss_sum.item(), rel=1e-5)


def test_runs_that_end_leave_the_others_what_they_were(data: Splits) -> None:
    live, engine = runs(workload(), data, draws(6)), Vectorized()
    ended: list[TrialRun] = []
    for step in (5, 10, 15, 20, 25, 30):
        assert engine.advance(live, step, NEVER) == [True] * len(live)
        ended.append(live.pop(len(live) // 2))
    for run in ended:
        assert_same([run], [alone(workload(), data, 6, run.step)[run.seed - 100]])


def test_runs_that_come_in_later_join_when_they_have_caught_up(data: Splits) -> None:
    everyone, engine = runs(workload(), data, draws(5)), Vectorized()
    engine.advance(everyone[:3], 10, NEVER)
    engine.advance(everyone[3:], 10, NEVER)
    engine.advance(everyone, 30, NEVER)
    assert all(map(is_stacked, everyone))
    storages = {next(r.model.parameters()).untyped_storage().data_ptr() for r in everyone}
    assert len(storages) == 1
    assert_same(everyone, alone(workload(), data, 5, 30))


class Bounded(Event):
    """Is set when it has been asked so many times."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self.left = asked

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_a_stop_leaves_all_at_a_step_from_which_they_go_on(data: Splits) -> None:
    found, engine = runs(workload(), data, draws(4)), Vectorized()
    assert engine.advance(found, 50, Bounded(20)) == [False] * 4
    assert {run.step for run in found} == {20}
    found[1].advance(33)  # by itself
    assert engine.advance(found, 50, NEVER) == [True] * 4
    assert_same(found, alone(workload(), data, 4, 50))


def test_a_checkpoint_is_of_one_run_and_goes_on_by_itself_or_in_a_heat(
    data: Splits, tmp_path: Path
) -> None:
    found = runs(workload(), data, draws(16))
    Vectorized().advance(found, 20, NEVER)
    checkpoints = Checkpoints(tmp_path)
    assert all(checkpoints.save(Slot(k), run, "tag") for k, run in enumerate(found))
    size = max(path.stat().st_size for path in tmp_path.rglob("*.pt"))
    by_itself = alone(workload(), data, 2, 20)[1]
    checkpoints.save(Slot(99), by_itself, "tag")
    assert size < 1.2 * next(tmp_path.rglob("trial-99.pt")).stat().st_size
    expected = alone(workload(), data, 16, 40)
    for engine in (Vectorized(), Sequential()):
        again = runs(workload(), data, draws(16))
        assert all(checkpoints.restore(Slot(k), run, "tag") for k, run in enumerate(again))
        engine.advance(again, 40, NEVER)
        assert_same(again, expected)


def test_a_run_is_restored_in_the_middle_of_a_heat(data: Splits) -> None:
    found, engine = runs(workload(), data, draws(4)), Vectorized()
    engine.advance(found, 10, NEVER)
    earlier = alone(workload(), data, 4, 5)[2].state()
    found[2].restore(earlier)
    engine.advance(found, 30, NEVER)
    for one, other in zip(found, alone(workload(), data, 4, 30), strict=True):
        torch.testing.assert_close(weights(one), weights(other), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_a_run_that_diverges_does_not_disturb_the_others(data: Splits, model: str) -> None:
    of, points = (workload(), data) if model == "mlp" else (workload(cnn), splits(1, 4, 4))
    values = draws(5)
    values[2] = {**values[2], "learning_rate": 1e200}
    found, engine = runs(of, points, values), Vectorized()
    engine.advance(found, 40, NEVER)
    looks = engine.look(found, full=False)
    assert [run.finite() for run in found] == [True, True, False, True, True]
    assert not isinstance(looks[2], Failed)
    assert not looks[2].passed
    others = found[:2] + found[3:]
    expected = alone(of, points, 5, 40)
    assert_same(others, expected[:2] + expected[3:])


def test_a_run_that_raises_fails_alone(data: Splits) -> None:
    calls = 0

    def brittle(outputs: Tensor, targets: Tensor, *, strength: float = 1.0) -> Tensor:
        nonlocal calls
        calls += 1
        if strength < 0.5 and calls > 100:
            raise ZeroDivisionError("a crack")
        return cross_entropy(outputs, targets)

    found = runs(workload(loss=brittle), data, draws(4, strength=(1.0, 1.0, 0.0, 1.0)))
    engine = Vectorized()
    done = engine.advance(found, 40, NEVER)
    assert [isinstance(one, Failed) for one in done] == [False, False, True, False]
    assert isinstance(done[2], Failed)
    assert done[2].reason.startswith("ZeroDivisionError: a crack\nTraceback")
    left = [found[k] for k in (0, 1, 3)]
    assert engine.advance(left, 60, NEVER) == [True] * 3
    expected = alone(workload(), data, 4, 60)
    assert_same(left, [expected[k] for k in (0, 1, 3)])


def test_no_more_trials_are_computed_as_one_than_a_pass_has_room_for(data: Splits) -> None:
    for limit, stacks in ((8 * 3, 2), (8, 0), (4, 0)):
        room = Passes(training=PassSize(limit), evaluation=PassSize(limit))
        found = runs(workload(), data, draws(5))
        for run in found:
            run.passes, run.evaluator.passes, run.alone.passes = (
                room,
                room.evaluation,
                room.training,
            )
        engine = Vectorized()
        engine.advance(found, 10, NEVER)
        engine.look(found, full=True)
        first = [next(run.model.parameters()) for run in found]
        storages = {p.untyped_storage().data_ptr() for p in first}
        assert len(storages) == (stacks or 5)
        for one, other in zip(found, alone(workload(), data, 5, 10), strict=True):
            torch.testing.assert_close(weights(one), weights(other), rtol=1e-9, atol=1e-9)


def test_runs_of_different_shapes_are_stacked_with_their_likes(data: Splits) -> None:
    def wide(*, width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, 4)).double()

    found = runs(workload(wide), data, draws(5, width=(4, 8)))
    engine = Vectorized()
    assert engine.advance(found, 20, NEVER) == [True] * 5
    expected = runs(workload(wide), data, draws(5, width=(4, 8)))
    Sequential().advance(expected, 20, NEVER)
    assert_same(found, expected)
    assert all(map(is_stacked, found))


def raced(engine: Engine, of: Workload, live: list[TrialRun]) -> dict[int, Ending]:
    numbered = [(Slot(number), run) for number, run in enumerate(live)]
    heat = Heat(of, live[0].batch_size, numbered, engine=engine)
    endings: dict[int, Ending] = {}
    while heat.live:
        endings |= {slot.number: ending for slot, ending in heat.round(NEVER)}
    return endings


def assert_same_endings(found: dict[int, Ending], expected: dict[int, Ending]) -> None:
    assert found.keys() == expected.keys()
    assert {e.outcome for e in expected.values()} >= {"reached", "capped"}
    for number, one in expected.items():
        other = found[number]
        assert (other.outcome, other.reason, other.steps) == (one.outcome, one.reason, one.steps)
        assert (other.steps_to_target, other.steps_lower) == (one.steps_to_target, one.steps_lower)
        assert (other.metric, other.test_metric) == (one.metric, one.test_metric)
        assert other.spent.evaluated_examples == one.spent.evaluated_examples
        assert [(look.step, look.metric) for look in other.looks] == [
            (look.step, look.metric) for look in one.looks
        ]


def test_a_race_ends_in_the_same_way_with_both_engines(data: Splits) -> None:
    values = draws(12, dropout=(0.0, 0.1), learning_rate=(0.001, 0.01, 0.003, 0.002, 0.02))
    expected, found = (
        raced(engine, workload(), runs(workload(), data, values))
        for engine in (Sequential(), Vectorized())
    )
    assert_same_endings(found, expected)


@pytest.mark.parametrize("batch_size", [64])
def test_a_study_of_digits_has_the_same_winner_with_both_engines(batch_size: int) -> None:
    """In float64, so that rounding is too small to decide which of two looks passes the goal."""
    usual = momentum().with_goal(0.08)
    study = replace(usual, model=lambda: digits_mlp().double())
    data = Splits(*(replace(s, inputs=s.inputs.double()) for _, s in usual.data().named()))
    values = quasi_random_points(usual.space(batch_size), 16, 1)
    expected, found = (
        raced(engine, study, runs(study, data, values, batch_size))
        for engine in (Sequential(), Vectorized())
    )
    assert_same_endings(found, expected)


def reason(model: nn.Module, data: Splits, devices: int = 1, **other: object) -> str | None:
    return why_not(replace(workload(), **other), model, data, [CPU] * devices)  # type: ignore[arg-type]


def test_what_cannot_be_computed_as_one_says_why(data: Splits) -> None:
    class Counting(nn.Linear):
        def __init__(self) -> None:
            super().__init__(16, 4)
            self.register_buffer("steps", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.steps += 1
            return super().forward(x)

    class Asking(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = super().forward(x)
            return y if y.sum() > 0 else -y

    linear = nn.Linear(16, 4).double()
    assert reason(linear, data) is None
    assert reason(linear, data, devices=2) == "2 devices compute each trial"
    norm = nn.Sequential(linear, GhostBatchNorm2d(4))
    assert reason(norm, data) == "it normalizes over batches (GhostBatchNorm2d)"
    dropped = nn.Sequential(linear, nn.Dropout(0.1))
    assert reason(dropped, data) == "torch's own Dropout draws for all at once"
    assert reason(nn.Sequential(linear, nn.Dropout(0.0)), data) is None
    assert reason(Counting().double(), data) == "its training changes buffers of the model"
    asking = reason(Asking(16, 4).double(), data)
    assert asking is not None
    assert asking.startswith("its model can't be stacked (vmap: ")


def test_what_cannot_be_computed_as_one_is_computed_one_by_one(data: Splits) -> None:
    def own(*, share: float) -> nn.Module:
        return nn.Sequential(nn.Linear(16, 4), nn.Dropout(share)).double()

    values = draws(6, share=(0.0, 0.3))
    found, expected = (runs(workload(own), data, values) for _ in range(2))
    assert Vectorized().advance(found, 30, NEVER) == [True] * 6
    Sequential().advance(expected, 30, NEVER)
    assert_same(found, expected)
    assert [is_stacked(run) for run in found] == [True, False] * 3
