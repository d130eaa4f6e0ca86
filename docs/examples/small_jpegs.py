"""scikit-learn's digits as JPEG files of 32x32 pixels, a folder for each class: small_jpegs.py TO

TO gets train/ with 1,400 of them and validation/ with 397, as torchvision's ImageFolder reads them.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

TRAIN = 1_400


def main(target: Path, count: int | None = None) -> None:
    digits = load_digits()
    for number, (pixels, label) in enumerate(
        zip(digits.images[:count], digits.target[:count], strict=True)
    ):
        folder = target / ("train" if number < TRAIN else "validation") / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray((pixels * 255 / 16).astype(np.uint8)).resize((32, 32))
        image.convert("RGB").save(folder / f"{number:04}.jpg", quality=95)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
