"""Fashion-MNIST (Xiao et al. 2017): pictures of clothes, in MNIST's sizes and format."""

from pathlib import Path

from batchfront.workload.data import Splits
from batchfront_studies.datasets.mnist import ALL, FILES, Sizes, read_splits
from batchfront_studies.datasets.published import Published

FASHION_MNIST = Published(
    title="Fashion-MNIST",
    source="Zalando Research's fashion-mnist repository (four .gz files)",
    folder=Path("FashionMNIST", "raw"),
    files=FILES,
    torchvision="FashionMNIST",
)


def fashion_mnist(sizes: Sizes = ALL) -> Splits:
    """55,000 / 5,000 / 10,000 images, float32 in [0, 1], shape [n, 1, 28, 28]; targets int64 [n].

    Split as MNIST is (see `batchfront_studies.datasets.mnist.mnist`): the sizes are the paper's,
    which images are held out is ours.

    Read from `data_directory()`: the four files in `FashionMNIST/raw`, plain or with `.gz`;
    downloaded to there if they are missing.

    Raises DataError if the files are missing and can't be downloaded, or are damaged.
    """
    return read_splits(FASHION_MNIST, sizes)
