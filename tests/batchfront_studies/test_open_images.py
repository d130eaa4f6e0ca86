"""Open Images V4, on small files in the true layout."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from batchfront.errors import DataError
from batchfront.training.preflight.checks import check
from batchfront.workload.data import Part
from batchfront.workload.metrics import AVERAGE_PRECISION
from batchfront_studies import open_images as workloads
from batchfront_studies.datasets import image_labels
from batchfront_studies.datasets.images import Images
from batchfront_studies.datasets.open_images import CLASSES_FILE, LABELS, Sizes, open_images
from batchfront_studies.models.resnet_50 import resnet_50
from tests.batchfront_studies.small_data.open_images import (
    CLASSES,
    SMALL,
    TRAIN,
    Labels,
    write_open_images,
)

Written = tuple[Path, dict[str, Labels]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    root = tmp_path_factory.mktemp("data")
    return root, write_open_images(root)


@pytest.fixture
def shown(written: Written, monkeypatch: pytest.MonkeyPatch) -> dict[str, Labels]:
    """What each image shows, of a data directory that tests may read."""
    root, shown = written
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(root))
    return shown


@pytest.fixture
def own(written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may change: its folder `open_images_v4`."""
    shutil.copytree(written[0], tmp_path / "own")
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(tmp_path / "own"))
    return tmp_path / "own" / "open_images_v4"


def refusal() -> str:
    with pytest.raises(DataError) as error:
        open_images(SMALL)
    said = str(error.value)
    assert "\n" not in said
    assert said.startswith("Open Images: ")
    return said


def found(images: Images) -> Labels:
    """What each image's target says that it shows."""
    targets = images.targets.of(torch.arange(len(images)), torch.device("cpu"))
    assert targets.dtype == torch.bool
    ids = [images.index.path(number).stem for number in range(len(images))]
    return {
        image: {CLASSES[label] for label in row.nonzero().flatten().tolist()}
        for image, row in zip(ids, targets, strict=True)
    }


def test_the_true_sizes_are_the_papers() -> None:
    assert Sizes() == Sizes(validation=41_620, test=125_436, classes=7_186, side=224)


def test_targets_are_what_somebody_found_of_the_trainable_classes(shown: dict[str, Labels]) -> None:
    splits = open_images(SMALL)
    assert isinstance(splits.train, Part)
    for split, images in (
        ("train", splits.train.whole),
        ("validation", splits.validation),
        ("test", splits.test),
    ):
        assert isinstance(images, Images)
        assert found(images) == shown[split]


def test_trained_on_are_images_with_a_label_and_held_out_are_all(shown: dict[str, Labels]) -> None:
    splits = open_images(SMALL)
    assert len(splits.train) == sum(bool(labels) for labels in shown["train"].values()) < TRAIN
    _, targets = splits.train.batch(torch.arange(len(splits.train)))
    assert targets.any(dim=1).all()
    assert [len(split) for _, split in splits.named()][1:] == [24, 6]
    inputs, targets = splits.validation.batch(torch.tensor([5, 2]))
    assert (inputs.shape, targets.shape) == ((2, 3, 32, 32), (2, 10))


def test_lists_of_labels_are_read_once(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = open_images(SMALL).train.describe()

    def refuse(*arguments: object) -> None:
        raise AssertionError("the list is read again")

    with monkeypatch.context() as patch:
        patch.setattr(image_labels, "_read", refuse)
        assert open_images(SMALL).train.describe() == described
    csv = own / f"train-{LABELS}.csv"
    lines = csv.read_text().splitlines()
    csv.write_text("\n".join(lines[:1] + lines[9:]))
    assert open_images(SMALL).train.describe() != described


def test_images_may_lie_in_subfolders_and_lists_may_be_of_those_with_boxes(own: Path) -> None:
    before = open_images(SMALL)
    (own / "train" / "train_0").mkdir()
    for path in sorted((own / "train").glob("*.jpg"))[::2]:
        path.rename(own / "train" / "train_0" / path.name)
    (own / f"train-{LABELS}.csv").rename(own / f"train-{LABELS}-boxable.csv")
    after = open_images(SMALL)
    assert isinstance(after.train, Part)
    assert isinstance(before.train, Part)
    assert isinstance(after.train.whole, Images)
    assert isinstance(before.train.whole, Images)
    assert len(after.train) == len(before.train)


# What is not as it should be


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        ("train", "train can't be read (No such file"),
        (CLASSES_FILE, f"{CLASSES_FILE} can't be read (No such file"),
        (f"validation-{LABELS}.csv", f"validation-{LABELS}.csv and validation-{LABELS}-boxable"),
    ],
)
def test_what_is_missing_is_named_with_what_is_needed(own: Path, gone: str, says: str) -> None:
    path = own / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    said = refusal()
    assert says in said
    assert "https://storage.googleapis.com/openimages/web/download_v4.html" in said
    assert "--data-dir" in said


def test_a_split_of_another_size_is_incomplete(own: Path) -> None:
    next((own / "test").glob("*.jpg")).unlink()
    assert "test holds 5 images, not 6;" in refusal()


def test_labelled_images_that_are_missing_are_counted(own: Path, written: Written) -> None:
    labels = written[1]["train"]
    image = next(name for name, names in labels.items() if names)
    (own / "train" / f"{image}.jpg").unlink()
    labelled = sum(bool(names) for names in labels.values())
    assert f"1 of the {labelled} images that" in refusal()
    assert f"such as {image}" in refusal()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ImageID,Source,Label\na,b,c\n", "LabelName"),
        ("ImageID,Source,LabelName,Confidence\na,verification,/m/01k07,high\n", "high"),
        ("ImageID,Source,LabelName,Confidence\na,verification\n", "Expected 4 columns, got 2"),
        ("", "Empty CSV"),
    ],
)
def test_a_damaged_list_of_labels_is_named(own: Path, text: str, says: str) -> None:
    (own / f"validation-{LABELS}.csv").write_text(text)
    said = refusal()
    assert f"validation-{LABELS}.csv can't be read" in said
    assert says in said


def test_classes_that_are_not_the_trainable_ones_are_refused(own: Path) -> None:
    (own / CLASSES_FILE).write_text("\n".join([*CLASSES[:5], *CLASSES[:5]]))
    assert "5 different classes in 10 lines, not 10" in refusal()


# The workload


def test_the_workload_is_the_papers_with_what_is_ours_said() -> None:
    workload = workloads.resnet()
    assert list(workloads.workloads()) == [workload.name]
    assert workload.goal.metric is AVERAGE_PRECISION
    assert str(workload.goal) == "validation average precision > 0.31"
    assert list(workload.batch_sizes) == [2**k for k in range(6, 16)]
    assert "ours" in workload.description


def test_it_holds_together_on_small_data(shown: dict[str, Labels]) -> None:
    small = replace(
        workloads.resnet(),
        data=partial(open_images, SMALL),
        model=partial(resnet_50, SMALL.classes),
    )
    check(small, [8])
