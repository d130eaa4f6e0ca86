"""MNIST (LeCun et al. 1998): handwritten digits of 28x28 pixels, read by torchvision.

Nothing is written where the files already are, so their folder may be read-only.
"""

import gzip
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from service.data import Split, Splits
from service.errors import DataError
from studies.datasets.directory import data_directory

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
RAW = Path("MNIST", "raw")
"""Where torchvision keeps the files, below the data directory."""

SPLIT_SEED = 0
NETWORK_TIMEOUT = 20.0
"""Seconds without a byte after which a download is given up."""


@dataclass(frozen=True)
class Sizes:
    """Examples per split. The paper's are 55,000 and 5,000 of the 60,000, and the 10,000."""

    train: int = 55_000
    validation: int = 5_000
    test: int = 10_000


def mnist(sizes: Sizes = Sizes()) -> Splits:
    """55,000 / 5,000 / 10,000 images, float32 in [0, 1], shape [n, 1, 28, 28]; targets int64 [n].

    Sizes are those of Shallue et al. 2018, which does not say which images are held out: ours are
    the last 5,000 of a permutation of the 60,000 training images drawn from a fixed seed.

    Read from `data_directory()`: the four files in `MNIST/raw`, plain or with `.gz`; downloaded
    to there if they are missing.

    Raises DataError if the files are missing and can't be downloaded, or are damaged.
    """
    root = data_directory()
    with _folder_with_files(root) as folder:
        images, labels = _read(root, folder, train=True, expected=sizes.train + sizes.validation)
        test_images, test_labels = _read(root, folder, train=False, expected=sizes.test)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SPLIT_SEED))
    train, held_out = order[: sizes.train], order[sizes.train :]
    return Splits(
        _split(images[train], labels[train]),
        _split(images[held_out], labels[held_out]),
        _split(test_images, test_labels),
    )


def _split(images: Tensor, labels: Tensor) -> Split:
    return Split(images.unsqueeze(1).to(torch.float32).div_(255), labels)


def _read(root: Path, folder: Path, *, train: bool, expected: int) -> tuple[Tensor, Tensor]:
    """Images [n, 28, 28] (uint8) and labels [n] (int64) below `folder`, checked."""
    from torchvision import datasets  # slow to import, and listing workloads needs no data

    try:
        found = datasets.MNIST(str(folder), train=train)
    # What torchvision raises on a damaged file depends on where the damage lies.
    except (
        AssertionError,
        IndexError,
        KeyError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as e:
        raise _damaged(root, train, f"{type(e).__name__}: {e}") from e
    images, labels = found.data, found.targets
    if images.shape[1:] != (28, 28):
        raise _damaged(root, train, f"images have shape {tuple(images.shape[1:])}, not (28, 28)")
    if not len(images) == len(labels) == expected:
        counts = f"{len(images):,} images and {len(labels):,} labels, not {expected:,} of each"
        raise _damaged(root, train, f"they hold {counts}")
    if labels.max() > 9:
        raise _damaged(root, train, f"a label is {labels.max()}, not 0 to 9")
    return images, labels


def _damaged(root: Path, train: bool, found: str) -> DataError:
    files = " and ".join(FILES[:2] if train else FILES[2:])
    return DataError(
        f"MNIST: {files} in {root / RAW} are damaged ({_one_line(found)}); "
        "remove them to download them anew, or name another folder with --data-dir "
        "or BATCHFRONT_DATA_DIR"
    )


@contextmanager
def _folder_with_files(root: Path) -> Iterator[Path]:
    """A folder below which torchvision finds all four files, plain."""
    missing = [name for name in FILES if not (root / RAW / name).is_file()]
    if not missing:
        yield root
        return
    if all((root / RAW / f"{name}.gz").is_file() for name in missing):
        with TemporaryDirectory() as scratch:
            _unpack(root, Path(scratch))
            yield Path(scratch)
        return
    _download(root, missing)
    yield root


def _unpack(root: Path, scratch: Path) -> None:
    """The files of `root`, unpacked where they are compressed, laid out below `scratch`."""
    (scratch / RAW).mkdir(parents=True)
    for name in FILES:
        plain, compressed = root / RAW / name, root / RAW / f"{name}.gz"
        if plain.is_file():
            (scratch / RAW / name).symlink_to(plain.resolve())
            continue
        try:
            with gzip.open(compressed) as source, (scratch / RAW / name).open("wb") as target:
                shutil.copyfileobj(source, target)
        except (EOFError, OSError, ValueError) as e:
            raise _damaged(root, name.startswith("train"), f"{compressed.name}: {e}") from e


def _download(root: Path, missing: list[str]) -> None:
    """Download into a folder of our own beside the files' place, then move whole files there.

    Two processes that download at once thus each put down the same whole files.
    """
    from torchvision import datasets  # slow to import, and listing workloads needs no data

    try:
        (root / RAW).mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=root, prefix=".downloading-") as scratch, _network_timeout():
            datasets.MNIST(scratch, download=True)
            for name in FILES:
                (Path(scratch) / RAW / name).replace(root / RAW / name)
    except (HTTPException, OSError, RuntimeError) as e:
        raise DataError(
            f"MNIST: {', '.join(missing)} not found in {root / RAW}; name the folder that holds "
            f"{RAW} with --data-dir or BATCHFRONT_DATA_DIR (the download failed: "
            f"{_one_line(str(e))})"
        ) from e


@contextmanager
def _network_timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _one_line(text: str) -> str:
    return " ".join(text.split())
