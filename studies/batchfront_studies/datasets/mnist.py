"""MNIST (LeCun et al. 1998): handwritten digits of 28x28 pixels; and how data sets in its format
are read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from batchfront.workload.data import Split, Splits
from batchfront_studies.datasets.directory import data_directory
from batchfront_studies.datasets.published import Published

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

RAW = Path("MNIST", "raw")

MNIST = Published(
    title="MNIST",
    source="the MNIST database of LeCun, Cortes and Burges (four .gz files)",
    folder=RAW,
    files=FILES,
    torchvision="MNIST",
)

SPLIT_SEED = 0


@dataclass(frozen=True)
class Sizes:
    """Examples per split. The paper's are 55,000 and 5,000 of the 60,000, and the 10,000."""

    train: int = 55_000
    validation: int = 5_000
    test: int = 10_000


ALL = Sizes()


def mnist(sizes: Sizes = ALL) -> Splits:
    """55,000 / 5,000 / 10,000 images, float32 in [0, 1], shape [n, 1, 28, 28]; targets int64 [n].

    Sizes are those of Shallue et al. 2018, which does not say which images are held out: ours are
    the last 5,000 of a permutation of the 60,000 training images drawn from a fixed seed.

    Read from `data_directory()`: the four files in `MNIST/raw`, plain or with `.gz`; downloaded
    to there if they are missing.

    Raises DataError if the files are missing and can't be downloaded, or are damaged.
    """
    return read_splits(MNIST, sizes)


def mnist_part(sizes: Sizes = ALL, *, one_in: int) -> Splits:
    """MNIST with one in `one_in` of its training images: 55,000, 27,500, 13,750 or 6,875 of them
    with 1, 2, 4 or 8. Validation and test are the whole ones.

    The training images stand in an order drawn from a fixed seed, and these are the first of them,
    so that each smaller part lies within the larger ones. The paper doesn't say which its are.
    """
    splits = mnist(sizes)
    count = sizes.train // one_in
    train = Split(*splits.train.batch(torch.arange(count)))
    return Splits(train, splits.validation, splits.test)


def read_splits(published: Published, sizes: Sizes) -> Splits:
    """A data set in MNIST's format, split as `mnist` says."""
    root = data_directory()
    with published.below(root) as folder:
        count = sizes.train + sizes.validation
        images, labels = _read(published, root, folder, train=True, expected=count)
        test_images, test_labels = _read(published, root, folder, train=False, expected=sizes.test)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SPLIT_SEED))
    train, held_out = order[: sizes.train], order[sizes.train :]
    return Splits(
        _split(images[train], labels[train]),
        _split(images[held_out], labels[held_out]),
        _split(test_images, test_labels),
    )


def _split(images: Tensor, labels: Tensor) -> Split:
    return Split(images.unsqueeze(1).to(torch.float32).div_(255), labels)


def _read(
    published: Published, root: Path, folder: Path, *, train: bool, expected: int
) -> tuple[Tensor, Tensor]:
    """Images [n, 28, 28] (uint8) and labels [n] (int64) below `folder`, checked."""
    files = FILES[:2] if train else FILES[2:]
    try:
        images, labels = (_idx(folder / published.folder / name) for name in files)
    except (OSError, ValueError) as e:
        raise published.damaged(root, files, f"{type(e).__name__}: {e}") from e
    if images.shape[1:] != (28, 28):
        shape = tuple(images.shape[1:])
        raise published.damaged(root, files, f"images have shape {shape}, not (28, 28)")
    if not len(images) == len(labels) == expected:
        counts = f"{len(images):,} images and {len(labels):,} labels, not {expected:,} of each"
        raise published.damaged(root, files, f"they hold {counts}")
    if labels.max() > 9:
        raise published.damaged(root, files, f"a label is {labels.max()}, not 0 to 9")
    return images, labels.to(torch.int64)


def _idx(file: Path) -> Tensor:
    """The unsigned bytes of a file in MNIST's format, idx: two zeros, the kind of number, how many
    dimensions there are, each of them, and the numbers. torchvision reads the same, and takes
    seconds to import."""
    text = file.read_bytes()
    if text[:3] != bytes([0, 0, 8]) or len(text) < 4:
        raise ValueError(f"{file.name} begins with {text[:4].hex(' ')}, not with 00 00 08")
    shape = np.frombuffer(text, ">u4", text[3], offset=4)
    numbers = np.frombuffer(text, np.uint8, offset=4 + 4 * len(shape))
    return torch.from_numpy(numbers.reshape(shape).copy())
