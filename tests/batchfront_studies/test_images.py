"""Images decoded on demand: what is cut out of them, and that it depends on nothing else."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from batchfront.errors import DataError
from batchfront_studies.datasets import images as module
from batchfront_studies.datasets.image_index import image_index
from batchfront_studies.datasets.image_targets import Classes, LabelSets
from batchfront_studies.datasets.images import (
    DEVIATION,
    MEAN,
    Images,
    decoded,
    evaluation_box,
    standardized,
    training_box,
)
from tests.batchfront_studies.small_data.jpegs import jpeg

CPU = torch.device("cpu")


@pytest.fixture
def images(tmp_path: Path) -> Images:
    """Nine of many sizes."""
    for number in range(9):
        jpeg(tmp_path / "all" / f"{number}.jpg", number, number, (60 + number, 40 + 3 * number))
    return Images("Some", image_index(tmp_path / "all"), Classes(torch.arange(9)), 32)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """So many threads that they get into each other's way."""
    with ThreadPoolExecutor(8) as many:
        monkeypatch.setattr(module, "_threads", lambda: many)
        yield 8


# Cutting out


def test_evaluation_is_torchvisions_resize_to_256_and_central_crop_of_224(tmp_path: Path) -> None:
    for number, size in enumerate([(500, 375), (300, 420), (256, 256)]):
        path = tmp_path / f"{number}.jpg"
        jpeg(path, number, number, size, noise=4)
        with Image.open(path) as image:
            small = transforms.CenterCrop(224)(transforms.Resize(256)(image))
        ours = decoded(path, evaluation_box, 224, mirrored=False).astype(int)
        difference = np.abs(ours - np.asarray(small).astype(int))
        assert difference.mean() < 1  # of 255: in one step, and to a fraction of a pixel
        assert ours.shape == (224, 224, 3)


def test_a_large_jpeg_decoded_at_a_fraction_of_its_size_shows_the_same(tmp_path: Path) -> None:
    jpeg(tmp_path / "large.jpg", 1, 1, (1000, 800), noise=3)
    with Image.open(tmp_path / "large.jpg") as image:
        image.load()
        whole = image.resize(
            (64, 64), Image.Resampling.BILINEAR, box=evaluation_box(image.width, image.height)
        )
    ours = decoded(tmp_path / "large.jpg", evaluation_box, 64, mirrored=False)
    assert np.abs(ours.astype(int) - np.asarray(whole).astype(int)).max() <= 3


def test_training_boxes_lie_within_the_image_and_are_spread_as_stated() -> None:
    random, (width, height) = Random(0), (500, 375)
    boxes = np.array([training_box(random, width, height) for _ in range(2000)])
    left, top, right, bottom = boxes.T
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert (right <= width).all()
    assert (bottom <= height).all()
    ratios, areas = (right - left) / (bottom - top), (right - left) * (bottom - top)
    assert 0.73 < ratios.min() < ratios.max() < 1.36
    shares = areas / (width * height)
    assert shares.min() > 0.078
    assert shares.max() > 0.9
    assert 0.4 < shares.mean() < 0.54


def test_an_image_that_no_box_fits_into_is_cut_in_its_middle() -> None:
    assert training_box(Random(0), 10_000, 10) == pytest.approx(
        (5000 - 20 / 3, 0, 5000 + 20 / 3, 10)
    )
    assert training_box(Random(0), 10, 10_000) == pytest.approx(
        (0, 5000 - 20 / 3, 10, 5000 + 20 / 3)
    )


def test_pixels_are_standardized_with_their_channels_last_in_memory() -> None:
    pixels = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    inputs = standardized(pixels)
    expected = transforms.Normalize(MEAN, DEVIATION)(pixels.permute(0, 3, 1, 2) / 255)
    torch.testing.assert_close(inputs, expected)
    assert inputs.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_images_have_three_colours_too(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (50, 40), 100 if mode == "L" else (20, 40, 60, 30)).save(tmp_path / "i.jpg")
    assert decoded(tmp_path / "i.jpg", evaluation_box, 32, mirrored=False).shape == (32, 32, 3)


# Batches


def test_augmentation_depends_on_the_seed_and_the_example_alone(images: Images) -> None:
    inputs, _ = images.batch(torch.arange(9), seed=1)
    order = torch.tensor([4, 0, 7, 4])
    again, targets = images.batch(order, seed=1)
    assert torch.equal(again, inputs[order])
    assert torch.equal(targets, order)
    other, _ = images.batch(torch.arange(9), seed=2)
    assert all(not torch.equal(a, b) for a, b in zip(inputs, other, strict=True))


def test_a_batch_is_the_same_from_one_thread_and_from_many_at_once(
    images: Images, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    numbers = torch.arange(9).repeat(4)
    with ThreadPoolExecutor(4) as callers:
        found = list(callers.map(lambda seed: images.batch(numbers, seed)[0], [1, 2, 1, 2]))
    with ThreadPoolExecutor(1) as one:
        monkeypatch.setattr(module, "_threads", lambda: one)
        alone = [images.batch(numbers, seed)[0] for seed in (1, 2)]
    for several, single in zip(found, alone * 2, strict=True):
        assert torch.equal(several, single)


def test_some_are_mirrored_and_some_are_not(images: Images) -> None:
    def whole(random: Random, width: int, height: int) -> tuple[float, float, float, float]:
        return 0, 0, width, height

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "training_box", whole)
        found = torch.cat([images.batch(torch.tensor([3]), seed)[0] for seed in range(20)])
    kinds = found.unique(dim=0)
    assert len(kinds) == 2
    torch.testing.assert_close(kinds[0], kinds[1].flip(-1))


def test_a_damaged_image_is_named_in_one_line(images: Images) -> None:
    path = images.index.path(5)
    path.write_bytes(path.read_bytes()[:400])
    for damage in (path.read_bytes(), b"not an image", b""):
        path.write_bytes(damage)
        with pytest.raises(DataError, match=r"Some: the image .*5\.jpg can't be read") as error:
            images.batch(torch.arange(9), 0)
        assert "\n" not in str(error.value)
    path.unlink()
    with pytest.raises(DataError, match=r"5\.jpg"):
        images.batch(torch.arange(9))
    images.batch(torch.arange(5))  # the others are as they were


# Targets


def test_label_sets_are_kept_as_numbers_and_given_as_true_and_false() -> None:
    sets = LabelSets(
        torch.tensor([0, 2, 2, 3]), torch.tensor([0, 3, 1], dtype=torch.int16), labels=4
    )
    found = sets.of(torch.tensor([2, 0, 1, 0]), CPU)
    assert found.int().tolist() == [[0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0], [1, 0, 0, 1]]
    assert sets.of(torch.tensor([1]), CPU).int().tolist() == [[0, 0, 0, 0]]
