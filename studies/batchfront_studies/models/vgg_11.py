"""VGG-11: model A of Simonyan and Zisserman 2015, without batch normalization.

From there: the layers, and dropout 0.5 on both hidden dense layers. From torchvision: the
initialization (He et al. 2015 for convolutions; the published one started from shallower networks
where it didn't train), and the pooling to 7x7, which changes nothing for images of 224x224.
"""

from torch import nn

from batchfront.workload.layers import Dropout

FILTERS = ((64,), (128,), (256, 256), (512, 512), (512, 512))
"""Of the 3x3 convolutions between poolings."""

HIDDEN = 4096
"""Units of each hidden dense layer."""


def vgg_11(classes: int = 1000) -> nn.Module:
    """Takes float32 [n, 3, height, width], 32 or more pixels each; returns logits [n, classes].

    With 1,000 classes 132,863,336 parameters, as published.
    """
    layers: list[nn.Module] = []
    channels = 3
    for stage in FILTERS:
        for filters in stage:
            layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(inplace=True)]
            channels = filters
        layers.append(nn.MaxPool2d(2))  # [n, filters, height / 2, width / 2]
    layers += [
        nn.AdaptiveAvgPool2d(7),  # [n, 512, 7, 7]
        nn.Flatten(),
        *(nn.Linear(512 * 7 * 7, HIDDEN), nn.ReLU(inplace=True), Dropout(0.5)),
        *(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(inplace=True), Dropout(0.5)),
        nn.Linear(HIDDEN, classes),
    ]
    model = nn.Sequential(*layers)
    for layer in model.modules():
        _initialize(layer)
    return model


def _initialize(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, std=0.01)
    else:
        return
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
