"""The Simple CNN of Shallue et al. 2018, for images of 28x28 pixels.

From the paper: 5x5 convolutions of 32 and 64 filters with "same" padding and stride 1, ReLU and
2x2 max pooling of stride 2 after each, 1,024 units with ReLU and dropout 0.4, 10 outputs: `base`.
Ours, until checked against the paper's text: `narrow` and `wide` halve and double all three
widths. Ours too: torch's own initialization.
"""

from torch import nn

from batchfront.workload.layers import Dropout

WIDTHS = {
    "narrow": (16, 32, 512),
    "base": (32, 64, 1024),
    "wide": (64, 128, 2048),
}
"""First filters, second filters, units."""


def simple_cnn(variant: str = "base") -> nn.Module:
    """Takes float32 of shape [n, 1, 28, 28]; returns logits, shape [n, 10].

    `variant` is one of WIDTHS.
    """
    first, second, units = WIDTHS[variant]
    # ReLU is monotone, so pooling before it is the same function, with the same gradient, as
    # pooling after it; but ReLU then works on a quarter of the numbers, and a training step is
    # 1.2-1.6 times as fast on a CPU.
    return nn.Sequential(
        nn.Conv2d(1, first, kernel_size=5, padding=2),  # [n, first, 28, 28]
        nn.MaxPool2d(2),  # [n, first, 14, 14]
        nn.ReLU(),
        nn.Conv2d(first, second, kernel_size=5, padding=2),  # [n, second, 14, 14]
        nn.MaxPool2d(2),  # [n, second, 7, 7]
        nn.ReLU(),
        nn.Flatten(),  # [n, second * 49]
        nn.Linear(second * 7 * 7, units),  # [n, units]
        nn.ReLU(),
        Dropout(0.4),
        nn.Linear(units, 10),  # [n, 10]
    )
