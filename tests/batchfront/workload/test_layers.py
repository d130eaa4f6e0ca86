"""Layers that act on a batch in the same way however it is cut."""

import pytest
import torch
from torch import Tensor, nn

from batchfront.workload.layers import Dropout, GhostBatchNorm2d, draw_outside_of_graphs
from batchfront.workload.microbatch import MicroBatch, computing, current_micro_batch

SIZES = (1, 3, 32, 50, 100)


def masks(p: float, size: int, *, batch: int = 100, seed: int = 5, features: int = 400) -> Tensor:
    """What two layers in a row multiply ones by, [2, batch, features], in parts of `size`."""
    layers, parts = (Dropout(p), Dropout(p)), []
    for start in range(0, batch, size):
        stop = min(start + size, batch)
        with computing(MicroBatch(start, stop, batch, seed)):
            parts.append(
                torch.stack([layer(torch.ones(stop - start, features)) for layer in layers])
            )
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("batch", [1, 31, 100, 2500])
def test_an_examples_dropout_is_the_same_in_micro_batches_of_any_size(batch: int) -> None:
    whole = masks(0.4, batch, batch=batch, features=3)
    for size in SIZES:
        assert torch.equal(masks(0.4, size, batch=batch, features=3), whole)


@pytest.mark.parametrize("p", [0.001, 0.1, 0.4, 0.9, 0.999])
def test_dropout_drops_that_share_and_keeps_the_mean(p: float) -> None:
    kept = masks(p, 100, features=4000)
    values = kept.unique()
    assert len(values) == 2
    assert values[0] == 0
    assert values[1] == pytest.approx(1 / (1 - p), rel=2e-2 if p > 0.99 else 1e-4)
    deviation = (p * (1 - p) / kept.numel()) ** 0.5
    assert (kept == 0).float().mean().item() == pytest.approx(p, abs=5 * deviation + 2**-17)
    assert kept.mean().item() == pytest.approx(1, abs=5 * deviation / (1 - p) + 1e-2 * p)


def test_steps_layers_and_examples_draw_independently() -> None:
    kept = (masks(0.5, 100) == 0).double()
    layers = kept.flatten(1)
    steps = torch.stack([layers[0], (masks(0.5, 100, seed=6)[0] == 0).double().flatten()])
    neighbours = torch.stack([kept[0, :-1].flatten(), kept[0, 1:].flatten()])
    blocks = torch.stack([kept[0, :32].flatten(), kept[0, 32:64].flatten()])
    for pair in (layers, steps, neighbours, blocks):
        correlation = torch.corrcoef(pair)[0, 1].item()
        assert abs(correlation) < 5 / pair.shape[1] ** 0.5


def test_dropout_of_nothing_and_of_all() -> None:
    assert torch.equal(masks(0.0, 7), torch.ones(2, 100, 400))
    assert torch.equal(masks(1e-9, 7), torch.ones(2, 100, 400))
    assert torch.equal(masks(1.0, 7), torch.zeros(2, 100, 400))


def test_the_first_axis_may_be_the_batchs_and_others_flattened() -> None:
    x = torch.ones(6, 5, 4)
    with computing(MicroBatch(2, 8, 8, 1)):
        apart = Dropout(0.5)(x)
    with computing(MicroBatch(2, 8, 8, 1)):
        flat = Dropout(0.5)(x.flatten(0, 1))
    assert torch.equal(apart.flatten(0, 1), flat)


def test_a_first_axis_that_is_not_the_batchs_is_refused() -> None:
    with (
        computing(MicroBatch(0, 6, 6, 1)),
        pytest.raises(ValueError, match=r"in a micro-batch of 6 examples: the first axis"),
    ):
        Dropout(0.5)(torch.ones(5, 6))


def test_outside_of_training_dropout_is_torchs() -> None:
    layer, x = Dropout(0.5), torch.ones(50)
    torch.manual_seed(3)
    mine = layer(x)
    torch.manual_seed(3)
    assert torch.equal(mine, nn.Dropout(0.5)(x))
    with computing(MicroBatch(0, 50, 50, 1)):
        assert torch.equal(layer.eval()(x), x)


def test_dropout_passes_gradients_where_it_keeps() -> None:
    x = torch.randn(8, 9, dtype=torch.float64, requires_grad=True)
    with computing(MicroBatch(0, 8, 8, 1)):
        out = Dropout(0.5)(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, out.detach() / x.detach())


def test_a_pass_is_known_while_it_lasts_and_draws_are_counted_in_it() -> None:
    assert current_micro_batch() is None
    part = MicroBatch(0, 4, 8, 1)
    with computing(part):
        assert current_micro_batch() is part
        with pytest.raises(KeyError), computing(MicroBatch(4, 8, 8, 1)):
            raise KeyError
        assert current_micro_batch() is part
        assert [part.next_draw() for _ in range(3)] == [0, 1, 2]
    assert current_micro_batch() is None
    assert MicroBatch(0, 4, 8, 1).next_draw() == 0


