"""ResNet-50 and VGG-11: their parameters, and that a batch in micro_batches stays one batch."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet50, vgg11

from batchfront.workload.layers import Dropout, GhostBatchNorm2d
from batchfront.workload.losses import cross_entropy
from batchfront.workload.microbatch import MicroBatch, computing
from batchfront_studies.models import vgg_11 as vgg_11_module
from batchfront_studies.models.resnet_50 import PreActivation, resnet_50
from batchfront_studies.models.vgg_11 import vgg_11


def made(model: Callable[[], nn.Module]) -> nn.Module:
    """With shapes alone, which takes no memory."""
    with torch.device("meta"):
        return model()


def parameters(model: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...]) -> int:
    layers = [m for m in model.modules() if isinstance(m, kind)]
    return sum(p.numel() for layer in layers for p in layer.parameters(recurse=False))


def test_vgg_11_is_torchvisions_with_the_published_132863336_parameters() -> None:
    ours, theirs = made(vgg_11), made(vgg11)
    assert sum(p.numel() for p in ours.parameters()) == 132_863_336
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
    assert [m.p for m in ours.modules() if isinstance(m, Dropout)] == [0.5, 0.5]


def test_resnet_50_differs_from_torchvisions_25557032_parameters_by_normalization_alone() -> None:
    ours, theirs = made(resnet_50), made(resnet50)
    assert sum(p.numel() for p in theirs.parameters()) == 25_557_032
    assert sum(p.numel() for p in ours.parameters()) == 25_549_352
    weights = (nn.Conv2d, nn.Linear)
    assert parameters(ours, weights) == parameters(theirs, weights)
    # Of what comes in, not of what goes out: of the blocks' last layers, but of no projection.
    difference = parameters(theirs, nn.BatchNorm2d) - parameters(ours, GhostBatchNorm2d)
    assert difference == 7_680


def test_all_normalization_of_resnet_50_is_over_ghosts_of_32() -> None:
    model = made(resnet_50)
    layers = [m for m in model.modules() if isinstance(m, GhostBatchNorm2d)]
    assert len(layers) == 3 * 16 + 1
    assert {layer.ghost_size for layer in layers} == {32}
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert sum(isinstance(m, PreActivation) for m in model.modules()) == 16


def test_a_block_adds_to_what_comes_in_and_normalizes_before_it_convolves() -> None:
    block = PreActivation(256, 64, norm_layer=GhostBatchNorm2d)
    x = torch.randn(2, 256, 4, 4) + 5
    nn.init.zeros_(block.conv3.weight)
    torch.testing.assert_close(block(x), x)  # neither normalized nor cut at 0
    narrower = nn.Sequential(nn.Conv2d(256, 64, 1, stride=2), GhostBatchNorm2d(64))
    block = PreActivation(256, 16, stride=2, downsample=narrower, norm_layer=GhostBatchNorm2d)
    nn.init.zeros_(block.conv3.weight)
    expected = narrower[0](block.norm1(x).relu())
    torch.testing.assert_close(block(x), expected)


def gradient(model: nn.Module, inputs: Tensor, targets: Tensor, size: int) -> list[Tensor]:
    """Of the mean loss of a batch, computed in micro_batches of `size` examples."""
    model.zero_grad()
    for start in range(0, len(inputs), size):
        part = slice(start, min(start + size, len(inputs)))
        with computing(MicroBatch(part.start, part.stop, len(inputs), seed=5)):
            loss = cross_entropy(model(inputs[part]), targets[part], label_smoothing=0.1)
            (loss * (part.stop - part.start) / len(inputs)).backward()  # type: ignore[no-untyped-call]
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def check_passes(model: nn.Module, examples: int, side: int, size: int) -> None:
    model.double().train()
    inputs = torch.randn(examples, 3, side, side, dtype=torch.float64)
    targets = torch.arange(examples) % 10
    expected = gradient(model, inputs, targets, examples)
    assert len(expected) == len(list(model.parameters()))
    for found, wanted in zip(gradient(model, inputs, targets, size), expected, strict=True):
        assert (found - wanted).abs().max() <= 1e-10 * max(1.0, float(wanted.abs().max()))


def test_resnet_50s_gradient_is_the_same_in_micro_batches_to_1e_10() -> None:
    torch.manual_seed(0)
    check_passes(resnet_50(10), 40, side=16, size=32)


def test_vgg_11s_gradient_is_the_same_in_micro_batches_to_1e_10_dropout_included(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vgg_11_module, "HIDDEN", 64)  # for most of its parameters are there
    torch.manual_seed(0)
    model = vgg_11(10)
    assert model.eval()(torch.rand(1, 3, 40, 32)).shape == (1, 10)
    check_passes(model, 5, side=32, size=2)
