"""Data sets: sizes, ranges, the same split every time, and one clear line when they are not there.

MNIST's loader is tested on small files that these tests write in the true format; on the real
ones where BATCHFRONT_DATA_DIR names a folder that has them.
"""

import gzip
import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torchvision import datasets

from batchfront.errors import DataError
from batchfront.workload.data import Split, Splits
from batchfront_studies.datasets.digits import _table, digits
from batchfront_studies.datasets.directory import data_directory
from batchfront_studies.datasets.mnist import FILES, RAW, _idx, mnist, mnist_part
from tests.batchfront_studies.small_data.mirror import serving
from tests.batchfront_studies.small_data.mnist import SMALL, idx, write_mnist

REAL = os.environ.get("BATCHFRONT_DATA_DIR")


# Where


def test_data_is_looked_for_where_the_environment_says_else_in_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", "/some/where")
    assert data_directory() == Path("/some/where")
    monkeypatch.delenv("BATCHFRONT_DATA_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_directory() == tmp_path / "batchfront"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert data_directory() == Path("/home/someone/.cache/batchfront")


# Digits


def rows(split: Split) -> set[bytes]:
    return {inputs.numpy().tobytes() for inputs in split.inputs}


def test_digits_are_split_into_1297_300_and_200_without_overlap() -> None:
    splits = digits()
    assert [len(split) for _, split in splits.named()] == [1297, 300, 200]
    assert splits.test is not None
    assert not rows(splits.train) & rows(splits.validation)
    assert not (rows(splits.train) | rows(splits.validation)) & rows(splits.test)


def test_digits_are_those_that_scikit_learn_loads() -> None:
    images, labels = load_digits(return_X_y=True)
    for ours, theirs in zip(_table(), (images, labels), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert images.dtype == _table()[0].dtype


def test_digits_are_flat_floats_between_0_and_1_with_whole_number_targets() -> None:
    for _, split in digits().named():
        assert split.inputs.shape[1:] == (64,)
        assert split.inputs.dtype == torch.float32
        assert 0.0 <= split.inputs.min() < split.inputs.max() <= 1.0
        assert split.targets.dtype == torch.int64
        assert set(split.targets.tolist()) == set(range(10))


def test_digits_are_split_the_same_way_every_time_whatever_the_global_seed() -> None:
    torch.manual_seed(1)
    first = digits().train.describe()
    torch.manual_seed(2)
    assert digits().train.describe() == first


# MNIST, on small files of our own


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data directory, still empty, with a mirror that can't be reached."""
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"{(tmp_path / 'mirror').as_uri()}/"])
    return tmp_path / "data"


def which(split: Split) -> list[int]:
    return [round(float(image[0, 0, 0]) * 255) for image in split.inputs]


def refusal() -> str:
    with pytest.raises(DataError) as error:
        mnist(SMALL)
    assert "\n" not in str(error.value)
    return str(error.value)


def check_small(splits: Splits) -> None:
    assert splits.test is not None
    assert sorted(which(splits.train) + which(splits.validation)) == list(range(80))
    assert which(splits.test) == list(range(8))
    for _, split in splits.named():
        assert split.inputs.shape[1:] == (1, 28, 28)
        assert split.inputs.dtype == torch.float32
        assert split.inputs.max() == 1.0
        assert split.targets.dtype == torch.int64
        assert split.targets.tolist() == [number % 10 for number in which(split)]


def test_mnist_is_split_at_random_and_the_same_way_every_time(root: Path) -> None:
    write_mnist(root)
    torch.manual_seed(1)
    splits = mnist(SMALL)
    check_small(splits)
    assert [len(split) for _, split in splits.named()] == [64, 16, 8]
    assert which(splits.train) != sorted(which(splits.train))
    torch.manual_seed(2)
    assert which(mnist(SMALL).train) == which(splits.train)