def ghost(x: Tensor, size: int, layer: GhostBatchNorm2d) -> Tensor:
    parts = []
    for start in range(0, len(x), size):
        stop = min(start + size, len(x))
        with computing(MicroBatch(start, stop, len(x), 1)):
            parts.append(layer(x[start:stop]))
    return torch.cat(parts)


@pytest.mark.parametrize("batch", [3, 4, 10, 16])
def test_a_batchs_groups_and_running_means_are_the_same_however_it_is_cut(batch: int) -> None:
    x = torch.randn(batch, 2, 3, 5, dtype=torch.float64) * 3 + 1
    layers = [GhostBatchNorm2d(2, ghost_size=4).double() for _ in range(3)]
    found = []
    for layer, size in zip(layers, (batch, 4, 8), strict=True):
        for factor in (1, 2):  # two batches, so that running means run
            found.append(ghost(x * factor, size, layer))
            layer.commit()
    for other in (2, 4):
        assert torch.equal(found[0], found[other])
        assert torch.equal(found[1], found[other + 1])
    for layer in layers[1:]:
        assert torch.equal(layer.running_mean, layers[0].running_mean)
        assert torch.equal(layer.running_var, layers[0].running_var)


def test_each_group_is_normalized_as_torch_does_and_running_means_are_over_groups() -> None:
    x = torch.randn(10, 2, 3, 5, dtype=torch.float64)
    layer, groups = GhostBatchNorm2d(2, ghost_size=4).double(), x.split(4)  # type: ignore[no-untyped-call]
    plain = [nn.BatchNorm2d(2, momentum=1.0).double() for _ in groups]
    expected = [norm(group) for norm, group in zip(plain, groups, strict=True)]
    assert torch.allclose(layer(x), torch.cat(expected), atol=1e-12)
    mean = sum(n.running_mean * len(g) for n, g in zip(plain, groups, strict=True)) / len(x)  # type: ignore[operator]
    assert torch.allclose(layer.running_mean, 0.1 * mean, atol=1e-12)


def test_discarded_passes_leave_no_trace_in_the_running_means() -> None:
    x = torch.randn(8, 2, 3, 5)
    tried, once = GhostBatchNorm2d(2, ghost_size=4), GhostBatchNorm2d(2, ghost_size=4)
    with computing(MicroBatch(0, 4, 8, 1)):
        tried(100 * x[:4])
    tried.discard()
    for layer in (tried, once):
        ghost(x, 4, layer)
        layer.commit()
    assert torch.equal(tried.running_mean, once.running_mean)
    assert torch.equal(tried.running_var, once.running_var)


def test_a_pass_that_cuts_a_group_is_refused() -> None:
    with (
        computing(MicroBatch(2, 4, 8, 1)),
        pytest.raises(ValueError, match="starts at example 2 of its batch cuts a group of 4"),
    ):
        GhostBatchNorm2d(2, ghost_size=4)(torch.randn(2, 2, 3, 3))


def test_evaluation_normalizes_by_running_means_one_example_like_many() -> None:
    layer, x = GhostBatchNorm2d(2, ghost_size=4), torch.randn(8, 2, 3, 5)
    for _ in range(3):
        layer(x)
    layer.eval()
    assert torch.allclose(layer(x)[:1], layer(x[:1]), atol=1e-6)
    assert "_mean" not in layer.state_dict()
    assert layer.state_dict().keys() == {"weight", "bias", "running_mean", "running_var"}


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("train", [True, False])
def test_compiled_they_do_the_same(train: bool) -> None:
    def made() -> nn.Module:
        torch.manual_seed(2)
        return nn.Sequential(nn.Conv2d(1, 2, 3), GhostBatchNorm2d(2, 4), Dropout(0.5)).train(train)

    plain, other = made(), made()
    draw_outside_of_graphs()
    compiled = torch.compile(other, backend="eager")
    x = torch.randn(10, 1, 5, 5)
    for step in range(3):
        for start in (0, 8):
            stop = min(start + 8, 10)
            with computing(MicroBatch(start, stop, 10, step)):
                expected = plain(x[start:stop])
            with computing(MicroBatch(start, stop, 10, step)):
                assert torch.equal(compiled(x[start:stop]), expected)
        for model in (plain, other):
            model[1].commit()  # type: ignore[operator]
    assert plain.state_dict().keys() == other.state_dict().keys()
    for mine, theirs in zip(plain.buffers(), other.buffers(), strict=True):
        assert torch.equal(mine, theirs)
    torch.compiler.reset()
