"""Open Images V4 (Kuznetsova et al. 2018): images and what people found them to show.

    open_images_v4/train/000002b66c9c498e.jpg        all that are labelled, also in subfolders
    open_images_v4/validation/0001eeaf4aed83f9.jpg   41,620
    open_images_v4/test/000026e7ee790996.jpg         125,436
    open_images_v4/{train,validation,test}-annotations-human-imagelabels.csv
    open_images_v4/classes-trainable.txt             7,186 lines, such as /m/011k07

They come from https://storage.googleapis.com/openimages/web/download_v4.html. The lists of labels
of the images with boxes alone, which end in `-boxable.csv`, serve where the others are not.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from batchfront.errors import DataError
from batchfront.workload.data import Part, Splits
from batchfront_studies.datasets.directory import data_directory
from batchfront_studies.datasets.image_index import ImageIndex, image_index
from batchfront_studies.datasets.image_labels import labels_of
from batchfront_studies.datasets.image_targets import LabelSets
from batchfront_studies.datasets.images import Images
from batchfront_studies.datasets.pixel_cache import pixel_cache

log = logging.getLogger(__name__)

CLASSES_FILE = "classes-trainable.txt"

LABELS = "annotations-human-imagelabels"

_NEEDS = (
    "needed are the images and human-verified image labels of Open Images V4, from "
    "https://storage.googleapis.com/openimages/web/download_v4.html, as open_images_v4/train, "
    f"validation and test, {{train,validation,test}}-{LABELS}.csv and {CLASSES_FILE}; name the "
    "folder that holds open_images_v4 with --data-dir or BATCHFRONT_DATA_DIR"
)


@dataclass(frozen=True)
class Sizes:
    """Images of the held-out splits, classes, and the side of the square they are resized to.

    Shallue et al. 2018 train on 4.5 million images, validate on 41,620 and test on 125,436. How
    many there are to train on follows from the labels.
    """

    validation: int = 41_620
    test: int = 125_436
    classes: int = 7_186
    side: int = 224


def open_images(sizes: Sizes = Sizes()) -> Splits:
    """Images, float32 [n, 3, 224, 224]; targets bool [n, 7186], True for what an image shows.

    That is what a person has found in it, of the trainable classes; all else counts as not shown,
    checked or not. Trained on are all training images with at least one such label, validated and
    tested on all of theirs. Both readings are ours: the paper's text leaves them open.

    Raises DataError if something is missing; an image that can't be decoded raises it when it is
    asked for.
    """
    root = data_directory() / "open_images_v4"
    classes = _classes(root / CLASSES_FILE, sizes.classes)
    train = _images(root, "train", classes, sizes.side)
    validation = _images(root, "validation", classes, sizes.side, sizes.validation)
    test = _images(root, "test", classes, sizes.side, sizes.test)
    assert isinstance(train.targets, LabelSets)
    labelled = (train.targets.starts.diff() > 0).nonzero().flatten()
    if not len(labelled):
        raise DataError(f"Open Images: no image of {root / 'train'} has a label; {_NEEDS}")
    log.info("Open Images: %d of %d training images have labels", len(labelled), len(train))
    return Splits(Part(train, labelled), validation, test)


def _images(
    root: Path, split: str, classes: tuple[str, ...], side: int, expected: int | None = None
) -> Images:
    index = _index(root / split, expected)
    labels = labels_of(index, _labels_file(root, split), classes)
    kept = None
    if split == "validation":
        name = f"{split}-{side}-{index.checksum}.pixels"
        kept = pixel_cache(index.folder, name, len(index), (side, side, 3))
    return Images("Open Images", index, labels, side, kept)


def _index(folder: Path, expected: int | None) -> ImageIndex:
    try:
        index = image_index(folder)
    except OSError as error:
        reason = f"{error.filename or folder} can't be read ({error.strerror})"
        raise DataError(f"Open Images: {reason}; {_NEEDS}") from error
    if not len(index) or expected not in (None, len(index)):
        wanted = "some" if expected is None else f"{expected:,}"
        raise DataError(
            f"Open Images: {folder} holds {len(index):,} images, not {wanted}; {_NEEDS}"
        )
    return index


def _labels_file(root: Path, split: str) -> Path:
    names = [f"{split}-{LABELS}.csv", f"{split}-{LABELS}-boxable.csv"]
    for name in names:
        if (root / name).is_file():
            return root / name
    raise DataError(f"Open Images: {' and '.join(names)} are not in {root}; {_NEEDS}")


def _classes(path: Path, expected: int) -> tuple[str, ...]:
    """The names of classes, a line each; a class's number is its line's."""
    try:
        names = path.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise DataError(f"Open Images: {path} can't be read ({reason}); {_NEEDS}") from error
    if len(names) != expected or len(set(names)) != expected:
        raise DataError(
            f"Open Images: {path} holds {len(set(names)):,} different classes in "
            f"{len(names):,} lines, not {expected:,}; {_NEEDS}"
        )
    return tuple(names)
