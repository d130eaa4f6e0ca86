"""ImageNet and its halves, on small files in the true layout."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from batchfront.errors import DataError
from batchfront.training.preflight.checks import check
from batchfront.workload.catalog import load
from batchfront.workload.data import Examples, Part, Splits
from batchfront.workload.search_space import Log
from batchfront_studies import imagenet as workloads
from batchfront_studies.datasets.derived import BESIDE
from batchfront_studies.datasets.image_targets import Classes
from batchfront_studies.datasets.imagenet import (
    Sizes,
    imagenet,
    imagenet_half_classes,
    imagenet_half_images,
)
from batchfront_studies.datasets.images import Images
from batchfront_studies.models.resnet_50 import resnet_50
from tests.batchfront_studies.small_data.imagenet import CLASSES, SMALL, write_imagenet

LOADERS = [imagenet, imagenet_half_classes, imagenet_half_images]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that tests may read, and add derived files to."""
    root = tmp_path_factory.mktemp("data")
    write_imagenet(root)
    return root


@pytest.fixture
def shared(written: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(written))
    return written


@pytest.fixture
def own(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may change: its folder `imagenet`."""
    shutil.copytree(written, tmp_path / "own")
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "own" / "imagenet"


def whole(split: Examples) -> Images:
    found = split.whole if isinstance(split, Part) else split
    assert isinstance(found, Images)
    return found


def names(split: Examples | None) -> list[str]:
    """The files of a split, in its order."""
    assert split is not None
    numbers = split.indices.tolist() if isinstance(split, Part) else range(len(split))
    return [whole(split).index.path(number).name for number in numbers]


def wnids(split: Examples | None) -> list[str]:
    """The classes of a split's images, as their files name them."""
    return [name.split("_")[0] for name in names(split)]


def classes(split: Examples | None) -> list[int]:
    assert split is not None
    targets = whole(split).targets
    assert isinstance(targets, Classes)
    return (targets.classes[split.indices] if isinstance(split, Part) else targets.classes).tolist()


def images(split: Examples, seed: int | None = None) -> Tensor:
    return split.batch(torch.arange(len(split)), seed)[0]


def refusal(loader: Callable[[Sizes], Splits] = imagenet) -> str:
    with pytest.raises(DataError) as error:
        loader(SMALL)
    said = str(error.value)
    assert "\n" not in said
    assert said.startswith("ImageNet: ")
    for needed in ("image-net.org", "imagenet/train", "--data-dir"):
        assert needed in said
    return said


# Splits


def test_the_true_sizes_are_the_papers() -> None:
    assert (Sizes().validation, Sizes().test, Sizes().classes) == (50_000, 50_045, 1_000)
    assert Sizes().train + Sizes().test == 1_281_167


def test_test_images_are_held_out_of_the_training_images_the_same_every_time(shared: Path) -> None:
    splits = imagenet(SMALL)
    assert [len(split) for _, split in splits.named()] == [40, 12, 8]
    train, test = set(names(splits.train)), set(names(splits.test))
    assert len(train) == 40
    assert not train & test
    assert all("val" in name for name in names(splits.validation))
    torch.manual_seed(1)
    assert names(imagenet(SMALL).test) == names(splits.test)


def test_classes_are_numbered_in_the_order_of_their_folders(shared: Path) -> None:
    splits = imagenet(SMALL)
    for split in (splits.train, splits.test):
        assert [CLASSES[label] for label in classes(split)] == wnids(split)
    inputs, targets = splits.validation.batch(torch.tensor([0, 11]))
    assert targets.tolist() == [0, 3]
    assert (inputs.shape, inputs.dtype) == ((2, 3, 32, 32), torch.float32)


def test_half_images_are_half_of_each_class_with_validation_and_test_as_they_are(
    shared: Path,
) -> None:
    splits, half = imagenet(SMALL), imagenet_half_images(SMALL)
    counts = torch.tensor(classes(splits.train)).bincount()
    assert torch.equal(torch.tensor(classes(half.train)).bincount(), counts // 2)
    assert set(names(half.train)) < set(names(splits.train))
    assert names(half.train) == names(imagenet_half_images(SMALL).train)
    assert half.validation.describe() == splits.validation.describe()
    assert names(half.test) == names(splits.test)


def test_half_classes_are_all_images_of_half_of_the_classes_numbered_anew(shared: Path) -> None:
    splits, half = imagenet(SMALL), imagenet_half_classes(SMALL)
    chosen = sorted(set(wnids(half.train)))
    assert len(chosen) == 2
    assert names(half.train) == [n for n in names(splits.train) if n.split("_")[0] in chosen]
    assert names(half.test) == [n for n in names(splits.test) if n.split("_")[0] in chosen]
    assert len(half.validation) == 6
    for split in (half.train, half.test):
        assert [chosen[label] for label in classes(split)] == wnids(split)
    assert sorted(half.validation.batch(torch.arange(6))[1].tolist()) == [0, 0, 0, 1, 1, 1]


def test_what_differs_is_described_differently_and_what_is_the_same_alike(shared: Path) -> None:
    described = [[split.describe() for _, split in loader(SMALL).named()] for loader in LOADERS]
    assert described == [
        [split.describe() for _, split in loader(SMALL).named()] for loader in LOADERS
    ]
    assert len({str(train) for train, _, _ in described}) == 3
    assert imagenet(replace(SMALL, side=24)).train.describe() != described[0][0]


# Kept


def test_validation_images_are_decoded_once_and_shared(own: Path) -> None:
    first = images(imagenet(SMALL).validation)
    for path in (own / "val").rglob("*.JPEG"):
        path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(images(imagenet(SMALL).validation), first)
    with pytest.raises(DataError, match="can't be read"):
        images(imagenet(SMALL).validation, seed=0)


def test_without_room_they_are_decoded_each_time_to_the_same(
    own: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = images(imagenet(SMALL).validation)
    again = images(imagenet(SMALL).validation)
    shutil.rmtree(own / BESIDE)
    (own / BESIDE).write_text("in the way")
    (own.parent.parent / "cache").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        splits = imagenet(SMALL)
    assert "are not kept, but decoded at each look" in caplog.text
    assert whole(splits.validation).kept is None
    assert torch.equal(images(splits.validation), kept)
    assert torch.equal(again, kept)


def test_a_data_directory_that_is_read_only_serves_too(own: Path) -> None:
    before = images(imagenet(SMALL).validation)
    shutil.rmtree(own / BESIDE)
    (own / BESIDE).write_text("in the way, for root may write into any folder")
    found = imagenet(SMALL)
    assert torch.equal(images(found.validation), before)
    kept = whole(found.validation).kept
    assert kept is not None
    assert kept.path.is_relative_to(own.parent.parent / "cache")


# What is not as it should be


def test_missing_data_says_what_is_needed_and_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(tmp_path))
    for loader in LOADERS:
        assert f"{tmp_path / 'imagenet' / 'train'} can't be read (No such file" in refusal(loader)


def test_a_link_to_nothing_is_named(own: Path) -> None:
    link = own / "val" / CLASSES[1] / "broken.JPEG"
    link.symlink_to("nowhere")
    assert f"{link} can't be read (No such file" in refusal()


def test_an_incomplete_copy_says_what_it_holds(own: Path) -> None:
    (own / "train" / CLASSES[1] / f"{CLASSES[1]}_1.JPEG").unlink()
    assert "train holds 47 images in 4 folders of classes, not 48 in 4;" in refusal()
    shutil.rmtree(own / "train" / CLASSES[1])
    assert "train holds 36 images in 3 folders of classes, not 48 in 4;" in refusal()
    (own / "train" / CLASSES[1]).mkdir()
    assert f"1 folders hold no image, such as {CLASSES[1]}" in refusal()


def test_validation_images_that_were_not_sorted_into_classes_are_found_out(own: Path) -> None:
    for path in list((own / "val").rglob("*.JPEG")):
        path.rename(own / "val" / path.name)
    for folder in CLASSES:
        (own / "val" / folder).rmdir()
    said = refusal()
    assert "val holds 12 images in 0 folders of classes" in said
    assert "12 images are in no folder of a class" in said


def test_other_classes_in_validation_are_found_out(own: Path) -> None:
    (own / "val" / CLASSES[3]).rename(own / "val" / "n09999999")
    assert f"different classes, such as {CLASSES[3]}" in refusal()


# Workloads


def test_goals_batch_sizes_and_ranges_are_the_papers() -> None:
    resnet, vgg = workloads.resnet(), workloads.vgg()
    assert (resnet.goal.value, vgg.goal.value) == (0.25, 0.35)
    powers = [2**k for k in range(6, 17)]
    assert list(resnet.batch_sizes) == powers
    assert list(vgg.batch_sizes) == [32, 64, *powers[2:]]
    space = resnet.space(256)
    assert space["learning_rate"] == Log(1e-4, 10.0)
    assert resnet.steps_allowed(256) == 600_000
    for subset in workloads.SUBSETS:
        half = load(f"imagenet_subsets/{subset}/resnet_50/nesterov_momentum")
        assert list(half.batch_sizes) == powers[:-1]
        assert "ours" in half.description


@pytest.mark.parametrize("name", workloads.workloads())
def test_a_workload_fits_together_at_all_of_its_batch_sizes(name: str) -> None:
    workload = load(name)
    assert workload.name == name
    assert workload.execution.channels_last
    budgets = [workload.steps_allowed(size) for size in workload.batch_sizes]
    assert budgets == sorted(budgets, reverse=True)
    assert budgets[-1] == 18_750
    for size in workload.batch_sizes:
        assert set(workload.searched(size)) == {
            "learning_rate",
            "momentum",
            "decay_steps",
            "decay_factor",
            "label_smoothing",
        }


def test_the_halves_have_a_model_of_their_number_of_classes() -> None:
    with torch.device("meta"):
        for subset, (_, number, _) in workloads.SUBSETS.items():
            model = workloads.half(subset).model()
            assert [p.shape for p in model.parameters()][-1] == (number,)


def test_it_holds_together_on_small_data(shared: Path) -> None:
    small = replace(
        workloads.resnet(),
        data=partial(imagenet, SMALL),
        model=partial(resnet_50, SMALL.classes),
    )
    checked = check(small, [8])
    assert checked.identity_parts["data"]["train"]["examples"] == 40
