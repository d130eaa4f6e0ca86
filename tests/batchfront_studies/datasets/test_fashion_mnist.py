"""Fashion-MNIST: read as MNIST is, from a folder of its own."""

import hashlib
from pathlib import Path

import pytest
import torch
from torchvision import datasets

from batchfront.errors import DataError
from batchfront.workload.data import Split, Splits
from batchfront_studies.datasets.fashion_mnist import FASHION_MNIST, fashion_mnist
from batchfront_studies.datasets.mnist import FILES
from tests.batchfront_studies.small_data.fashion_mnist import write_fashion_mnist
from tests.batchfront_studies.small_data.mirror import serving
from tests.batchfront_studies.small_data.mnist import SMALL, write_mnist


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data directory, still empty, with a mirror that holds nothing yet."""
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [f"{(tmp_path / 'mirror').as_uri()}/"])
    return tmp_path / "data"


def check(splits: Splits) -> None:
    assert [len(split) for _, split in splits.named()] == [64, 16, 8]
    seen: list[int] = []
    for split in (splits.train, splits.validation):
        assert isinstance(split, Split)
        assert split.inputs.shape[1:] == (1, 28, 28)
        assert split.inputs.dtype == torch.float32
        numbers = (split.inputs[:, 0, 0, 0] * 255).round().long()
        assert (numbers % 10).tolist() == split.targets.tolist()
        seen += numbers.tolist()
    assert sorted(seen) == list(range(80))


@pytest.mark.parametrize("compressed", [False, True])
def test_fashion_mnist_is_read_from_its_own_folder(root: Path, compressed: bool) -> None:
    write_fashion_mnist(root, compressed=compressed)
    before = sorted(root.rglob("*"))
    check(fashion_mnist(SMALL))
    assert sorted(root.rglob("*")) == before


def test_mnist_is_not_taken_for_fashion_mnist(root: Path) -> None:
    write_mnist(root)
    with pytest.raises(DataError) as error:
        fashion_mnist(SMALL)
    said = str(error.value)
    assert said.startswith(f"Fashion-MNIST: {', '.join(FILES)} not found in {root}")
    assert "get the files from Zalando Research's fashion-mnist repository" in said
    assert "name the folder that holds FashionMNIST/raw with --data-dir" in said
    assert "\n" not in said


def test_fashion_mnist_is_downloaded_whole(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = tmp_path / "mirror"
    write_mnist(mirror, compressed=True, folder=Path())
    sums = [(path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in mirror.iterdir()]
    monkeypatch.setattr(datasets.FashionMNIST, "resources", sums)
    with serving(mirror, monkeypatch) as address:
        monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [address])
        check(fashion_mnist(SMALL))
    files = [path for path in root.rglob("*") if path.is_file()]
    assert sorted(files) == sorted(root / FASHION_MNIST.folder / name for name in FILES)


def test_a_damaged_file_of_fashion_mnist_is_named(root: Path) -> None:
    write_fashion_mnist(root)
    path = root / FASHION_MNIST.folder / FILES[2]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"Fashion-MNIST: {FILES[2]} and {FILES[3]} in .* damaged"):
        fashion_mnist(SMALL)