def test_mnist_is_what_torchvision_reads(root: Path) -> None:
    write_mnist(root)
    for train, files in ((True, FILES[:2]), (False, FILES[2:])):
        theirs = datasets.MNIST(str(root), train=train)
        images, labels = (_idx(root / RAW / name) for name in files)
        assert torch.equal(images, theirs.data)
        assert torch.equal(labels.to(torch.int64), theirs.targets)


def test_each_smaller_part_of_mnist_lies_within_the_larger_and_leaves_validation_alone(
    root: Path,
) -> None:
    write_mnist(root)
    whole = mnist(SMALL)
    larger: list[int] = which(whole.train)
    for one_in in (1, 2, 4, 8):
        splits = mnist_part(SMALL, one_in=one_in)
        part = which(splits.train)
        assert len(part) == 64 // one_in
        assert set(part) <= set(larger)
        assert which(splits.validation) == which(whole.validation)
        assert splits.test is not None
        larger = part
    assert len({label % 10 for label in part}) > 4


def test_mnist_is_read_from_a_folder_that_nothing_may_be_written_to(root: Path) -> None:
    write_mnist(root)
    before = sorted(root.rglob("*"))
    for folder in (root / RAW, (root / RAW).parent, root):
        folder.chmod(0o555)
    try:
        check_small(mnist(SMALL))
    finally:
        for folder in (root, (root / RAW).parent, root / RAW):
            folder.chmod(0o755)
    assert sorted(root.rglob("*")) == before


def test_mnist_is_read_from_compressed_files_and_leaves_them_as_they_are(root: Path) -> None:
    write_mnist(root, compressed=True)
    before = sorted(root.rglob("*"))
    check_small(mnist(SMALL))
    assert sorted(root.rglob("*")) == before


def test_mnist_is_read_from_files_of_which_only_some_are_compressed(root: Path) -> None:
    write_mnist(root, compressed=True)
    plain = root / RAW / FILES[0]
    plain.write_bytes(gzip.decompress((root / RAW / f"{FILES[0]}.gz").read_bytes()))
    check_small(mnist(SMALL))


