"""The language models' workloads: the paper's batch sizes and goals, and that they train."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from batchfront.exchange.batch_science.goals import goal_of
from batchfront.training.memory import MicroBatchSize, MicroBatchSizes
from batchfront.training.model_run import ModelRun
from batchfront.training.preflight.checks import check
from batchfront.workload.catalog import load
from batchfront.workload.data import Splits
from batchfront.workload.losses import token_cross_entropy
from batchfront.workload.metrics import NO_TARGET, TOKEN_CROSS_ENTROPY, token_count
from batchfront.workload.search_space import Log, ReverseLog, quasi_random_points
from batchfront.workload.workload import Workload
from batchfront_studies import books, common_crawl, lm1b
from batchfront_studies.datasets.common_crawl import common_crawl as crawled
from batchfront_studies.datasets.lm1b import ANY
from batchfront_studies.datasets.lm1b import lm1b as news
from batchfront_studies.models.lstm import LSTM
from batchfront_studies.models.transformer import Size, Transformer
from tests.batchfront_studies.small_data.common_crawl import SMALL as SMALL_CRAWL
from tests.batchfront_studies.small_data.common_crawl import write_common_crawl
from tests.batchfront_studies.small_data.lm1b import SMALL, write_lm1b

PAPERS = sorted([*lm1b.workloads(), *common_crawl.workloads()])
OURS = sorted(books.workloads())
POWERS = [2**k for k in range(4, 16)]
CPU = torch.device("cpu")

BATCH_SIZES = {
    "common_crawl/transformer_base/nesterov_momentum": [32, 64, 256, 1024, 4096, 16384],
    "lm1b/lstm/nesterov_momentum": [16, 64, 256, 1024, 4096, 16384, 32768],
    "lm1b/transformer_base/nesterov_momentum": POWERS,
    "lm1b/transformer_narrow_and_shallow/nesterov_momentum": POWERS,
    "lm1b/transformer_shallow/momentum": [32, 128, 512, 2048, 8192, 32768],
    "lm1b/transformer_shallow/nesterov_momentum": POWERS,
    "lm1b/transformer_shallow/sgd": [32, 128, 512, 2048, 8192],
    "lm1b/transformer_wide/nesterov_momentum": POWERS,
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data directory, with both small corpora."""
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(tmp_path))
    write_lm1b(tmp_path)
    write_common_crawl(tmp_path)
    return tmp_path


def on_small_data(name: str) -> Workload:
    """A workload of the catalog on a small corpus, its model and all else as it is."""
    small = partial(crawled, SMALL_CRAWL) if name.startswith("common") else partial(news, SMALL)
    return replace(load(name), data=partial(small, tokens=400))


def test_the_catalog_holds_the_papers_language_models_with_its_batch_sizes() -> None:
    assert {name: list(load(name).batch_sizes) for name in PAPERS} == BATCH_SIZES


@pytest.mark.parametrize("name", [*PAPERS, *OURS])
def test_a_workload_is_called_what_the_catalog_calls_it_and_fits_together(name: str) -> None:
    workload = load(name)
    assert workload.name == name
    assert name.endswith(f"/{workload.algorithm.name}")
    assert "\n" not in workload.description
    assert (workload.loss, workload.weight) == (token_cross_entropy, token_count)
    assert workload.goal.metric == TOKEN_CROSS_ENTROPY
    for batch_size in workload.batch_sizes:
        assert workload.steps_allowed(batch_size) >= 3000
        momentum = [] if name.endswith("/sgd") else ["momentum"]
        momentum = ["beta1"] if name.endswith("/adamw") else momentum
        assert workload.searched(batch_size) == ["learning_rate", *momentum]


@pytest.mark.parametrize("name", PAPERS)
def test_the_goal_is_that_of_the_same_workload_measured_elsewhere(name: str) -> None:
    workload = load(name)
    assert workload.goal.value == 3.9
    assert goal_of(name, name, ()).described() == workload.describe()["goal"]


def test_what_is_not_from_the_paper_says_so() -> None:
    for name in [*PAPERS, *OURS]:
        assert ("ours" in load(name).description) == (name != "lm1b/lstm/nesterov_momentum")
        other = any(part in name for part in ("shallow", "wide"))
        assert ("goal ours" in load(name).description) == other


