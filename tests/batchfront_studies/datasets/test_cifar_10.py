"""CIFAR-10: the same split every time, images standardized, and one clear line when something is
missing or damaged. On small files in the form of the true ones."""

import hashlib
import pickle
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision import datasets

from batchfront.errors import DataError
from batchfront.workload.data import Examples, Part, Split, Splits
from batchfront_studies.datasets.cifar_10 import (
    CIFAR_10,
    TEST,
    TRAINING,
    Sizes,
    StandardizedImages,
    cifar_10,
)
from tests.batchfront_studies.small_data.cifar_10 import (
    SMALL,
    pack,
    python_2_pickle,
    write_cifar_10,
)
from tests.batchfront_studies.small_data.mirror import serving


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data directory, still empty, with nothing to download."""
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(datasets.CIFAR10, "url", (tmp_path / "nothing.tar.gz").as_uri())
    return tmp_path / "data"


def stored(split: Examples) -> Split:
    assert isinstance(split, StandardizedImages)
    return split.stored


def which(split: Examples) -> list[int]:
    return [int(number) for number in stored(split).inputs[:, 0, 0, 0]]


def check(splits: Splits) -> None:
    assert [len(split) for _, split in splits.named()] == [64, 16, 8]
    assert sorted(which(splits.train) + which(splits.validation)) == list(range(80))
    assert splits.test is not None
    assert which(splits.test) == list(range(8))
    for _, split in splits.named():
        assert stored(split).targets.tolist() == [number % 10 for number in which(split)]


def refusal(sizes: Sizes = SMALL) -> str:
    with pytest.raises(DataError) as error:
        cifar_10(sizes)
    assert "\n" not in str(error.value)
    return str(error.value)


# Where it is


@pytest.mark.parametrize("packed", [False, True])
def test_cifar_10_is_read_from_its_files_or_their_archive_and_nothing_is_written(
    root: Path, packed: bool
) -> None:
    write_cifar_10(root, packed=packed)
    before = sorted(root.rglob("*"))
    check(cifar_10(SMALL))
    assert sorted(root.rglob("*")) == before


def test_cifar_10_is_downloaded_whole_and_nothing_else_is_left_behind(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = as_published(tmp_path / "mirror", monkeypatch)
    with serving(archive.parent, monkeypatch) as address:
        monkeypatch.setattr(datasets.CIFAR10, "url", f"{address}{archive.name}")
        check(cifar_10(SMALL))
    files = [path for path in root.rglob("*") if path.is_file()]
    assert sorted(files) == sorted(root / CIFAR_10.folder / name for name in CIFAR_10.files)
    assert [path.name for path in root.iterdir()] == [CIFAR_10.folder.name]


def as_published(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive that torchvision takes for CIFAR-10's own."""
    write_cifar_10(folder)
    meta = folder / CIFAR_10.folder / "batches.meta"
    meta.write_bytes(pickle.dumps({"label_names": list("abcdefghij")}, protocol=2))

    def summed(name: str) -> list[str]:
        content = (folder / CIFAR_10.folder / name).read_bytes()
        return [name, hashlib.md5(content).hexdigest()]

    monkeypatch.setattr(datasets.CIFAR10, "train_list", [summed(name) for name in TRAINING])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [summed(name) for name in TEST])
    of_meta = {"filename": meta.name, "key": "label_names", "md5": summed(meta.name)[1]}
    monkeypatch.setattr(datasets.CIFAR10, "meta", of_meta)
    archive = pack(folder)
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    return archive


def test_missing_files_are_named_with_where_to_get_them_and_where_to_put_them(root: Path) -> None:
    said = refusal()
    assert said.startswith(f"CIFAR-10: {', '.join(CIFAR_10.files)} not found in {root}")
    assert "get the files from the CIFAR page of the University of Toronto" in said
    assert "name the folder that holds cifar-10-batches-py with --data-dir" in said
    assert "the download failed" in said
    assert not [path for path in root.rglob("*") if path.is_file()]
    write_cifar_10(root)
    (root / CIFAR_10.folder / TRAINING[3]).unlink()
    assert refusal().startswith(f"CIFAR-10: {TRAINING[3]} not found in {root}")


# What it is


def test_cifar_10_is_split_at_random_and_the_same_way_every_time(root: Path) -> None:
    write_cifar_10(root)
    torch.manual_seed(1)
    first = cifar_10(SMALL)
    assert which(first.train) != sorted(which(first.train))
    torch.manual_seed(2)
    second = cifar_10(SMALL)
    assert [split.describe() for _, split in second.named()] == [
        split.describe() for _, split in first.named()
    ]


