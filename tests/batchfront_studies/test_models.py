"""Models: their parameters, their shapes, and what their layers promise."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import max_pool2d

from batchfront.workload.catalog import load
from batchfront_studies.datasets.cifar_10 import Sizes, cifar_10
from batchfront_studies.models.fully_connected import fully_connected
from batchfront_studies.models.resnet_8 import Block, resnet_8
from batchfront_studies.models.simple_cnn import WIDTHS, simple_cnn
from tests.batchfront_studies.inputs import batch_for
from tests.batchfront_studies.small_data.cifar_10 import write_cifar_10

PARAMETERS = {
    "digits/mlp/momentum": 4_810,
    "mnist/fc_256/momentum": 203_530,
    "mnist/fc_1024/sgd": 814_090,
    "mnist/fc_1024_1024/sgd": 1_863_690,
    "mnist/fc_1024_1024_1024/sgd": 2_913_290,
    "mnist/fc_64_64_64/sgd": 59_210,
    "mnist/fc_128_128_128/sgd": 134_794,
    "mnist/fc_256_256_256/sgd": 335_114,
    "mnist/fc_512_512_512/sgd": 932_362,
    "mnist/fc_2048_2048_2048/sgd": 10_020_874,
    "mnist/simple_cnn_narrow/sgd": 821_706,
    "mnist/simple_cnn_base/sgd": 3_274_634,
    "mnist/simple_cnn_wide/sgd": 13_074_186,
    "fashion_mnist/simple_cnn_base/nesterov_momentum": 3_274_634,
    # 3x3 convolutions with biases: 3-16, two of 16-16, 16-32, 32-32, 32-64, 64-64; 64-10 units.
    "cifar_10/resnet_8/sgd": 448 + 2 * 2_320 + 4_640 + 9_248 + 18_496 + 36_928 + 650,
}


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS.items())
def test_a_model_has_as_many_parameters_as_its_layers_say(name: str, parameters: int) -> None:
    assert sum(p.numel() for p in load(name).model().parameters()) == parameters


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_model_turns_images_into_ten_logits_each(name: str) -> None:
    model = load(name).model()
    outputs = model(batch_for(name, 3)[0])
    assert outputs.shape == (3, 10)
    assert outputs.dtype == torch.float32
    outputs.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def dropouts(model: nn.Module) -> list[float]:
    return [layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)]


def test_the_papers_models_have_dropout_on_every_dense_hidden_layer_and_ours_have_none() -> None:
    assert dropouts(load("mnist/fc_1024_1024_1024/sgd").model()) == [0.4, 0.4, 0.4]
    assert dropouts(load("mnist/simple_cnn_base/sgd").model()) == [0.4]
    assert dropouts(load("mnist/fc_256/sgd").model()) == []
    assert dropouts(load("digits/mlp/sgd").model()) == []


def test_a_fully_connected_network_may_have_no_hidden_layer() -> None:
    assert [type(layer) for layer in fully_connected(4, (), 2).children()] == [
        nn.Flatten,
        nn.Linear,
    ]


@pytest.mark.parametrize("variant", WIDTHS)
def test_pooling_before_relu_is_the_papers_order_in_outcome_and_gradient(variant: str) -> None:
    torch.manual_seed(0)
    model = simple_cnn(variant).eval().double()
    first, second, hidden, last = (
        layer for layer in model.children() if isinstance(layer, nn.Conv2d | nn.Linear)
    )

    def as_in_the_paper(images: torch.Tensor) -> torch.Tensor:
        maps = max_pool2d(first(images).relu(), 2)
        maps = max_pool2d(second(maps).relu(), 2)
        logits: torch.Tensor = last(hidden(maps.flatten(1)).relu())
        return logits

    images = torch.randn(2, 1, 28, 28, dtype=torch.float64)
    torch.testing.assert_close(model(images), as_in_the_paper(images))
    parameters = list(model.parameters())
    ours = torch.autograd.grad(model(images).square().sum(), parameters)
    theirs = torch.autograd.grad(as_in_the_paper(images).square().sum(), parameters)
    torch.testing.assert_close(ours, theirs)


# ResNet-8


def test_resnet_8_has_eight_layers_of_weights_and_no_normalization() -> None:
    modules = list(resnet_8().modules())
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in modules) == 8
    assert not any("Norm" in type(module).__name__ for module in modules)


def test_its_stages_halve_the_picture_and_double_the_filters() -> None:
    x, shapes = torch.rand(2, 3, 32, 32), []
    for layer in resnet_8().children():
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    blocks = [shape for shape, layer in zip(shapes, resnet_8(), strict=True) if is_block(layer)]
    assert blocks == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


def is_block(layer: nn.Module) -> bool:
    return isinstance(layer, Block)


def silenced(block: Block) -> Block:
    for convolution in (block.first, block.second):
        nn.init.zeros_(convolution.weight)
    return block


def test_a_block_whose_convolutions_give_nothing_passes_on_what_it_was_given() -> None:
    x = torch.randn(2, 16, 6, 6)
    assert torch.equal(silenced(Block(16, 16, 1))(x), x)


def test_a_shortcut_to_more_filters_skips_pixels_and_adds_zeros() -> None:
    x = torch.randn(2, 16, 6, 6)
    outputs = silenced(Block(16, 32, 2))(x)
    assert torch.equal(outputs[:, :16], x[:, :, ::2, ::2])
    assert not outputs[:, 16:].any()


def test_a_block_rectifies_before_each_convolution_and_not_after() -> None:
    block = Block(16, 16, 1)
    nn.init.constant_(block.second.bias, -1.0)
    x = -torch.rand(2, 16, 6, 6)
    assert torch.equal(block(x), x - 1)  # both convolutions see zeros, and nothing is cut off


def test_convolutions_start_with_the_variance_that_relu_keeps() -> None:
    torch.manual_seed(0)
    for layer in resnet_8().modules():
        if isinstance(layer, nn.Conv2d):
            inputs = layer.in_channels * 9
            assert layer.weight.var().item() == pytest.approx(2 / inputs, rel=0.2)
            assert layer.bias is not None
            assert not layer.bias.any()


@pytest.mark.parametrize(
    ("algorithm", "values"),
    [
        ("nesterov_momentum", {"learning_rate": 0.002, "momentum": 0.9}),
        ("sgd", {"learning_rate": 0.02}),
    ],
)
def test_resnet_8_learns_steadily_without_batch_normalization(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str, values: dict[str, float]
) -> None:
    sizes = Sizes(train=320, validation=64, test=10)
    write_cifar_10(tmp_path, sizes)
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(tmp_path))
    workload, train = load(f"cifar_10/resnet_8/{algorithm}"), cifar_10(sizes).train
    torch.manual_seed(0)
    model = workload.model()
    optimizer = workload.algorithm.start(model, values)
    losses, decay = [], {"decay_steps": 120, "decay_factor": 0.01}
    for step in range(120):
        inputs, targets = train.batch(torch.arange(step * 8, step * 8 + 8) % 320)
        loss = workload.loss(model(inputs), targets)
        loss.backward()
        optimizer.step(values["learning_rate"] * workload.schedule.factor(step, decay))
        losses.append(loss.item())
    assert max(losses) < 4  # against 2.3 for guessing
    assert sum(losses[-12:]) / 12 < 1
