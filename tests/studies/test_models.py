"""Models: their parameters, their shapes, and what their layers promise."""

import pytest
import torch
from torch import nn
from torch.nn.functional import max_pool2d

from service.catalog import load
from studies.models.fully_connected import fully_connected
from studies.models.simple_cnn import WIDTHS, simple_cnn

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
}


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS.items())
def test_a_model_has_as_many_parameters_as_its_layers_say(name: str, parameters: int) -> None:
    assert sum(p.numel() for p in load(name).model().parameters()) == parameters


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_model_turns_images_into_ten_logits_each(name: str) -> None:
    model = load(name).model()
    shape = (64,) if name.startswith("digits") else (1, 28, 28)
    outputs = model(torch.rand(3, *shape))
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
