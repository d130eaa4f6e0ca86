"""A small Open Images V4: JPEGs and lists of labels in the true layout."""

from pathlib import Path

import numpy as np

from batchfront_studies.datasets.open_images import CLASSES_FILE, LABELS, Sizes
from tests.batchfront_studies.small_data.jpegs import jpeg

SMALL = Sizes(validation=24, test=6, classes=10, side=32)
"""Of what `write_open_images` writes. A workload takes them by `replace(workload, data=
partial(open_images, SMALL), model=partial(resnet_50, SMALL.classes))`: outputs and targets must
have as many classes."""

TRAIN = 80
"""Images in the folder for training; every fourth shows nothing."""

CLASSES = (*(f"/m/01{number}x" for number in range(10)), "/m/0other")
"""The last is not among the trainable ones."""

Labels = dict[str, set[str]]


def write_open_images(root: Path, sizes: Sizes = SMALL) -> dict[str, Labels]:
    """Write `open_images_v4` below the data directory `root`.

    Returns, for each split, which of the trainable classes each image shows.
    """
    folder, random = root / "open_images_v4", np.random.default_rng(0)
    shown: dict[str, Labels] = {}
    number = 1000
    for split, images in (("train", TRAIN), ("validation", sizes.validation), ("test", sizes.test)):
        lines, shown[split] = ["ImageID,Source,LabelName,Confidence"], {}
        for position in range(images):
            image = f"{number * 7919:016x}"
            kind = number % sizes.classes
            truth = random.random(len(CLASSES)) < 0.02
            truth[kind] = True
            truth &= position % 4 != 3
            jpeg(folder / split / f"{image}.jpg", number, kind if truth[kind] else -1)
            checked = truth | (random.random(len(CLASSES)) < 0.3)
            for name, is_checked, is_true in zip(CLASSES, checked, truth, strict=True):
                sources = ("verification", "crowdsource-verification")[: 1 + number % 2]
                lines += [f"{image},{s},{name},{int(is_true)}" for s in sources if is_checked]
            shown[split][image] = {
                name for name, t in zip(CLASSES[:-1], truth[:-1], strict=True) if t
            }
            number += 1
        (folder / f"{split}-{LABELS}.csv").write_text("\n".join(lines) + "\n")
    (folder / CLASSES_FILE).write_text("\n".join(CLASSES[:-1]) + "\n")
    return shown
