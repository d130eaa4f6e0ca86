"""A real Lightning Trainer reports its validations, and stops where its trial is over."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from batchfront import Goal, Log
from batchfront.errors import WorkloadError
from batchfront.reporting import TrialEnded
from batchfront.workload.loop import Loop
from tests.batchfront.integrations.conftest import Recorded

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("default")]


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def lightning(request: pytest.FixtureRequest) -> Any:
    """Either name that Lightning is known by; the callback is the same."""
    return pytest.importorskip(request.param, reason=f"{request.param} is not installed")


def points(count: int) -> TensorDataset:
    x = torch.randn(count, 3, generator=torch.Generator().manual_seed(count))
    return TensorDataset(x, (x[:, 0] > 0).long())


class Endless(IterableDataset[Any]):
    """Examples without a length."""

    def __iter__(self) -> Any:
        while True:
            yield from points(60)


def module(lightning: Any, learning_rate: float, *, by_hand: bool = False) -> Any:
    class Classifier(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(3, 2)
            self.automatic_optimization = not by_hand

        def training_step(self, batch: Any, _: int) -> Any:
            loss = nn.functional.cross_entropy(self.layer(batch[0]), batch[1])
            if by_hand:
                for optimizer in self.optimizers():
                    optimizer.zero_grad()
                    self.manual_backward(loss, retain_graph=True)
                    optimizer.step()
            return loss

        def validation_step(self, batch: Any, _: int) -> None:
            self.log("val_loss", nn.functional.cross_entropy(self.layer(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            made = [
                torch.optim.SGD(each, learning_rate)
                for each in ([self.layer.weight], [self.layer.bias])
            ]
            return made if by_hand else torch.optim.SGD(self.parameters(), learning_rate)

    return Classifier()


@pytest.fixture
def maker(lightning: Any) -> Callable[..., Callable[..., Any]]:
    """Makes what a user writes."""

    def maker(
        per_device: int | None = None, *, by_hand: bool = False, data: Any = None, **given: Any
    ) -> Callable[..., Any]:
        def make(*, batch_size: int, learning_rate: float) -> Any:
            usual = {"max_steps": 100, "accelerator": "cpu", "logger": False}
            quiet = {"enable_progress_bar": False, "enable_model_summary": False}
            trainer = lightning.Trainer(enable_checkpointing=False, **{**usual, **quiet, **given})
            train = DataLoader(points(60) if data is None else data, per_device or batch_size)
            held_out = DataLoader(points(32), 16)
            return trainer, module(lightning, learning_rate, by_hand=by_hand), train, held_out

        return make

    return maker


def as_loop(make: Callable[..., Any], metric: str = "val_loss") -> Loop:
    from batchfront.integrations.lightning import loop

    return loop(
        make,
        name="points/linear/sgd",
        goal=Goal(metric, 0.1, better="lower"),
        search_space={"learning_rate": Log(1e-3, 0.5)},
        step_budget=100,
        batch_sizes=(8, 16),
    )


def test_a_trainer_validates_at_the_grid_s_steps_and_stops_where_its_trial_is_over(
    maker: Callable[..., Any], record: Callable[..., Recorded]
) -> None:
    recorded = record(learning_rate=0.3)
    with pytest.raises(TrialEnded, match="capped"):
        as_loop(maker()).train(recorded.trial)
    assert recorded.steps == [2, 3, 4, 6, 9]  # beyond an epoch, of 8 steps
    values = [value for _, value, _ in recorded.reports]
    assert values == sorted(values, reverse=True)
    assert recorded.trial.unread == set()


@pytest.mark.parametrize(
    "own",
    [
        {"val_check_interval": 1},
        {"val_check_interval": 3, "check_val_every_n_epoch": None},
        {"check_val_every_n_epoch": 5},
        {"num_sanity_val_steps": 0, "limit_train_batches": 3},
        {"data": Endless()},
    ],
)
def test_its_own_validations_change_nothing(
    maker: Callable[..., Any], record: Callable[..., Recorded], own: dict[str, Any]
) -> None:
    recorded = record(learning_rate=0.3)
    with pytest.raises(TrialEnded):
        as_loop(maker(**own)).train(recorded.trial)
    assert recorded.steps == [2, 3, 4, 6, 9]


def test_a_trial_without_a_grid_is_evaluated_where_the_trainer_validates(
    maker: Callable[..., Any], record: Callable[..., Recorded]
) -> None:
    recorded = record(grid=None, last=16, learning_rate=0.3)
    with pytest.raises(TrialEnded):
        as_loop(maker(val_check_interval=4)).train(recorded.trial)
    assert recorded.steps == [4, 8, 12, 16]


def test_accumulated_micro_batches_are_one_step_and_their_loss_is_the_batch_s(
    maker: Callable[..., Any], record: Callable[..., Recorded]
) -> None:
    whole, cut = record(learning_rate=0.3), record(learning_rate=0.3)
    for recorded, made in ((whole, maker()), (cut, maker(2, accumulate_grad_batches=4))):
        with pytest.raises(TrialEnded):
            as_loop(made).train(recorded.trial)
    assert cut.steps == [2, 3, 4, 6, 9]
    for one, other in zip(whole.reports[:3], cut.reports[:3], strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_a_module_that_optimizes_by_hand_counts_batches(
    maker: Callable[..., Any], record: Callable[..., Recorded]
) -> None:
    recorded = record(learning_rate=0.3)
    with pytest.raises(TrialEnded):
        as_loop(maker(by_hand=True)).train(recorded.trial)
    assert recorded.steps == [2, 3, 4, 6, 9]


def test_a_metric_that_no_validation_logs_is_refused_with_those_there_are(
    maker: Callable[..., Any], record: Callable[..., Recorded]
) -> None:
    with pytest.raises(
        WorkloadError, match="at step 2 has no val_wer, but val_loss; the goal's met"
    ):
        as_loop(maker(), "val_wer").train(record(learning_rate=0.3).trial)


def test_another_batch_size_is_refused_with_the_three_numbers(
    maker: Callable[..., Any], record: Callable[..., Recorded]
) -> None:
    with pytest.raises(WorkloadError, match="2 examples per device x 2 accumulated x 1 device = 4"):
        as_loop(maker(2, accumulate_grad_batches=2)).train(record(learning_rate=0.3).trial)
