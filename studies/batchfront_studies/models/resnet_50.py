"""ResNet-50 for images of about 224x224 pixels, as Shallue et al. 2018 have it: torchvision's, with
pre-activation blocks (He et al. 2016b) and ghost batch normalization (Hoffer et al. 2017) of 32.

From torchvision: the stages, their strides (in the 3x3 convolution) and the initialization (He et
al. 2015). From He et al. 2016b: normalization and ReLU come before each convolution of a block,
also before the projection of a shortcut, which has no normalization of its own; and once more
before the pooling. Ours: after the first convolution come neither; the first block of each stage
begins with them.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from batchfront.workload.layers import GhostBatchNorm2d

GHOST_SIZE = 32


def resnet_50(classes: int = 1000) -> nn.Module:
    """Takes float32 [n, 3, height, width], 32 or more pixels each; returns logits [n, classes].

    With 1,000 classes 25,549,352 parameters: 7,680 fewer than torchvision's ResNet-50, as a block
    normalizes what comes in and not what goes out, and a projection is not normalized.
    """
    from torchvision.models import ResNet  # slow to import, and listing workloads needs no model

    norm = partial(GhostBatchNorm2d, ghost_size=GHOST_SIZE)
    model: nn.Module = ResNet(
        PreActivation,  # type: ignore[arg-type]  # it asks for one of its own two
        [3, 4, 6, 3],
        num_classes=classes,
        norm_layer=norm,
    )
    model.bn1, model.relu = nn.Identity(), nn.Identity()
    features = 512 * PreActivation.expansion
    model.avgpool = nn.Sequential(norm(features), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1))
    return model


class PreActivation(nn.Module):
    """A bottleneck block of He et al. 2016b, with the constructor that torchvision's ResNet calls.

    [n, inplanes, h, w] -> [n, 4 * planes, h / stride, w / stride]
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Sequential | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.norm1 = norm_layer(inplanes)
        self.conv1 = nn.Conv2d(inplanes, planes, 1, bias=False)
        self.norm2 = norm_layer(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
        self.norm3 = norm_layer(planes)
        self.conv3 = nn.Conv2d(planes, self.expansion * planes, 1, bias=False)
        # torchvision's ends with a normalization.
        self.projection = None if downsample is None else downsample[0]
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu(self.norm1(x))
        shortcut = x if self.projection is None else self.projection(active)
        inner = self.conv1(active)
        inner = self.conv2(self.relu(self.norm2(inner)))
        inner = self.conv3(self.relu(self.norm3(inner)))
        summed: Tensor = inner + shortcut
        return summed
