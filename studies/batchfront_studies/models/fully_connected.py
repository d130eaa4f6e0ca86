"""Fully connected networks (Shallue et al. 2018, appendix: ReLU, dropout 0.4 on hidden layers).

From the paper: ReLU, the dropout and the widths of the models named fc_*. Ours: torch's own
initialization of `nn.Linear`, and the models without dropout.
"""

from collections.abc import Sequence

from torch import nn

from batchfront.workload.layers import Dropout


def fully_connected(
    inputs: int, hidden: Sequence[int], outputs: int, dropout: float = 0.0
) -> nn.Module:
    """`inputs` -> each of `hidden` with ReLU and then dropout -> `outputs` logits.

    Takes float32 of shape [n, ...] with `inputs` numbers an example; returns [n, outputs].
    `dropout` is the probability that a hidden unit is dropped in training.
    """
    layers: list[nn.Module] = [nn.Flatten()]  # [n, ...] -> [n, inputs]
    width = inputs
    for units in hidden:
        layers += [nn.Linear(width, units), nn.ReLU()]  # -> [n, units]
        if dropout:
            layers.append(Dropout(dropout))
        width = units
    layers.append(nn.Linear(width, outputs))  # -> [n, outputs]
    return nn.Sequential(*layers)
