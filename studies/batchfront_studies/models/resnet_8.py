"""ResNet-8 for images of 32x32 pixels.

From He et al. 2016a (section 4.2): the network for CIFAR-10 of 6n + 2 layers, here with n = 1: a
3x3 convolution, three stages of n blocks with two 3x3 convolutions each and 16, 32 and 64 filters,
the first of a stage with stride 2 but for the first stage's, global average pooling and 10 units;
and shortcuts without parameters, which skip pixels and add zeros for new filters (option A).
From He et al. 2016b: in a block ReLU comes before each convolution, the first ReLU of the network
comes before its first block's two paths part, and one more after the last block.
From Shallue et al. 2018: n = 1 and no batch normalization.

Ours: convolutions have biases, as there is no batch normalization to shift what they give, and
start at 0; their weights start as in He et al. 2015, normal with variance 2 / inputs of a unit.
The last layer starts as torch starts it.
"""

import torch.nn.functional as F
from torch import Tensor, nn

FILTERS = (16, 32, 64)
"""Of the three stages."""


class Block(nn.Module):
    """Two 3x3 convolutions, each after a ReLU, beside a shortcut.

    [n, inputs, height, width] -> [n, filters, height / stride, width / stride]
    """

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, filters, stride)
        self.second = _convolution(filters, filters, 1)
        self.stride, self.added = stride, filters - inputs

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.second(self.first(x.relu()).relu())
        return residual + self._shortcut(x)

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, self.added)) if self.added else x


def resnet_8() -> nn.Module:
    """Takes float32 of shape [n, 3, 32, 32]; returns logits, shape [n, 10]. 75,050 parameters."""
    first, second, third = FILTERS
    return nn.Sequential(
        _convolution(3, first, 1),  # [n, 16, 32, 32]
        nn.ReLU(),
        Block(first, first, 1),
        Block(first, second, 2),  # [n, 32, 16, 16]
        Block(second, third, 2),  # [n, 64, 8, 8]
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),  # [n, 64, 1, 1]
        nn.Flatten(),
        nn.Linear(third, 10),  # [n, 10]
    )


def _convolution(inputs: int, filters: int, stride: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, filters, kernel_size=3, stride=stride, padding=1)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
