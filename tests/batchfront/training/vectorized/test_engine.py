"""Runs come, go, stop, diverge and fail in a vectorized heat as they would by themselves."""

import logging
import os
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from batchfront.outcomes import TrialResult
from batchfront.training.checkpoints import Checkpoints
from batchfront.training.engines import Engine, Failed, Sequential
from batchfront.training.heat import Heat, RaceRules
from batchfront.training.memory import MicroBatchSize, MicroBatchSizes
from batchfront.training.model_run import ModelRun
from batchfront.training.vectorized import eligibility as fitness
from batchfront.training.vectorized.eligibility import why_not
from batchfront.training.vectorized.engine import Vectorized
from batchfront.workload.algorithm import TorchOptimizer
from batchfront.workload.data import Splits
from batchfront.workload.layers import GhostBatchNorm2d
from batchfront.workload.losses import cross_entropy
from batchfront.workload.search_space import quasi_random_points
from batchfront.workload.workload import Workload
from batchfront_studies.digits import model as digits_mlp
from batchfront_studies.digits import momentum
from tests.batchfront.training.vectorized.trials import (
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


def alone(of: Workload, data: Splits, count: int, to_step: int) -> list[ModelRun]:
    found = runs(of, data, draws(count))
    Sequential().advance(found, to_step, NEVER)
    return found


def assert_same(found: list[ModelRun], expected: list[ModelRun]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.step == other.step
        torch.testing.assert_close(weights(one), weights(other), rtol=1e-9, atol=1e-9)
        assert one.loss_sum.item() == pytest.approx(other.loss_sum.item(), rel=1e-5)


def test_runs_that_end_leave_the_others_what_they_were(data: Splits) -> None:
    live, engine = runs(workload(), data, draws(6)), Vectorized()
    ended: list[ModelRun] = []
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
    looks = engine.evaluate(found, full=False)
    assert [run.is_finite() for run in found] == [True, True, False, True, True]
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


class Strict(torch.optim.SGD):
    """Does what is asked of it, at its first parameter, before each step."""

    ask: Callable[[int, Tensor], None]
    steps = 0

    def step(self, closure: Any = None) -> Any:
        self.steps += 1
        self.ask(self.steps, self.param_groups[0]["params"][0])
        return super().step(closure)


def strict(ask: Callable[[int, Tensor, float], None]) -> TorchOptimizer:
    def factory(parameters: Iterable[Tensor], *, learning_rate: float) -> torch.optim.Optimizer:
        made = Strict(parameters, learning_rate, momentum=0.9)
        made.ask = lambda step, p: ask(step, p, learning_rate)  # type: ignore[method-assign]
        return made

    return TorchOptimizer("strict", factory)


def test_a_run_whose_update_raises_fails_alone_and_the_others_are_updated_once(
    data: Splits,
) -> None:
    def raises(step: int, _weight: Tensor, rate: float) -> None:
        if step == 13 and rate in (0.05, 0.1):
            raise ArithmeticError(f"no update of {rate}")

    of = workload(algorithm=strict(raises))
    found, engine = runs(of, data, draws(4)), Vectorized()
    done = engine.advance(found, 20, NEVER)
    assert [isinstance(one, Failed) for one in done] == [False, True, True, False]
    assert [one.reason.splitlines()[0] for one in done if isinstance(one, Failed)] == [
        "ArithmeticError: no update of 0.05",
        "ArithmeticError: no update of 0.1",
    ]
    assert [run.step for run in found] == [20, 12, 12, 20]
    left = [found[0], found[3]]
    assert engine.advance(left, 40, NEVER) == [True, True]
    assert all(map(is_stacked, left))
    expected = alone(workload(algorithm=strict(lambda *_: None)), data, 4, 40)
    assert_same(left, [expected[0], expected[3]])
    early = alone(workload(algorithm=strict(lambda *_: None)), data, 4, 12)
    assert_same(found[1:3], early[1:3])


def test_what_only_shows_later_is_computed_one_by_one_from_then_on(
    data: Splits, caplog: pytest.LogCaptureFixture
) -> None:
    def freezes(step: int, weight: Tensor, _rate: float) -> None:
        if step == 12:
            weight.requires_grad_(False)

    of = workload(algorithm=strict(freezes))
    found, expected = runs(of, data, draws(3)), alone(of, data, 3, 30)
    with caplog.at_level(logging.WARNING):
        assert Vectorized().advance(found, 30, NEVER) == [True] * 3
    assert_same(found, expected)
    assert {tuple(sorted(run.engines)) for run in found} == {("sequential", "vectorized")}
    assert caplog.messages == [
        "points/any/any: 3 trials go on one by one: an optimizer freezes or unfreezes parameters"
    ]


def test_a_model_that_begins_to_draw_later_is_computed_one_by_one_from_then_on(
    data: Splits, caplog: pytest.LogCaptureFixture
) -> None:
    class Shaken(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = super().forward(x)
            return y * (1 + np.random.rand()) + random.random() if os.environ.get("SHAKEN") else y

    of, engine = workload(lambda: Shaken(16, 4).double()), Vectorized()
    found, expected = runs(of, data, draws(3)), runs(of, data, draws(3))
    with pytest.MonkeyPatch.context() as patch:
        for step in (10, 30):
            assert engine.advance(found, step, NEVER) == [True] * 3
            Sequential().advance(expected, step, NEVER)
            engine.evaluate(found, full=True)
            Sequential().evaluate(expected, full=True)
            patch.setenv("SHAKEN", "1")
    assert_same(found, expected)
    assert "go on one by one: it draws random numbers, which trials computed" in caplog.text
    for one, other in zip(found, expected, strict=True):
        assert one.evaluations[-1].metric == other.evaluations[-1].metric


def test_a_loss_that_one_trial_has_none_of_is_that_trials_failure(data: Splits) -> None:
    def idle(outputs: Tensor, targets: Tensor, *, strength: float = 1.0) -> Tensor:
        return cross_entropy(outputs if strength else outputs.detach(), targets)

    found = runs(workload(loss=idle), data, draws(3, strength=(1.0, 0.0, 1.0)))
    done = Vectorized().advance(found, 10, NEVER)
    assert [isinstance(one, Failed) for one in done] == [False, True, False]
    assert_same([found[0], found[2]], [alone(workload(), data, 3, 10)[k] for k in (0, 2)])


def test_models_of_which_no_two_are_alike_are_computed_one_by_one(
    data: Splits, caplog: pytest.LogCaptureFixture
) -> None:
    class Scaled(nn.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.scale, self.net = scale, nn.Linear(16, 4).double()

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.net(x) * self.scale
            return y

    def scaled(*, scale: float) -> nn.Module:
        return Scaled(scale)

    values, reasons = draws(5, scale=(0.5, 1.0, 0.7, 0.5, 0.9)), {}  # type: ignore[var-annotated]
    found, expected = (runs(workload(scaled), data, values) for _ in range(2))
    assert Vectorized().advance(found, 20, NEVER) == [True] * 5
    Sequential().advance(expected, 20, NEVER)
    assert_same(found, expected)
    assert [is_stacked(run) for run in found] == [True, False, False, True, False]
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            Vectorized(reasons).advance(runs(workload(scaled), data, values[:3]), 5, NEVER)
    why = "no two trials have models that differ in weights alone (model.scale)"
    assert caplog.messages == [f"points/any/any: trials are computed one by one, as {why}"]


def test_no_more_trials_are_computed_as_one_than_a_pass_has_room_for(data: Splits) -> None:
    for limit, stacks in ((8 * 3, 2), (8, 0), (4, 0)):
        room = MicroBatchSizes(training=MicroBatchSize(limit), evaluation=MicroBatchSize(limit))
        found = runs(workload(), data, draws(5))
        for run in found:
            run.micro_batches, run.evaluator.micro_batch_size, run.alone.micro_batch_size = (
                room,
                room.evaluation,
                room.training,
            )
        engine = Vectorized()
        engine.advance(found, 10, NEVER)
        engine.evaluate(found, full=True)
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


def raced(engine: Engine, of: Workload, live: list[ModelRun]) -> dict[int, TrialResult]:
    numbered = [(Slot(number), run) for number, run in enumerate(live)]
    heat = Heat(RaceRules(of.goal, of.stopping), numbered, engine=engine)
    endings: dict[int, TrialResult] = {}
    while heat.live:
        endings |= {slot.number: ending for slot, ending in heat.round(NEVER)}
    return endings


def assert_same_endings(found: dict[int, TrialResult], expected: dict[int, TrialResult]) -> None:
    assert found.keys() == expected.keys()
    assert {e.outcome for e in expected.values()} >= {"reached", "capped"}
    for number, one in expected.items():
        other = found[number]
        assert (other.outcome, other.reason, other.steps) == (one.outcome, one.reason, one.steps)
        assert (other.steps_to_target, other.steps_lower) == (one.steps_to_target, one.steps_lower)
        assert (other.metric, other.test_metric) == (one.metric, one.test_metric)
        assert other.cost.evaluated_examples == one.cost.evaluated_examples
        assert [(look.step, look.metric) for look in other.evaluations] == [
            (look.step, look.metric) for look in one.evaluations
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
    """In float64, so that rounding is too small to decide which of two passes the goal."""
    usual = momentum().with_goal(0.08)
    study = replace(usual, model=lambda: digits_mlp().double())
    data = Splits(*(replace(s, inputs=s.inputs.double()) for _, s in usual.data().named()))
    values = quasi_random_points(usual.space(batch_size), 16, 1)
    expected, found = (
        raced(engine, study, runs(study, data, values, batch_size))
        for engine in (Sequential(), Vectorized())
    )
    assert_same_endings(found, expected)


def reason(model: Callable[..., nn.Module], data: Splits, devices: int = 1) -> str | None:
    return why_not(workload(model), 8, data, draws(1)[0], [CPU] * devices)


def test_what_cannot_be_computed_as_one_says_why(data: Splits) -> None:
    class Counting(nn.Linear):
        def __init__(self) -> None:
            super().__init__(16, 4)
            self.register_buffer("steps", torch.zeros(()))
            self.double()

        def forward(self, x: Tensor) -> Tensor:
            self.steps += 1
            return super().forward(x)

    class Asking(nn.Linear):
        def __init__(self) -> None:
            super().__init__(16, 4)
            self.double()

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = super().forward(x)
            return y if y.sum() > 0 else -y

    class Normalized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm = nn.Linear(16, 4).double(), GhostBatchNorm2d(4).double()

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.norm(self.linear(x)[..., None, None])
            return y.flatten(1)

    def linear(*, share: float = 0.0) -> nn.Module:
        return nn.Sequential(nn.Linear(16, 4), nn.Dropout(share)).double()

    assert reason(linear, data) is None
    assert reason(linear, data, devices=2) == "2 devices compute each trial"
    assert reason(Normalized, data) == "it normalizes over batches (GhostBatchNorm2d)"
    dropped = reason(lambda: linear(share=0.1), data)
    assert dropped == "torch's own Dropout draws for all at once"
    assert reason(Counting, data) == "its training changes buffers.steps"
    asking = reason(Asking, data)
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


def test_without_memory_for_a_proof_trials_are_computed_one_by_one_until_there_is_some(
    data: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    engine, found = Vectorized(), runs(workload(), data, draws(5))
    with monkeypatch.context() as patched:
        patched.setattr(fitness, "difference", full)
        assert engine.advance(found[:2], 10, NEVER) == [True] * 2
    assert engine.advance(found, 20, NEVER) == [True] * 5
    assert [is_stacked(run) for run in found] == [False] * 2 + [True] * 3
    assert_same(found, alone(workload(), data, 5, 20))
