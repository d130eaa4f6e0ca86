"""The moving averages of the weights of K trials, each with its own decay."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from batchfront.training.averaged_weights import AveragedWeights
from batchfront.training.vectorized.updates import stacked


class Averages:
    """Takes in all trials' weights at once, as `AveragedWeights` does one's: theirs are rows of
    tensors [K, ...] from now on.

    weights -- the stacked weights that they are averages of, by name
    whole   -- the averages, by the same names
    """

    def __init__(self, own: Sequence[AveragedWeights], weights: Mapping[str, Tensor]) -> None:
        self._own = own
        self.whole: dict[str, Tensor] = {}
        for name, _ in own[0].module.named_parameters():
            rows = [one.module.get_parameter(name) for one in own]
            whole = stacked(rows)
            for row, view in zip(rows, whole.unbind(), strict=True):
                row.data = view
            self.whole[name] = whole
        self._weights = [weights[name].detach() for name in self.whole]
        self._shares: Sequence[Tensor] = ()

    def plan(self, steps: Sequence[int], count: int) -> None:
        """The next steps, so many, are these and those after them, one of each trial."""
        pairs = list(zip(self._own, steps, strict=True))
        shares = [[one.share(step + i) for one, step in pairs] for i in range(count)]
        first = self._weights[0]
        self._shares = torch.tensor(shares, dtype=torch.float64).to(first.device).unbind()

    @torch.no_grad()
    def update(self, place: int) -> None:
        """Take in the weights as they are after the planned step at `place`."""
        shares = self._shares[place]
        for average, weight in zip(self.whole.values(), self._weights, strict=True):
            own = shares.to(weight.dtype).view(-1, *[1] * (weight.ndim - 1))
            # All of a weight is the weight itself, also where that is infinite.
            torch.where(own == 1.0, weight, average.lerp(weight, own), out=average)
