"""A real Trainer reports its evaluations where its trial has them, and stops where that is over."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from batchfront import Goal, Log
from batchfront.errors import WorkloadError
from batchfront.reporting import TrialEnded
from batchfront.workload.code.loop import loop_code
from batchfront.workload.loop import Loop
from tests.batchfront.integrations.conftest import Recorded

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def transformers() -> ModuleType:
    return pytest.importorskip("transformers", reason="transformers is not installed")


class Points(nn.Module):
    """Two classes of points, and the loss as a Trainer wants it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.layer(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def examples(count: int) -> list[dict[str, torch.Tensor]]:
    x = torch.randn(count, 3, generator=torch.Generator().manual_seed(count))
    return [{"x": row, "labels": label} for row, label in zip(x, (x[:, 0] > 0).long(), strict=True)]


@pytest.fixture
def maker(transformers: ModuleType, tmp_path: Path) -> Callable[..., Callable[..., Any]]:
    """Makes what a user writes."""

    def maker(per_device: int | None = None, **given: Any) -> Callable[..., Any]:
        def make_trainer(*, batch_size: int, learning_rate: float, seed: int) -> Any:
            usual = {"max_steps": 100, "report_to": [], "save_strategy": "no", "use_cpu": True}
            data = {
                "train_dataset": given.pop("train_dataset", examples(60)),
                "eval_dataset": given.pop("eval_dataset", examples(32)),
            }
            arguments = transformers.TrainingArguments(
                output_dir=str(tmp_path),
                per_device_train_batch_size=per_device or batch_size,
                learning_rate=learning_rate,
                seed=seed,
                disable_tqdm=True,
                **{**usual, **given},
            )
            return transformers.Trainer(Points(), arguments, **data)

        return make_trainer

    return maker


def as_loop(make_trainer: Callable[..., Any], metric: str = "eval_loss") -> Loop:
    from batchfront.integrations.transformers import loop

    return loop(
        make_trainer,
        name="points/linear/adamw",
        goal=Goal(metric, 0.1, better="lower"),
        search_space={"learning_rate": Log(1e-3, 0.5)},
        step_budget=100,
        batch_sizes=(8, 16),
    )


def test_a_trainer_evaluates_at_the_grid_s_steps_and_stops_where_its_trial_is_over(
    maker: Callable[..., Any], record: Callable[..., Recorded]
) -> None:
    recorded = record(learning_rate=0.1)
    with pytest.raises(TrialEnded, match="capped"):
        as_loop(maker()).train(recorded.trial)
    assert recorded.steps == [2, 3, 4, 6, 9]  # beyond an epoch, of 8 steps
    values = [value for _, value, _ in recorded.reports]
    assert values == sorted(values, reverse=True)
    assert recorded.trial.unread == set()


@pytest.mark.parametrize(
    "own",
    [
        {"eval_strategy": "steps", "eval_steps": 1, "logging_steps": 1},
        {"eval_strategy": "epoch", "logging_strategy": "epoch"},
        {"eval_strategy": "steps", "eval_steps": 5, "logging_first_step": True},
    ],
)
def test_its_own_evaluations_and_logs_change_nothing(
    maker: Callable[..., Any], record: Callable[..., Recorded], own: dict[str, Any]
) -> None:
    plain, with_own = record(learning_rate=0.1), record(learning_rate=0.1)
    for given, recorded in (({}, plain), (own, with_own)):
        with pytest.raises(TrialEnded):
            as_loop(maker(**given)).train(recorded.trial)
    for one, other in zip(plain.reports, with_own.reports, strict=True):
        assert one == pytest.approx(other, rel=1e-3)  # as a log of version 4 is rounded


def test_a_trial_without_a_grid_is_evaluated_where_the_trainer_does(
    maker: Callable[..., Any], record: Callable[..., Recorded]
) -> None:
    recorded = record(grid=None, last=15, learning_rate=0.1)
    with pytest.raises(TrialEnded):
        as_loop(maker(eval_strategy="steps", eval_steps=5)).train(recorded.trial)
    assert recorded.steps == [5, 10, 15]
    by_epoch = record(grid=None, last=16, learning_rate=0.1)
    with pytest.raises(TrialEnded):
        as_loop(maker(eval_strategy="epoch")).train(by_epoch.trial)
    assert by_epoch.steps == [8, 16]


def test_the_training_loss_is_reported_and_shows_that_training_diverged(
    maker: Callable[..., Any], record: Callable[..., Recorded]
) -> None:
    recorded = record(learning_rate=0.1)
    diverging = examples(60)
    diverging[0]["x"][:] = torch.inf
    with pytest.raises(TrialEnded):
        as_loop(maker(train_dataset=diverging)).train(recorded.trial)
    losses = [loss for _, _, loss in recorded.reports]
    assert None not in losses
    assert not torch.tensor(losses).isfinite().all()


def test_a_trainer_that_ends_by_itself_ends_no_trial(
    maker: Callable[..., Any], record: Callable[..., Recorded]
) -> None:
    recorded = record(learning_rate=0.1)
    as_loop(maker(max_steps=5)).train(recorded.trial)
    assert recorded.steps == [2, 3, 4]


def test_one_of_several_data_sets_has_the_metric(
    maker: Callable[..., Any], record: Callable[..., Recorded]
) -> None:
    recorded = record(learning_rate=0.1)
    both = {"far": examples(16), "near": examples(24)}
    with pytest.raises(TrialEnded):
        as_loop(maker(eval_dataset=both), "eval_near_loss").train(recorded.trial)
    assert recorded.steps == [2, 3, 4, 6, 9]


def test_a_metric_that_no_evaluation_has_is_refused_with_those_there_are(
    maker: Callable[..., Any], record: Callable[..., Recorded]
) -> None:
    with pytest.raises(
        WorkloadError, match=r"at step 2 has no eval_wer, but eval_loss, .*; the goa"
    ):
        as_loop(maker(), "eval_wer").train(record(learning_rate=0.1).trial)


@pytest.mark.parametrize(
    ("per_device", "given", "why"),
    [
        (4, {}, "4 examples per device x 1 accumulated x 1 device = 4, and the study's batch size"),
        (8, {"gradient_accumulation_steps": 2}, "8 examples per device x 2 accumulated x 1 devi"),
        (None, {"auto_find_batch_size": True}, "auto_find_batch_size takes another batch size th"),
    ],
)
def test_another_batch_size_is_refused(
    maker: Callable[..., Any],
    record: Callable[..., Recorded],
    per_device: int | None,
    given: dict[str, Any],
    why: str,
) -> None:
    recorded = record(learning_rate=0.1)
    with pytest.raises(WorkloadError, match=why):
        as_loop(maker(per_device, **given)).train(recorded.trial)
    assert recorded.steps == []


def test_accumulated_micro_batches_are_one_step(
    maker: Callable[..., Any], record: Callable[..., Recorded]
) -> None:
    recorded = record(learning_rate=0.1)
    with pytest.raises(TrialEnded):
        as_loop(maker(2, gradient_accumulation_steps=4)).train(recorded.trial)
    assert recorded.steps == [2, 3, 4, 6, 9]


def test_the_code_of_a_loop_is_that_of_the_user_s_function(maker: Callable[..., Any]) -> None:
    def other(*, batch_size: int) -> None:
        """Another one."""

    here = Path(__file__).name
    assert f"{here}:Points" in loop_code(as_loop(maker()))
    assert loop_code(as_loop(maker())) == loop_code(as_loop(maker()))
    assert loop_code(as_loop(maker())) != loop_code(as_loop(other))
