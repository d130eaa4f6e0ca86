"""A small ImageNet: JPEGs in the folders of classes that the true one has."""

from pathlib import Path

from batchfront_studies.datasets.imagenet import Sizes
from tests.batchfront_studies.small_data.jpegs import jpeg

SMALL = Sizes(train=40, validation=12, test=8, classes=4, side=32)
"""Of what `write_imagenet` writes: 12 training and 3 validation images a class. A workload takes
them by `replace(workload, data=partial(imagenet, SMALL))`."""

CLASSES = ("n01440764", "n01443537", "n01484850", "n01491361")


def write_imagenet(root: Path, sizes: Sizes = SMALL) -> None:
    """Write `imagenet/train` and `imagenet/val` below the data directory `root`."""
    number = 0
    for split, images in (("train", sizes.train + sizes.test), ("val", sizes.validation)):
        for position in range(images):
            kind = position % sizes.classes
            wnid = CLASSES[kind]
            name = f"{wnid}_{position}" if split == "train" else f"ILSVRC2012_val_{position:08d}"
            # As in the true one, sizes vary.
            size = (50 + number % 7, 36 + number % 5)
            jpeg(root / "imagenet" / split / wnid / f"{name}.JPEG", number, kind, size)
            number += 1
