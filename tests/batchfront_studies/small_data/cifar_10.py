"""A small CIFAR-10: files of its names, pickled as Python 2 pickled the true ones."""

import struct
import tarfile
from pathlib import Path

import torch
from torch import Tensor

from batchfront_studies.datasets.cifar_10 import CIFAR_10, TEST, TRAINING, Sizes

SMALL = Sizes(train=64, validation=16, test=8)


def write_cifar_10(root: Path, sizes: Sizes = SMALL, packed: bool = False) -> None:
    """Write the six batch files below the data directory `root`, or the archive that holds them.

    The first pixel of an image tells which it is, up to 256 of them; its label is that, modulo 10,
    and shows as a tint of random ground, so that it can be learnt.
    """
    folder = root / CIFAR_10.folder
    folder.mkdir(parents=True, exist_ok=True)
    draw = torch.Generator().manual_seed(0)
    for names, count in ((TRAINING, sizes.train + sizes.validation), (TEST, sizes.test)):
        labels = torch.arange(count) % 10
        images = torch.randint(150, (count, 3, 32, 32), dtype=torch.uint8, generator=draw)
        images += _tints()[labels][:, :, None, None]
        images[:, 0, 0, 0] = (torch.arange(count) % 256).to(torch.uint8)
        parts = zip(images.tensor_split(len(names)), labels.tensor_split(len(names)), strict=True)
        for name, (of_images, of_labels) in zip(names, parts, strict=True):
            (folder / name).write_bytes(
                python_2_pickle(name, of_images.flatten(1), of_labels.tolist())
            )
    if packed:
        pack(root)


def _tints() -> Tensor:
    """Red, green and blue of ten hues, uint8 of shape [10, 3], up to 100."""
    hues = torch.arange(10)[:, None] / 10 - torch.arange(3) / 3
    return (50 + 50 * torch.cos(2 * torch.pi * hues)).to(torch.uint8)


def pack(root: Path) -> Path:
    """Put the folder into its archive, and remove it."""
    archive = root / str(CIFAR_10.archive)
    with tarfile.open(archive, "w:gz") as file:
        file.add(root / CIFAR_10.folder, str(CIFAR_10.folder))
    for path in (root / CIFAR_10.folder).iterdir():
        path.unlink()
    (root / CIFAR_10.folder).rmdir()
    return archive


def python_2_pickle(label: str, images: Tensor, labels: list[int]) -> bytes:
    """`{"batch_label": ..., "labels": [...], "data": array}` in protocol 2, with text as Python 2
    had it and numpy's names of that time; images uint8, shape [n, 3072]."""
    count = len(images)
    dtype = b"cnumpy\ndtype\n" + _text(b"u1") + b"K\x00K\x01\x87R(K\x03" + _text(b"|")
    dtype += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + _text(b"b")
    array += b"\x87R(K\x01" + _whole(count) + _whole(images.shape[1]) + b"\x86" + dtype + b"\x89"
    array += _text(images.numpy().tobytes()) + b"tb"
    found = b"](" + b"".join(map(_whole, labels)) + b"e"
    entries = {b"batch_label": _text(label.encode()), b"labels": found, b"data": array}
    return b"\x80\x02}(" + b"".join(_text(k) + v for k, v in entries.items()) + b"u."


def _text(value: bytes) -> bytes:
    return b"T" + struct.pack("<i", len(value)) + value


def _whole(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)
