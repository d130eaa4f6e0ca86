"""CIFAR-10 (Krizhevsky 2009): colour photographs of 32x32 pixels, in ten classes."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchfront.workload.data import Examples, Split, Splits
from batchfront_studies.datasets.directory import data_directory
from batchfront_studies.datasets.published import Published

TRAINING = tuple(f"data_batch_{number}" for number in range(1, 6))

TEST = ("test_batch",)

CIFAR_10 = Published(
    title="CIFAR-10",
    source="the CIFAR page of the University of Toronto (cifar-10-python.tar.gz)",
    folder=Path("cifar-10-batches-py"),
    files=(*TRAINING, *TEST),
    torchvision="CIFAR10",
    archive="cifar-10-python.tar.gz",
)

SPLIT_SEED = 0

_NUMBERS = 3 * 32 * 32  # of one image


@dataclass(frozen=True)
class Sizes:
    """Examples per split. The paper's are 45,000 and 5,000 of the 50,000, and the 10,000."""

    train: int = 45_000
    validation: int = 5_000
    test: int = 10_000


def cifar_10(sizes: Sizes = Sizes()) -> Splits:
    """45,000 / 5,000 / 10,000 images, standardized, float32 [n, 3, 32, 32]; targets int64 [n].

    Sizes are those of Shallue et al. 2018, which does not say which images are held out: ours are
    the last 5,000 of a permutation of the 50,000 training images drawn from a fixed seed.

    Ours too, as we could not check the paper's text: each image is standardized by its own mean
    and standard deviation (see `StandardizedImages`), and none is augmented, so that what is
    measured is how fast training goes and not how well it is regularized; a goal of 0.3 needs no
    augmentation.

    Read from `data_directory()`: the six batch files in `cifar-10-batches-py`, or
    `cifar-10-python.tar.gz`, which holds them; downloaded to there if they are missing.

    Raises DataError if the files are missing and can't be downloaded, or are damaged.
    """
    root = data_directory()
    with CIFAR_10.below(root) as folder:
        images, labels = _read(root, folder, TRAINING, sizes.train + sizes.validation)
        test = _read(root, folder, TEST, sizes.test)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SPLIT_SEED))
    train, held_out = order[: sizes.train], order[sizes.train :]
    return Splits(
        StandardizedImages(Split(images[train], labels[train])),
        StandardizedImages(Split(images[held_out], labels[held_out])),
        StandardizedImages(Split(*test)),
    )


@dataclass(frozen=True, eq=False)
class StandardizedImages(Examples):
    """Images, kept as bytes and given as float32 with mean 0 and standard deviation 1 each.

    Over all of its pixels and channels, as TensorFlow's `per_image_standardization` does; an image
    of one colour is all 0.

    stored -- inputs uint8, shape [n, channels, height, width]
    """

    stored: Split

    @property
    def indexed_on(self) -> torch.device:
        return self.stored.indexed_on

    def __len__(self) -> int:
        return len(self.stored)

    def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
        images, targets = self.stored.batch(indices)
        pixels = images.to(torch.float32)
        deviation, mean = torch.std_mean(pixels, dim=(1, 2, 3), correction=0, keepdim=True)
        least = pixels[0].numel() ** -0.5 if len(pixels) else 1.0
        return (pixels - mean).div_(deviation.clamp_(min=least)), targets

    def to(self, device: torch.device) -> "StandardizedImages":
        return StandardizedImages(self.stored.to(device))

    def describe(self) -> dict[str, Any]:
        return {**self.stored.describe(), "inputs": "each image standardized"}


def _read(root: Path, folder: Path, files: tuple[str, ...], expected: int) -> tuple[Tensor, Tensor]:
    """Images [n, 3, 32, 32] (uint8) and labels [n] (int64) of these files, checked."""
    parts = [_read_file(root, folder / CIFAR_10.folder / name) for name in files]
    images = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    if len(images) != expected:
        raise CIFAR_10.damaged(root, files, f"they hold {len(images):,} images, not {expected:,}")
    return torch.from_numpy(images).view(-1, 3, 32, 32), torch.from_numpy(labels)


def _read_file(root: Path, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, 3072] (uint8; red, green, blue, each row by row) and labels [n] (int64)."""
    try:
        with path.open("rb") as file:
            found = _Unpickler(file, encoding="latin1").load()
        images, labels = found["data"], np.asarray(found["labels"], dtype=np.int64)
        shape, dtype = images.shape, images.dtype
    # What Python raises on a damaged file depends on where the damage lies.
    except (
        ArithmeticError,
        AttributeError,
        EOFError,
        ImportError,
        LookupError,
        MemoryError,
        OSError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
    ) as e:
        raise CIFAR_10.damaged(root, [path.name], f"{type(e).__name__}: {e}") from e
    if dtype != np.uint8 or len(shape) != 2 or shape[1] != _NUMBERS:
        wrong = f"its images are {dtype} of shape {shape}, not uint8 of shape (n, {_NUMBERS})"
    elif labels.shape != shape[:1]:
        wrong = f"it holds {len(images):,} images and {labels.size:,} labels"
    elif labels.size and not 0 <= labels.min() <= labels.max() <= 9:
        wrong = f"a label is {labels.max() if labels.max() > 9 else labels.min()}, not 0 to 9"
    else:
        return images, labels
    raise CIFAR_10.damaged(root, [path.name], wrong)


class _Unpickler(pickle.Unpickler):
    """Unpickles arrays and plain values, which is all that the files hold: torchvision unpickles
    anything, and so has to know the files by their checksums first."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it holds a {module}.{name}")
        return known[module, name]
