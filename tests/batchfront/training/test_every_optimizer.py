"""Every optimizer of torch.optim trains as in a loop written by hand, to the bit."""

import inspect
from pathlib import Path

import pytest
import torch
from torch import nn, optim

from batchfront.training.memory import MicroBatchSize, MicroBatchSizes
from batchfront.training.model_run import ModelRun
from tests.batchfront.training.every_optimizer import (
    BATCH_SIZE,
    CASES,
    SEED,
    Case,
    by_hand,
    grouped,
    keywords,
    plain,
    start,
    two_groups,
)

STEPS, CLIP_NORM = 30, 0.5

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_grouped = pytest.mark.parametrize(
    "case", [case for case in CASES if case.groups], ids=lambda case: case.name
)
clipped_or_not = pytest.mark.parametrize("clip_norm", [None, CLIP_NORM], ids=["free", "clipped"])


def assert_equal(run: ModelRun, net: nn.Module) -> None:
    ours, theirs = run.model.state_dict(), net.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_table_has_every_optimizer_that_torch_has() -> None:
    found = {one for one in vars(optim).values() if inspect.isclass(one)}
    found = {one for one in found if issubclass(one, optim.Optimizer)} - {optim.Optimizer}
    missing = found - {case.kind for case in CASES}
    assert not missing, "not in the table of tests/batchfront/training/every_optimizer.py"


@clipped_or_not
@every_case
def test_a_class_trains_as_in_a_loop_by_hand(case: Case, clip_norm: float | None) -> None:
    if clip_norm is not None and not case.clips:
        pytest.skip("torch doesn't clip sparse gradients")
    data = case.data()
    run = start(plain(case, clip_norm=clip_norm), data, case.values)
    run.advance(STEPS)
    made = keywords(case)
    net = by_hand(
        case.model,
        data,
        lambda net: [case.kind(net.parameters(), lr=case.rate, **made)],
        STEPS,
        clip_norm,
    )
    assert_equal(run, net)


@clipped_or_not
@every_grouped
def test_groups_by_name_with_rates_of_their_own_train_as_in_a_loop_by_hand(
    case: Case, clip_norm: float | None
) -> None:
    data, rates = case.data(), {"learning_rate": case.rate, "last_rate": 0.3 * case.rate}
    run = start(grouped(case, clip_norm=clip_norm), data, rates)
    run.advance(STEPS)
    net = by_hand(
        case.model,
        data,
        lambda net: [two_groups(case)(list(net.named_parameters()), **rates)],
        STEPS,
        clip_norm,
    )
    assert_equal(run, net)


@every_case
def test_each_goes_on_from_a_file_bit_for_bit(case: Case, tmp_path: Path) -> None:
    data, workload = case.data(), plain(case)
    whole, first, second = (start(workload, data, case.values) for _ in range(3))
    whole.advance(STEPS)
    first.advance(STEPS // 3)
    torch.save(first.state(), tmp_path / "state.pt")
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    second.advance(STEPS)
    assert_equal(second, whole.model)


@pytest.mark.parametrize("case", [c for c in CASES if c.kind is optim.LBFGS], ids=lambda c: c.name)
def test_closures_are_computed_in_micro_batches_to_the_same_gradient(case: Case) -> None:
    data, sizes = case.data(), MicroBatchSizes(training=MicroBatchSize(3))
    cpu = torch.device("cpu")
    runs = [
        ModelRun(plain(case), data, BATCH_SIZE, case.values, SEED, cpu, memory)
        for memory in (None, sizes)
    ]
    for run in runs:
        run.advance(10)
    cut, uncut = (run.model.state_dict() for run in runs)
    assert sizes.micro_batch(BATCH_SIZE) == 3
    for name in cut:
        torch.testing.assert_close(cut[name], uncut[name], rtol=1e-6, atol=1e-8)