def test_learning_rates_rise_with_the_root_of_the_batch_size_and_momentum_is_reverse_log() -> None:
    workload = load("lm1b/transformer_base/nesterov_momentum")
    small, large = workload.space(256), workload.space(4096)
    assert small == {"learning_rate": Log(1e-4, 1.0), "momentum": ReverseLog(0.9, 0.9999)}
    assert large == {"learning_rate": Log(4e-4, 4.0), "momentum": ReverseLog(0.9, 0.9999)}


@pytest.mark.parametrize(
    "name",
    [
        "lm1b/lstm/nesterov_momentum",
        "lm1b/transformer_base/nesterov_momentum",
        "lm1b/transformer_shallow/sgd",
    ],
)
def test_a_model_of_full_size_takes_a_step_on_its_data(root: Path, name: str) -> None:
    workload = on_small_data(name)
    splits, values = workload.data(), quasi_random_points(workload.space(32), 1, seed=0)[0]
    torch.manual_seed(0)
    model = workload.model()
    optimizer = workload.algorithm.start(model, values)
    inputs, targets = splits.train.batch(splits.train.weights(token_count).argsort()[:2])
    before = next(model.parameters())[:9].clone()
    loss = workload.loss(model(inputs), targets)
    assert math.log(32_000) - 1 < loss.item() < math.log(32_000) + 4
    loss.backward()
    optimizer.step(float(values["learning_rate"]))
    assert not torch.equal(next(model.parameters())[:9], before)


def in_double(kind: str) -> nn.Module:
    made = {
        "transformer": lambda: Transformer(Size(2, 16, 4, 32), 400, 64),
        "lstm": lambda: LSTM(400, embedding=12, hidden=16, projection=8),
    }
    return made[kind]().double()


def run(kind: str, splits: Splits, micro_batches: MicroBatchSizes) -> ModelRun:
    workload = load("lm1b/lstm/nesterov_momentum")
    values = {"learning_rate": 0.3, "momentum": 0.9}
    made = replace(workload, model=partial(in_double, kind))
    return ModelRun(made, splits, 16, values, 3, CPU, micro_batches)


@pytest.mark.parametrize("size", [1, 5, 8])
@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_a_batch_in_micro_batches_of_any_size_has_the_same_gradient(
    root: Path, kind: str, size: int
) -> None:
    splits = on_small_data("lm1b/lstm/nesterov_momentum").data()
    whole, parts = (
        run(kind, splits, MicroBatchSizes()),
        run(kind, splits, MicroBatchSizes(MicroBatchSize(size))),
    )
    indices = torch.arange(16)
    whole.gradient.of(0, indices)
    parts.gradient.of(0, indices)
    for mine, theirs in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=0, atol=1e-10)


def test_the_goal_is_a_mean_over_all_tokens_of_the_validation_set(root: Path) -> None:
    splits = on_small_data("lm1b/lstm/nesterov_momentum").data()
    trial = run("transformer", splits, MicroBatchSizes(evaluation=MicroBatchSize(7)))
    total = tokens = 0.0
    for number in range(len(splits.validation)):
        inputs, targets = splits.validation.batch(torch.tensor([number]))
        chances = trial.model(inputs)[0].log_softmax(dim=1)
        for place, token in enumerate(targets[0].tolist()):
            if token != NO_TARGET:
                total -= chances[place, token].item()
                tokens += 1
    assert trial.evaluate(full=True).value == pytest.approx(total / tokens, rel=1e-6)


def test_the_tiny_transformer_learns_any_text_in_the_layout(root: Path) -> None:
    workload = replace(
        load("books/transformer_tiny/momentum"), data=partial(news, ANY, 1_000, 32, 250, "books")
    )
    checked = check(workload, [16])
    assert checked.identity_parts["data"]["train"]["examples"] == 200
    trial = ModelRun(workload, checked.splits, 16, {"learning_rate": 0.1, "momentum": 0.9}, 0, CPU)
    assert trial.advance(80)
    found = trial.evaluate(full=True).value
    assert found is not None
    assert workload.goal.passed(found)
    assert trial.untrained_loss == pytest.approx(math.log(1_000), abs=1.0)
