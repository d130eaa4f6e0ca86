"""Which examples each step trains on."""

from collections.abc import Iterator

import torch
from torch import Tensor

from batchfront.workload.seeds import mix


class DataOrder:
    """Batches from an endless run of epochs, each a fresh permutation of the training set.

    Every batch has exactly `batch_size` examples; one that spans two epochs takes the end of the
    first and the start of the second. Which examples step s trains on depends on (seed, s) alone.
    """

    def __init__(self, examples: int, batch_size: int, seed: int, device: torch.device) -> None:
        self.examples, self.batch_size, self.seed, self.device = examples, batch_size, seed, device
        self._epoch = -1
        self._permutation = torch.empty(0, dtype=torch.int64, device=device)

    def batch(self, step: int) -> Tensor:
        """The indices, int64 of shape [batch_size], of the batch after `step` updates."""
        epoch, start = divmod(step * self.batch_size, self.examples)
        if epoch != self._epoch:
            self._epoch, self._permutation = epoch, self._shuffled(epoch)
        stop = start + self.batch_size
        if stop <= self.examples:
            return self._permutation[start:stop]
        head = self._permutation[start:]
        self._epoch, self._permutation = epoch + 1, self._shuffled(epoch + 1)
        return torch.cat([head, self._permutation[: stop - self.examples]])

    def batches(self, step: int, stop: int) -> Iterator[Tensor]:
        """The batches of steps `step .. stop - 1`: those of `batch`, cut from an epoch at once."""
        while step < stop:
            epoch, start = divmod(step * self.batch_size, self.examples)
            whole = min((self.examples - start) // self.batch_size, stop - step)
            if not whole:
                yield self.batch(step)
                step += 1
                continue
            if epoch != self._epoch:
                self._epoch, self._permutation = epoch, self._shuffled(epoch)
            end = start + whole * self.batch_size
            yield from self._permutation[start:end].split(self.batch_size)  # type: ignore[no-untyped-call]
            step += whole

    def stretch(self, step: int, stop: int) -> Tensor:
        """The same batches as one tensor, of shape [stop - step, batch_size]."""
        first, left = step * self.batch_size, (stop - step) * self.batch_size
        parts = []
        while left:
            epoch, start = divmod(first, self.examples)
            if epoch != self._epoch:
                self._epoch, self._permutation = epoch, self._shuffled(epoch)
            parts.append(self._permutation[start : start + left])
            first, left = first + len(parts[-1]), left - len(parts[-1])
        whole = parts[0] if len(parts) == 1 else torch.cat(parts)
        return whole.view(stop - step, self.batch_size)

    def _shuffled(self, epoch: int) -> Tensor:
        # On the CPU, whatever the device, so that a trial sees the same examples on all of them.
        generator = torch.Generator().manual_seed(mix(self.seed, epoch))
        return torch.randperm(self.examples, generator=generator).to(self.device)
