"""A batch in parts is the same batch, or its workload is said to be one of whole batches."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchfront.errors import BatchfrontError, WorkloadError
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import slots
from batchfront.store.url import Storage
from batchfront.training.memory import MicroBatchSize, MicroBatchSizes
from batchfront.training.model_run import ModelRun
from batchfront.training.preflight.checks import check
from batchfront.training.preflight.parts import why_whole
from batchfront.training.preflight.rounding import close
from batchfront.training.preflight.varied import varied
from batchfront.workload.algorithm import chosen
from batchfront.workload.data import Part, Split, Splits
from batchfront.workload.data_order import DataOrder
from batchfront.workload.execution import Execution
from batchfront.workload.goal import Goal
from batchfront.workload.layers import Dropout, GhostBatchNorm2d
from batchfront.workload.metrics import MEAN_SQUARED_ERROR, Metric
from batchfront.workload.search_space import Choice, Log, point_at
from batchfront.workload.workload import Workload
from tests.zoo import ZOO, Case
from tests.zoo.cases import mlp, plain, points

CPU = torch.device("cpu")
DRAWN = {"torch_dropout", "rrelu", "noisy", "noisy_loss"}
"""The same in parts but for the numbers that torch draws: other ones, of the same kind."""

REFUSED = {"one_of_two", "warming_loss", "padded_to_longest"}
"""What depends on other trials, or on what is evaluated together."""


def middle(workload: Workload) -> dict[str, Any]:
    return dict(point_at(workload.space(8), [0.5] * len(workload.searched(8))))


def whole(workload: Workload) -> str | None:
    """Why its batches are whole, at the middle of its search space."""
    values = middle(workload)
    torch.manual_seed(0)
    model = workload.model(**chosen(workload.model, values))
    return why_whole(workload, model, varied(workload.data().train), values)


def trained(workload: Workload, part: int | None) -> dict[str, Tensor]:
    """Weights and buffers after five steps whose batches are computed in parts."""
    micro_batches = MicroBatchSizes(MicroBatchSize(part), MicroBatchSize())
    np.random.seed(0)
    run = ModelRun(workload, workload.data(), 8, middle(workload), 3, CPU, micro_batches)
    run.advance(5)
    return dict(run.model.state_dict())


@pytest.mark.parametrize("case", ZOO, ids=[case.name for case in ZOO])
def test_a_batch_of_the_zoo_is_the_same_in_parts_or_said_to_be_whole(case: Case) -> None:
    if case.name in REFUSED:
        with pytest.raises(WorkloadError):
            check(case.workload, case.workload.batch_sizes)
        return
    assert (whole(case.workload) is None) == (case.parts or case.name in DRAWN)
    if case.parts:
        at_once = trained(case.workload, None)
        for part in (1, 3, 5):
            size = 8 if case.name == "ghost_batch_norm" else part  # a group isn't cut
            assert close(at_once, trained(case.workload, size)), part


CLASSES = torch.tensor([1.0, 1.0, 20.0])


def weighted(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, weight=CLASSES)


def centred(x: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, training=True)


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(centred(x) if self.training else x)
        return y


def by_hand(outputs: Tensor, targets: Tensor) -> Tensor:
    """Divides by the number that its author trains with."""
    return F.cross_entropy(outputs, targets, reduction="sum") / 8


def pairs(outputs: Tensor, targets: Tensor) -> Tensor:
    distances = torch.cdist(outputs, outputs)
    return (distances * (targets[:, None] == targets)).mean() + F.cross_entropy(outputs, targets)


def rarely(outputs: Tensor, targets: Tensor) -> Tensor:
    """Counts the third class, which one example in sixty is of, five times."""
    return F.cross_entropy(outputs, targets, weight=torch.tensor([1.0, 1.0, 5.0]))


def rare() -> Splits:
    inputs, targets = points(600)
    targets = targets % 2
    targets[::60] = 2
    return Splits(Split(inputs[:400], targets[:400]), Split(inputs[400:], targets[400:]))


def slightly(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets) + 1e-3 * outputs.std(0).sum()


def dice(outputs: Tensor, targets: Tensor) -> Tensor:
    shares, wanted = outputs.softmax(1), F.one_hot(targets, 3)
    return 1 - 2 * ((shares * wanted).sum(0) / (shares + wanted).sum(0)).mean()


class DropConnect(nn.Linear):
    """Drops weights, of all examples of a pass at once."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, F.dropout(self.weight, 0.5, self.training), self.bias)