@pytest.fixture
def mirror(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the compressed files, which a web server on this machine offers."""
    folder = tmp_path / "mirror"
    write_mnist(folder, compressed=True, folder=Path())
    sums = [(path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in folder.iterdir()]
    monkeypatch.setattr(datasets.MNIST, "resources", sums)
    with serving(folder, monkeypatch) as address:
        monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
        yield folder


@pytest.mark.usefixtures("mirror")
def test_mnist_is_downloaded_once_and_nothing_else_is_left_behind(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_small(mnist(SMALL))
    assert sorted(p.name for p in root.rglob("*") if p.is_file()) == sorted(FILES)
    assert [p.name for p in root.iterdir()] == ["MNIST"]
    monkeypatch.setattr(datasets.MNIST, "mirrors", [])
    check_small(mnist(SMALL))


@pytest.mark.usefixtures("mirror")
def test_processes_that_download_at_once_all_read_whole_files(root: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        for splits in pool.map(mnist, [SMALL] * 4):
            check_small(splits)
    assert socket.getdefaulttimeout() is None
    assert sorted(p.name for p in root.rglob("*") if p.is_file()) == sorted(FILES)


def test_a_download_that_breaks_off_leaves_no_file(root: Path, mirror: Path) -> None:
    last = mirror / f"{FILES[3]}.gz"
    last.write_bytes(cut(last.read_bytes()))
    assert "the download failed" in refusal()
    assert not [path for path in root.rglob("*") if path.is_file()]


def test_missing_files_are_named_with_the_folder_searched_and_what_would_be_right(
    root: Path,
) -> None:
    said = refusal()
    assert f"{', '.join(FILES)} not found in {root / RAW}" in said
    assert "--data-dir or BATCHFRONT_DATA_DIR" in said
    write_mnist(root)
    (root / RAW / FILES[1]).unlink()
    assert refusal().startswith(f"MNIST: {FILES[1]} not found in {root / RAW}")


def test_a_failed_download_leaves_no_files(root: Path) -> None:
    refusal()
    assert not [path for path in root.rglob("*") if path.is_file()]


def test_a_data_directory_that_can_be_no_folder_is_said_to_lack_the_files(
    root: Path,
) -> None:
    root.write_text("a file")
    assert f"not found in {root / RAW}" in refusal()


def cut(data: bytes) -> bytes:
    return data[:-10]


def replaced_by(other: bytes) -> Callable[[bytes], bytes]:
    return lambda _: other


@pytest.mark.parametrize(
    ("file", "damage", "says"),
    [
        (0, cut, "train-images-idx3-ubyte"),
        (0, replaced_by(b""), "train-images-idx3-ubyte"),
        (0, lambda data: data[:3], "train-images-idx3-ubyte"),
        (0, lambda data: b"<html>" + data, "train-images-idx3-ubyte"),
        (0, lambda data: data + b"x", "train-images-idx3-ubyte"),
        (1, lambda data: data[:-1], "train-labels-idx1-ubyte"),
        (1, lambda data: data[:-1] + b"\x0b", "a label is 11, not 0 to 9"),
        (1, replaced_by(idx(torch.zeros(5, dtype=torch.uint8))), "80 images and 5 labels, not 80"),
        (2, replaced_by(idx(torch.zeros(3, 28, 28, dtype=torch.uint8))), "3 images and 8 labels"),
        (2, replaced_by(idx(torch.zeros(8, 2, 2, dtype=torch.uint8))), "shape (2, 2), not (28"),
        (2, replaced_by(idx(torch.zeros(4, dtype=torch.uint8))), "t10k-images-idx3-ubyte"),
        (3, lambda data: data.replace(b"\x00\x00\x08", b"\x00\x00\x07"), "t10k-labels-idx1-ubyte"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(
    root: Path, file: int, damage: Callable[[bytes], bytes], says: str
) -> None:
    write_mnist(root)
    path = root / RAW / FILES[file]
    path.write_bytes(damage(path.read_bytes()))
    said = refusal()
    assert FILES[file] in said
    assert str(root / RAW) in said
    assert says in said


@pytest.mark.parametrize(
    "damage",
    [cut, replaced_by(b"not gzip"), lambda data: data[:40] + b"\xff" * 20],
    ids=["cut", "not gzip", "wrong bytes"],
)
def test_a_damaged_compressed_file_is_named_in_one_line(
    root: Path, damage: Callable[[bytes], bytes]
) -> None:
    write_mnist(root, compressed=True)
    path = root / RAW / f"{FILES[2]}.gz"
    path.write_bytes(damage(path.read_bytes()))
    assert f"damaged ({FILES[2]}.gz: " in refusal()


# MNIST itself


@pytest.mark.skipif(REAL is None, reason="BATCHFRONT_DATA_DIR does not name a folder with MNIST")
def test_the_real_mnist_is_55000_5000_and_10000_images_of_all_ten_digits() -> None:
    if not (Path(str(REAL)) / RAW).is_dir():
        pytest.skip(f"BATCHFRONT_DATA_DIR={REAL} holds no {RAW}")
    splits = mnist()
    assert [len(split) for _, split in splits.named()] == [55_000, 5_000, 10_000]
    for _, split in splits.named():
        assert split.inputs.shape[1:] == (1, 28, 28)
        assert (split.inputs.min(), split.inputs.max()) == (0.0, 1.0)
        shares = split.targets.bincount() / len(split)
        assert len(shares) == 10
        assert shares.min() > 0.08
        assert shares.max() < 0.12
    both = torch.cat([splits.train.inputs, splits.validation.inputs])
    assert both.double().mean() == pytest.approx(0.1307, abs=1e-4)  # as published for the 60,000