def test_images_are_given_standardized_over_pixels_and_channels_and_kept_as_bytes(
    root: Path,
) -> None:
    write_cifar_10(root)
    train = cifar_10(SMALL).train
    assert stored(train).inputs.dtype == torch.uint8
    inputs, targets = train.batch(torch.tensor([5, 0, 7]))
    assert inputs.shape == (3, 3, 32, 32)
    assert inputs.dtype == torch.float32
    assert targets.tolist() == stored(train).targets[[5, 0, 7]].tolist()
    flat = inputs.flatten(1)
    torch.testing.assert_close(flat.mean(dim=1), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(flat.std(dim=1, correction=0), torch.ones(3))


def one_colour(shade: int) -> StandardizedImages:
    images = torch.full((2, 3, 32, 32), shade, dtype=torch.uint8)
    return StandardizedImages(Split(images, torch.tensor([0, 1])))


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_an_image_of_one_colour_is_all_0(shade: int) -> None:
    inputs, _ = one_colour(shade).batch(torch.tensor([0, 1]))
    assert torch.equal(inputs, torch.zeros(2, 3, 32, 32))


def test_an_image_is_the_same_in_any_company_and_under_any_seed(root: Path) -> None:
    write_cifar_10(root)
    train = cifar_10(SMALL).train
    together, _ = train.batch(torch.arange(8), seed=1)
    alone, _ = train.batch(torch.tensor([3]), seed=2)
    torch.testing.assert_close(alone[0], together[3])
    within, _ = Part(train, torch.tensor([9, 3])).batch(torch.tensor([1]))
    torch.testing.assert_close(within[0], together[3])


def test_standardized_images_are_another_data_set_than_plain_ones(root: Path) -> None:
    write_cifar_10(root)
    train = cifar_10(SMALL).train
    assert train.describe() != stored(train).describe()
    assert train.to(torch.device("cpu")).describe() == train.describe()


# What is wrong with it


def cut(data: bytes) -> bytes:
    return data[:-100]


def replaced_by(*parts: object) -> Callable[[bytes], bytes]:
    return lambda _: python_2_pickle("test batch 1 of 1", *parts)  # type: ignore[arg-type]


def images(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.uint8)


class Harmful:
    """What Python calls when this is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("it was run",))


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut": (cut, "UnpicklingError"),
    "empty": (lambda _: b"", "EOFError"),
    "a web page": (lambda _: b"<html>not here</html>", "UnpicklingError"),
    "another pickle": (lambda _: pickle.dumps([1, 2]), "TypeError"),
    "no labels": (lambda _: pickle.dumps({"data": 1}), "KeyError"),
    "code": (lambda _: pickle.dumps({"data": Harmful()}), "it holds a _pytest.outcomes."),
    "other sizes": (replaced_by(images(8, 784), [0] * 8), "uint8 of shape (8, 784), not uint8"),
    "a label too few": (replaced_by(images(8, 3072), [0] * 7), "8 images and 7 labels"),
    "a label too high": (replaced_by(images(8, 3072), [10] * 8), "a label is 10, not 0 to 9"),
    "an image too few": (replaced_by(images(7, 3072), [0] * 7), "they hold 7 images, not 8"),
}


@pytest.mark.parametrize(("damage", "says"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_named_in_one_line(
    root: Path, damage: Callable[[bytes], bytes], says: str
) -> None:
    write_cifar_10(root)
    path = root / CIFAR_10.folder / TEST[0]
    path.write_bytes(damage(path.read_bytes()))
    said = refusal()
    assert said.startswith(f"CIFAR-10: {TEST[0]} in {root / CIFAR_10.folder} is damaged (")
    assert says in said


def archives(root: Path) -> Iterator[Callable[[], None]]:
    archive = root / str(CIFAR_10.archive)
    yield lambda: archive.write_bytes(b"not a tar file") and None
    yield lambda: archive.write_bytes(archive.read_bytes()[:2000]) and None
    yield lambda: tarfile.open(archive, "w:gz").close()


@pytest.mark.parametrize("number", range(3), ids=["no archive", "cut", "empty"])
def test_a_damaged_archive_is_named_in_one_line(root: Path, number: int) -> None:
    write_cifar_10(root, packed=True)
    [*archives(root)][number]()
    said = refusal()
    assert said.startswith(f"CIFAR-10: data_batch_1 in {root / str(CIFAR_10.archive)} is damaged (")
    assert f"remove {CIFAR_10.archive} to download anew" in said


def test_sizes_other_than_the_true_ones_are_refused_unless_they_are_asked_for(root: Path) -> None:
    write_cifar_10(root)
    assert "they hold 80 images, not 50,000" in refusal(Sizes())