class Mixing(Functional):
    """Mixes each example with another (Zhang et al. 2018)."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(0.8 * x + 0.2 * x[torch.randperm(len(x))] if self.training else x)
        return y


def with_momentum() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


LOSS, MODEL = "a loss that is no mean over the examples", "a model whose outputs for one example"
WHOLE: dict[str, tuple[dict[str, Any], str]] = {
    "class weights": ({"loss": weighted}, LOSS),
    "weights of a class that is rare": ({"loss": rarely, "data": rare}, LOSS),
    "a sum": ({"loss": nn.CrossEntropyLoss(reduction="sum")}, "divide the sum by len"),
    "a division by a batch size of one's own": ({"loss": by_hand}, "divide the sum by len"),
    "pairs": ({"loss": pairs}, LOSS),
    "a little of a mixture": ({"loss": slightly}, LOSS),
    "an overlap of all examples": ({"loss": dice}, LOSS),
    "functional batch normalization": ({"model": Functional}, MODEL),
    "mixed examples": ({"model": Mixing}, MODEL),
    "dropped weights": ({"model": lambda: nn.Sequential(DropConnect(8, 3))}, MODEL),
    "batch normalization": ({"model": with_momentum}, "batch normalization of whole batches"),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_workload_whose_parts_are_another_batch_is_one_of_whole_batches(
    storage: Storage, kind: str
) -> None:
    changes, said = WHOLE[kind]
    workload = plain("whole", **changes)
    planned = plan(storage, "spec", workload, SearchOptions(trials=2))
    (note,) = planned.notes
    assert note.startswith("zoo/whole/sgd: batches are computed whole, on one device, as ")
    assert said in note
    assert "\n" not in note


def test_several_devices_are_refused_before_anything_is_planned(storage: Storage) -> None:
    for changes, said in WHOLE.values():
        with pytest.raises(WorkloadError, match="--devices-per-trial 2 shares every batch") as no:
            plan(storage, "x", plain("w", **changes), SearchOptions(trials=2), devices_per_trial=2)
        assert said in str(no.value)
    with storage.read() as conn:
        assert not conn.execute(slots.select()).all()
    plan(storage, "x", plain("w"), SearchOptions(trials=2), devices_per_trial=2)


def test_what_is_told_to_write_makes_a_loss_one_that_can_be_cut() -> None:
    assert whole(plain("c", loss=weighted, weight=lambda targets: CLASSES[targets])) is None
    tokens = next(case.workload for case in ZOO if case.name == "tokens")
    unweighted = replace(tokens, weight=None)
    assert "weight=token_count" in str(whole(unweighted))
    assert whole(tokens) is None
    summed = nn.CrossEntropyLoss(reduction="sum")
    assert whole(plain("s", loss=lambda o, t: summed(o, t) / len(o))) is None


def test_weights_that_are_none_of_the_losss_are_found_out() -> None:
    assert whole(plain("c", weight=lambda targets: CLASSES[targets])) is not None


def test_what_mixes_at_an_end_of_its_range_alone_is_found() -> None:
    def model(*, norm: str) -> nn.Module:
        return with_momentum() if norm == "batch" else mlp()

    space = {"learning_rate": Log(1e-2, 1.0), "norm": Choice("batch", "none", "no")}
    checked = check(plain("ends", model=model, search_space=space), [8])
    assert checked.whole is not None


class OneByOne(nn.Module):
    """Draws in every way that torch has, for each example."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.3, batch_first=True)
        self.lstm = nn.LSTM(8, 8, num_layers=2, dropout=0.5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x = F.dropout(x, 0.2) + torch.rand(x.shape) * torch.bernoulli(x.sigmoid())
            x = x + torch.rand(len(x), 1) + torch.empty_like(x).exponential_()
            x = F.gumbel_softmax(F.alpha_dropout(x, 0.1, training=True)) + F.rrelu(x, training=True)
            x = x * (torch.rand(len(x), 1) < 0.5)  # stochastic depth, of each by itself
        rows = x[:, None, :].repeat(1, 3, 1)
        y: Tensor = self.net(self.lstm(self.attention(rows, rows, rows)[0])[0].mean(1))
        return y


def test_what_torch_draws_for_each_example_is_no_mixture() -> None:
    assert whole(plain("drawing", model=OneByOne)) is None


def test_a_hard_cut_of_groups_in_training_is_of_no_account() -> None:
    images = next(case.workload.data for case in ZOO if case.name == "cnn")

    def model() -> nn.Module:
        layers = [nn.Conv2d(1, 4, 3), GhostBatchNorm2d(4, ghost_size=32), nn.Flatten()]
        return nn.Sequential(*layers, Dropout(0.2), nn.Linear(144, 3))

    assert whole(plain("ghosts", data=images, model=model)) is None


def test_precision_and_compilation_are_not_what_is_tried() -> None:
    execution = Execution(precision="bfloat16", compile=True)
    assert whole(plain("low", execution=execution)) is None


@pytest.mark.parametrize("batch_sizes", [(33,), (8, 65, 97)])
def test_a_ghost_group_of_one_example_is_refused_with_the_batch_sizes(
    batch_sizes: tuple[int, ...],
) -> None:
    images = next(case.workload.data for case in ZOO if case.name == "cnn")

    def model() -> nn.Module:
        layers = [nn.Conv2d(1, 4, 8), GhostBatchNorm2d(4, ghost_size=32), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(4, 3))

    workload = plain("lone", data=images, model=model)
    sizes = ", ".join(str(size) for size in batch_sizes if size > 32)
    with pytest.raises(WorkloadError, match=f"at batch size {sizes} the last group"):
        check(workload, batch_sizes)
    assert check(workload, (8, 32, 34)).whole is None


def test_batch_normalization_is_refused_where_a_batch_is_of_one_example() -> None:
    with pytest.raises(WorkloadError, match=r"inputs of shape \(1, 8\).*more than 1 value"):
        check(plain("b", model=with_momentum), (1, 8))


def test_batches_of_one_example_are_asked_as_larger_ones_that_a_worker_may_come_to() -> None:
    assert check(plain("one", loss=weighted), (1,)).whole is not None


class Small(nn.Module):
    """Has memory for no more than so many examples."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.room:
            raise torch.OutOfMemoryError(f"no room for {len(x)}")
        return x


def test_a_whole_batch_that_finds_no_room_is_refused_and_never_cut() -> None:
    workload = plain("big", loss=weighted, model=lambda: nn.Sequential(Small(7), mlp()))
    reason = whole(plain("c", loss=weighted))
    micro_batches = MicroBatchSizes(whole=reason)
    splits = workload.data()
    few = Splits(Part(splits.train, torch.arange(40)), splits.validation)
    values = {"learning_rate": 0.1}
    run = ModelRun(workload, few, 8, values, 0, CPU, MicroBatchSizes(evaluation=MicroBatchSize(4)))
    run.advance(1)  # in micro-batches, as nobody says that it must not be
    assert run.micro_batches.micro_batch(8) == 4
    big = ModelRun(workload, few, 7, values, 0, CPU, micro_batches)
    big.order = DataOrder(40, 8, 0, CPU)  # after an untrained loss that found room
    with pytest.raises(WorkloadError, match=r"memory is too small for a batch of 8, and a loss"):
        big.advance(1)
    assert micro_batches.limits == (None, None)
    known = MicroBatchSizes(
        MicroBatchSize(4), whole=reason
    )  # as one has found that knew nothing of it
    whole_run = ModelRun(plain("big", loss=weighted), few, 8, values, 0, CPU, known)
    whole_run.advance(1)
    assert whole_run.micro_batches.micro_batch(8) is None
    assert whole_run.alone.micro_batch_size.limit is None


def test_the_untrained_loss_of_whole_batches_is_that_of_batches_as_they_are_trained_on() -> None:
    workload = plain("s", loss=nn.CrossEntropyLoss(reduction="sum"))
    splits, values = workload.data(), {"learning_rate": 0.1}
    run = ModelRun(
        workload, splits, 8, values, 0, CPU, MicroBatchSizes(whole="a sum can't be split")
    )
    with torch.no_grad():
        inputs, targets = splits.train.batch(torch.arange(180))
        run.model.eval()
        mean = F.cross_entropy(run.model(inputs), targets)
    assert run.untrained_loss == pytest.approx(8 * float(mean), rel=0.05)


# Shapes that broadcast


def column() -> Splits:
    inputs, _ = points()
    return Splits(Split(inputs[:180], inputs[:180, 0]), Split(inputs[180:], inputs[180:, 0]))


def rows() -> Splits:
    inputs, _ = points()
    return Splits(Split(inputs[:180], inputs[:180, :1]), Split(inputs[180:], inputs[180:, :1]))


def one() -> nn.Module:
    return nn.Linear(8, 1)


def flat() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 1), nn.Flatten(0))


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - targets) ** 2).mean()


ANY = Goal(Metric("any", lambda o, t: (o.flatten() - t.flatten()).abs(), "lower"), 1e-4)
CLOSE = Goal(Metric("near", lambda o, t: (o - t).square().mean(1), "lower"), 1e-4)
OURS = Goal(MEAN_SQUARED_ERROR, 1e-4)
FULL = Goal(Metric("near", lambda o, t: (o - t).square(), "lower"), 1e-4)
COLUMN = (
    r"outputs of shape \({0}, 1\) and targets of shape \({0}\), every output against every target, "
    r"to \({0}, {0}\); write targets.unsqueeze\(-1\) or outputs.squeeze\(-1\)"
)


def brought_together(outputs: Tensor, targets: Tensor) -> Tensor:
    return squared(outputs[:, 0], targets)


UNLIKE: dict[str, tuple[dict[str, Any], str]] = {
    "a loss of torch's": (
        {"data": column, "model": one, "loss": F.mse_loss, "goal": ANY},
        "the loss broadcasts " + COLUMN.format(8),
    ),
    "another of torch's": (
        {"data": column, "model": one, "loss": F.l1_loss, "goal": ANY},
        "the loss broadcasts " + COLUMN.format(8),
    ),
    "a loss by hand": (
        {"data": column, "model": one, "loss": squared, "goal": ANY},
        "the loss broadcasts " + COLUMN.format(7),
    ),
    "targets in a column": (
        {"data": rows, "model": flat, "loss": squared, "goal": ANY},
        r"the loss broadcasts .*write outputs.unsqueeze\(-1\) or targets.squeeze\(-1\)",
    ),
    "targets in a column, and a loss of torch's": (
        {"data": rows, "model": flat, "loss": F.smooth_l1_loss, "goal": ANY},
        r"the loss broadcasts .*write outputs.unsqueeze\(-1\)",
    ),
    "a metric by hand": (
        {"data": column, "model": one, "loss": brought_together, "goal": CLOSE},
        "the goal's near broadcasts " + COLUMN.format(24),
    ),
    "a metric of each against each": (
        {"data": column, "model": one, "loss": brought_together, "goal": FULL},
        r"one number per example, shape \(8,\); found shape \(8, 8\)",
    ),
    "a metric of ours": (
        {
            "data": column,
            "model": one,
            "loss": brought_together,
            "goal": Goal(MEAN_SQUARED_ERROR, 1e-4),
        },
        "must have the same shape",
    ),
}


@pytest.mark.parametrize("kind", UNLIKE)
def test_outputs_and_targets_that_torch_would_broadcast_are_refused_before_the_first_step(
    kind: str,
) -> None:
    changes, said = UNLIKE[kind]
    with pytest.raises(BatchfrontError, match=said):
        check(plain("column", **changes), [8])


def test_columns_that_a_loss_brings_together_are_let_be() -> None:
    workload = plain("c", data=column, model=one, loss=brought_together, goal=ANY)
    assert check(workload, [8]).whole is None


class DroppedTokens(nn.Module):
    """The sum, or in training the mean, of a sentence's tokens, some of which are dropped."""

    def __init__(self, *, counting: bool = False) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 8, padding_idx=0), nn.Linear(8, 2)
        self.dropout, self.counting = nn.Dropout(0.5), counting

    def forward(self, tokens: Tensor) -> Tensor:
        kept = self.dropout(self.embedding(tokens))
        counted = self.counting and self.training
        y: Tensor = self.head(kept.mean(1) if counted else kept.sum(1))
        return y


def test_dropout_of_what_is_padded_to_the_longest_can_be_split_unless_the_padding_counts() -> None:
    padded = next(case.workload for case in ZOO if case.name == "padded_to_longest")
    masked = plain("masked", data=padded.data, model=DroppedTokens)
    assert whole(masked) is None
    counting = plain("counting", data=padded.data, model=lambda: DroppedTokens(counting=True))
    assert whole(counting) is not None

    def mixing(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs - outputs.mean(0), targets)

    assert whole(replace(masked, loss=mixing)) is not None
