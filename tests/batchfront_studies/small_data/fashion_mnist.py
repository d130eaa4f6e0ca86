"""A small Fashion-MNIST: as a small MNIST, in a folder of its own."""

from pathlib import Path

from batchfront_studies.datasets.fashion_mnist import FASHION_MNIST
from batchfront_studies.datasets.mnist import Sizes
from tests.batchfront_studies.small_data.mnist import SMALL, write_mnist


def write_fashion_mnist(root: Path, sizes: Sizes = SMALL, compressed: bool = False) -> None:
    """Write the four files below the data directory `root`."""
    write_mnist(root, sizes, compressed, FASHION_MNIST.folder)
