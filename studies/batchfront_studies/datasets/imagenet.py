"""ImageNet (Russakovsky et al. 2015: ILSVRC 2012), in folders of one class each, decoded on demand.

    imagenet/train/n01440764/n01440764_10026.JPEG    1,281,167 images in 1,000 folders
    imagenet/val/n01440764/ILSVRC2012_val_00000293.JPEG    50,000 images in the same 1,000

This is what torchvision's `ImageFolder` reads. The images come from https://image-net.org after
registration; its archive of validation images is flat and has to be sorted into folders.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from batchfront.errors import DataError
from batchfront.workload.data import Part, Splits
from batchfront_studies.datasets.directory import data_directory
from batchfront_studies.datasets.image_index import ImageIndex, image_index
from batchfront_studies.datasets.image_targets import Classes
from batchfront_studies.datasets.images import Images
from batchfront_studies.datasets.pixel_cache import pixel_cache

SPLIT_SEED, SUBSET_SEED = 0, 0

_NEEDS = (
    "needed are the images of ILSVRC 2012, from https://image-net.org after registration, in "
    "imagenet/train and imagenet/val with a folder for each class, such as n01440764; name the "
    "folder that holds imagenet with --data-dir or BATCHFRONT_DATA_DIR"
)


@dataclass(frozen=True)
class Sizes:
    """Examples per split, classes, and the side of the square that images are resized to.

    Shallue et al. 2018: validation is the official 50,000; 50,045 of the 1,281,167 training
    images are held out for test.
    """

    train: int = 1_231_122
    validation: int = 50_000
    test: int = 50_045
    classes: int = 1_000
    side: int = 224


def imagenet(sizes: Sizes = Sizes()) -> Splits:
    """1,231,122 / 50,000 / 50,045 images, float32 [n, 3, 224, 224]; targets int64 [n], 0 to 999.

    Classes are numbered in the order of their folders' names. Which images are held out is ours: a
    permutation of the training images, in the order of their names, drawn from a fixed seed.

    Raises DataError if images are missing; an image that can't be decoded raises it when it is
    asked for.
    """
    train, validation = _whole(sizes)
    kept, held_out = _divided(sizes)
    return Splits(Part(train, kept), validation, Part(train, held_out))


def imagenet_half_images(sizes: Sizes = Sizes()) -> Splits:
    """ImageNet with half of the training images of each class, rounded down, by a fixed seed.

    Which half is ours. Validation and test are ImageNet's.
    """
    train, validation = _whole(sizes)
    kept, held_out = _divided(sizes)
    classes = _classes(train)[kept]
    return Splits(Part(train, kept[_half_of_each(classes)]), validation, Part(train, held_out))


def imagenet_half_classes(sizes: Sizes = Sizes()) -> Splits:
    """ImageNet's images of half of its classes, by a fixed seed; targets 0 to 499, in the order of
    the classes' names.

    Which half, and that validation and test are of these classes alone, is ours.
    """
    whole = _whole(sizes)
    numbers = _generator(SUBSET_SEED)
    chosen = torch.randperm(sizes.classes, generator=numbers)[: sizes.classes // 2].sort().values
    among = torch.full((sizes.classes,), -1).scatter_(0, chosen, torch.arange(len(chosen)))
    train, validation = (
        replace(images, targets=Classes(among[_classes(images)])) for images in whole
    )
    kept, held_out = (part[_classes(train)[part] >= 0] for part in _divided(sizes))
    of_these = (_classes(validation) >= 0).nonzero().flatten()
    return Splits(Part(train, kept), Part(validation, of_these), Part(train, held_out))


def _whole(sizes: Sizes) -> tuple[Images, Images]:
    """All training images, and all validation images."""
    root = data_directory() / "imagenet"
    train = _index(root / "train", sizes.train + sizes.test, sizes.classes)
    validation = _index(root / "val", sizes.validation, sizes.classes)
    if train.subfolders != validation.subfolders:
        alone = sorted(set(train.subfolders) ^ set(validation.subfolders))
        raise DataError(
            f"ImageNet: {root / 'train'} and {root / 'val'} have different classes, such as "
            f"{alone[0]}; {_NEEDS}"
        )
    make = partial(Images, "ImageNet", side=sizes.side)
    cache = pixel_cache(
        validation.folder,
        f"val-{sizes.side}-{validation.checksum}.pixels",
        len(validation),
        (sizes.side, sizes.side, 3),
    )
    return (
        make(train, Classes(_labels(train))),
        make(validation, Classes(_labels(validation)), kept=cache),
    )


def _index(folder: Path, expected: int, classes: int) -> ImageIndex:
    try:
        index = image_index(folder)
    except OSError as error:
        at = error.filename or folder
        raise DataError(f"ImageNet: {at} can't be read ({error.strerror}); {_NEEDS}") from error
    held = np.bincount(index.in_subfolder(), minlength=len(index.subfolders))
    in_none, of_classes = int(held[0]), held[1:]
    if in_none or len(of_classes) != classes or len(index) != expected or not of_classes.all():
        empty = [name for name, n in zip(index.subfolders[1:], of_classes, strict=True) if not n]
        notes = [f"{in_none:,} images are in no folder of a class"] if in_none else []
        if empty:
            notes.append(f"{len(empty):,} folders hold no image, such as {empty[0]}")
        found = f"{len(index):,} images in {len(of_classes):,} folders of classes"
        raise DataError(
            f"ImageNet: {folder} holds {found}, not {expected:,} in {classes:,}"
            f"{''.join(f'; {note}' for note in notes)}; {_NEEDS}"
        )
    return index


def _labels(index: ImageIndex) -> Tensor:
    return torch.from_numpy(index.in_subfolder()) - 1  # the first is the folder itself


def _classes(images: Images) -> Tensor:
    assert isinstance(images.targets, Classes)
    return images.targets.classes


def _divided(sizes: Sizes) -> tuple[Tensor, Tensor]:
    """Which of the training images are trained on, and which are held out; each in order."""
    order = torch.randperm(sizes.train + sizes.test, generator=_generator(SPLIT_SEED))
    return order[: sizes.train].sort().values, order[sizes.train :].sort().values


def _half_of_each(classes: Tensor) -> Tensor:
    """Positions of half of the images of each class, rounded down; in order."""
    shuffled = torch.randperm(len(classes), generator=_generator(SUBSET_SEED))
    by_class = shuffled[classes[shuffled].argsort(stable=True)]
    counts = classes.bincount()
    rank = torch.arange(len(classes)) - (counts.cumsum(0) - counts)[classes[by_class]]
    return by_class[rank < counts[classes[by_class]] // 2].sort().values


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
