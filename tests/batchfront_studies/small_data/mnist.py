"""A small MNIST: files of its names and format."""

import gzip
import struct
from pathlib import Path

import torch
from torch import Tensor

from batchfront_studies.datasets.mnist import RAW, Sizes

SMALL = Sizes(train=64, validation=16, test=8)


def write_mnist(
    root: Path, sizes: Sizes = SMALL, compressed: bool = False, folder: Path = RAW
) -> None:
    """Write the four files below the data directory `root`.

    The first pixel of an image tells which it is, up to 256 of them; its label is that, modulo 10,
    and shows as a bright band on random ground, so that it can be learnt.
    """
    (root / folder).mkdir(parents=True, exist_ok=True)
    draw = torch.Generator().manual_seed(0)
    for part, count in (("train", sizes.train + sizes.validation), ("t10k", sizes.test)):
        images = torch.randint(100, (count, 28, 28), dtype=torch.uint8, generator=draw)
        images[:, 0, 0] = (torch.arange(count) % 256).to(torch.uint8)
        labels = (torch.arange(count) % 10).to(torch.uint8)
        for image, label in zip(images, labels.tolist(), strict=True):
            image[2 * label + 2 : 2 * label + 4] = 255
        for name, numbers in (
            (f"{part}-images-idx3-ubyte", images),
            (f"{part}-labels-idx1-ubyte", labels),
        ):
            if compressed:
                (root / folder / f"{name}.gz").write_bytes(gzip.compress(idx(numbers)))
            else:
                (root / folder / name).write_bytes(idx(numbers))


def idx(numbers: Tensor) -> bytes:
    """`numbers` (uint8) in the idx format: magic number, sizes, then the numbers themselves."""
    header = struct.pack(f">HBB{numbers.ndim}I", 0, 8, numbers.ndim, *numbers.shape)
    return header + numbers.numpy().tobytes()
