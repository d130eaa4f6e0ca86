"""What an example counts in an evaluation depends on that example alone."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchfront.errors import WorkloadError
from batchfront.training.preflight.checks import check
from batchfront.workload.data import Split, Splits
from batchfront.workload.goal import Goal
from batchfront.workload.metrics import Metric
from tests.zoo import ZOO
from tests.zoo.cases import mlp, plain, points
from tests.zoo.models import Through


def through(change: Callable[[nn.Module, Tensor], Tensor]) -> type[nn.Module]:
    class Changed(Through):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            return change(self, super().forward(x))

    return Changed


def by_batch(x: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, training=True)


def unmoved() -> nn.Module:
    norm = nn.BatchNorm1d(16, track_running_stats=False)
    return nn.Sequential(nn.Linear(8, 16), norm, nn.Linear(16, 3))


def counting(model: nn.Module, y: Tensor) -> Tensor:
    model.seen += 1
    return y


def taking_turns() -> Callable[[nn.Module, Tensor], Tensor]:
    calls = count()
    return lambda _, y: y * (1 + next(calls) % 5)


def ranked(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.max(1).values.argsort().argsort() / len(targets)


def skipping(outputs: Tensor, targets: Tensor) -> Tensor:
    wrong = (outputs.argmax(1) != targets).float()
    return wrong - wrong.mean() / 2


MIXED: dict[str, tuple[dict[str, Any], str]] = {
    "functional batch normalization": (
        {"model": through(lambda _, y: by_batch(y))},
        "outputs for one example depend on those evaluated with it",
    ),
    "batch normalization without running means": (
        {"model": unmoved},
        "outputs for one example depend on those evaluated with it",
    ),
    "a softmax over the batch": (
        {"model": through(lambda _, y: y.softmax(0))},
        "outputs for one example depend on those evaluated with it",
    ),
    "the largest of the batch": (
        {"model": through(lambda _, y: y / y.abs().max())},
        "outputs for one example depend on those evaluated with it",
    ),
    "a mean of the batch beside a class that is ruled out": (
        {"model": through(lambda _, y: F.pad(y - y.mean(0), (0, 1), value=-torch.inf))},
        "outputs for one example depend on those evaluated with it",
    ),
    "a branch of large outputs": (
        {"model": through(lambda _, y: y if y.abs().max() < 3 else y / 2)},
        "outputs for one example depend on those evaluated with it",
    ),
    "a place in the batch": (
        {"model": through(lambda _, y: y + torch.arange(len(y))[:, None])},
        "outputs for one example depend on those evaluated with it",
    ),
    "a buffer that moves": (
        {"model": through(counting)},
        "evaluation changes the model's buffer seen; .*if self.training",
    ),
    "a count of calls": (
        {"model": through(taking_turns())},
        "gives the same examples other outputs when it is asked again; .*if self.training",
    ),
    "a rank as the metric": (
        {"goal": Goal(Metric("rank", ranked, "lower", high=1.0), 0.01)},
        "the goal's rank gives an example another number beside other examples",
    ),
    "a metric less its mean": (
        {"goal": Goal(Metric("wrong", skipping, "lower", low=-1, high=1.0), 0.01)},
        "the goal's wrong gives an example another number beside other examples",
    ),
}


@pytest.mark.parametrize("kind", MIXED)
def test_an_evaluation_that_depends_on_what_is_evaluated_together_is_refused(kind: str) -> None:
    changes, said = MIXED[kind]
    with pytest.raises(WorkloadError, match=said):
        check(plain("mixed", **changes), [8])


def test_padding_that_a_model_counts_is_refused_and_one_that_it_masks_is_not() -> None:
    padded = next(case.workload for case in ZOO if case.name == "padded_to_longest")
    with pytest.raises(WorkloadError, match="outputs for one example depend"):
        check(padded, [8])

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(20, 8, padding_idx=0), nn.Linear(8, 2)

        def forward(self, tokens: Tensor) -> Tensor:
            y: Tensor = self.head(self.embedding(tokens).sum(1))
            return y

    assert check(plain("masked", data=padded.data, model=Masked), [8]).whole is None


@pytest.mark.parametrize(
    "model",
    [
        lambda: nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 3)),
        through(lambda _, y: F.dropout(y, 0.3, training=True)),  # drawn at every evaluation
        through(lambda _, y: y * 0),  # where all outputs are alike
    ],
)
def test_what_is_each_examples_own_in_evaluation_is_let_be(model: Callable[[], nn.Module]) -> None:
    check(plain("own", model=model), [8])


def test_a_metric_of_tokens_is_that_of_each_sentence() -> None:
    tokens = next(case.workload for case in ZOO if case.name == "tokens")
    check(tokens, [8])


def test_a_split_smaller_than_what_is_tried_is_enough() -> None:
    inputs, targets = points(20)
    few = Splits(Split(inputs[:17], targets[:17]), Split(inputs[17:], targets[17:]))
    check(plain("few", data=lambda: few, model=mlp), [8])
